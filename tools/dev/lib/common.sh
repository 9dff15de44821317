# shellcheck shell=bash
# What the verbs share: the root of the tree, messages, the header of a verb as its --help.

# DEV_ROOT comes from ./dev; a verb that is run directly finds it from its own place.
DEV_ROOT=${DEV_ROOT:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd -P)}
export DEV_ROOT
cd "$DEV_ROOT" || exit 1

# Exit status of "something this machine lacks", as in automake and meson.
EX_SKIP=77
export EX_SKIP

die() {
	echo "dev: $*" >&2
	exit 1
}

usage_error() {
	echo "dev: $* (see --help)" >&2
	exit 2
}

# Prints the comment block that opens a verb's file: its help.
verb_help() {
	sed -n '2s/^# help: //p' "$1"
	echo
	sed -n '3,${/^#/!q;s/^# \{0,1\}//p}' "$1"
}

cpu_count() {
	nproc 2>/dev/null || echo 1
}
