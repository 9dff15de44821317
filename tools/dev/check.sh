#!/usr/bin/env bash
# help: build, test and check everything (--quick before a commit; whole before landing)
# usage: ./dev check [--quick|--long] [--only PATTERN]... [--list] [--json]
#        ./dev check --clean-root
#
# --quick       gates, rel and asan builds, unit tests: under 8 minutes
# (none)        the landing gate
# --long        the full sizes
# --only P      only the steps whose name contains P or matches it as a shell pattern, and what they need
# --list        print the steps and stop
# --json        progress on stderr, one JSON report on stdout
# --clean-root  make a fresh Debian root with debootstrap and prove ./dev quickstart and --quick in it
#
# Logs are build/check/NAME.log. NACRE_SEED=N repeats a run's random choices.
# The last line is always "N passed, N failed, N skipped".
set -euo pipefail
# shellcheck source=tools/dev/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

for arg in "$@"; do
	case $arg in
	-h | --help)
		verb_help "${BASH_SOURCE[0]}"
		exit 0
		;;
	esac
done
# --list and --help look at nothing on this machine; everything else needs its packages.
case " $* " in
*" --list "*) ;;
*) bash tools/dev/deps.sh >&2 ;;
esac
if [ "${1:-}" = --clean-root ]; then
	shift
	exec bash tools/dev/lib/clean_root.sh "$@"
fi
exec /usr/bin/python3 -B tests/run/check.py "$@"
