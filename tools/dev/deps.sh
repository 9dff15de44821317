#!/usr/bin/env bash
# help: install the Debian packages that are missing (without root: say which)
# usage: ./dev deps [build|check|peers]...
#
# Installs what tools/dev/packages.txt lists and the machine lacks; without arguments the classes build and check. The peers
# of ./dev bench are installed only when named.
# Services that a package would start are held back by a temporary policy-rc.d.
# Without root it prints the one apt-get line to run and exits with 77.
set -euo pipefail
# shellcheck source=tools/dev/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

POLICY=/usr/sbin/policy-rc.d

# Prints the packages of the given classes, one a line.
packages_list() {
	local classes=" $* " class package _
	while read -r class package _; do
		case $class in '' | '#'*) continue ;; esac
		if [[ $classes == *" $class "* ]]; then
			echo "$package"
		fi
	done <tools/dev/packages.txt
}

packages_missing() {
	local package
	for package in $(packages_list "$@"); do
		if ! dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed; then
			echo "$package"
		fi
	done
}

policy_remove() {
	if [ -n "${POLICY_OURS:-}" ]; then
		rm -f "$POLICY"
	fi
}

# Nothing that is installed here may start a daemon on somebody's machine. A policy that is already
# there is the administrator's and stays.
policy_place() {
	trap policy_remove EXIT
	if [ ! -e "$POLICY" ]; then
		POLICY_OURS=1
		printf '#!/bin/sh\n# placed by ./dev deps while it installs packages\nexit 101\n' >"$POLICY"
		chmod 755 "$POLICY"
	fi
}

apt_run() {
	DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 "$@" </dev/null
}

packages_install() {
	policy_place
	# The lists of a fresh or an old machine may name versions that no longer exist: refresh them first.
	apt_run update || echo 'deps: apt-get update failed; going on with the lists that are here' >&2
	apt_run install --no-install-recommends "$@"
}

main() {
	local classes=() missing
	while [ $# -gt 0 ]; do
		case $1 in
		-h | --help)
			verb_help "${BASH_SOURCE[0]}"
			return 0
			;;
		build | check | peers) classes+=("$1") ;;
		*) usage_error "deps: unknown argument '$1'" ;;
		esac
		shift
	done
	if [ ${#classes[@]} -eq 0 ]; then
		classes=(build check)
	fi
	if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
		echo "dev: deps: not a Debian system; tools/dev/packages.txt lists what is needed" >&2
		return 0
	fi
	mapfile -t missing < <(packages_missing "${classes[@]}")
	if [ ${#missing[@]} -eq 0 ]; then
		return 0
	fi
	if [ "$(id -u)" != 0 ]; then
		echo "dev: packages are missing; run this as root, then try again:" >&2
		echo "apt-get install -y --no-install-recommends ${missing[*]}"
		return "$EX_SKIP"
	fi
	echo "deps: installing ${missing[*]}"
	packages_install "${missing[@]}"
}

main "$@"
