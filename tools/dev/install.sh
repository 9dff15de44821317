#!/usr/bin/env bash
# help: install what ./dev build rel made (default /usr/local, mount.nacre into /sbin)
# usage: ./dev install [--prefix DIR]
#
# Puts programs, libraries, headers, manual pages and completion for bash below DIR (default /usr/local), and a link /sbin/mount.nacre, which is
# where mount(8) looks. DESTDIR is honoured. Without the right to write /sbin the link is left out, with a line
# that says so.
set -euo pipefail
# shellcheck source=tools/dev/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

tree_copy() {
	local dest=$1 file
	while IFS= read -r -d '' file; do
		mkdir -p "$(dirname "$dest/$file")"
		cp -a --no-preserve=ownership "build/stage/usr/local/$file" "$dest/$file.new"
		mv -f "$dest/$file.new" "$dest/$file"
		echo "install: $dest/$file"
	done < <(cd build/stage/usr/local && find . \( -type f -o -type l \) -printf '%P\0')
}

# Manual pages and completion are made out of what the programs say of themselves.
manuals_install() {
	local share=$1/share
	/usr/bin/python3 -B tools/man/manpages.py --bin build/bin --out "$share" | sed 's/^/install: /'
}

helper_link() {
	local prefix=$1 sbin=${DESTDIR:-}/sbin
	if [ ! -e "${DESTDIR:-}$prefix/bin/mount.nacre" ]; then
		return 0
	fi
	mkdir -p "$sbin" 2>/dev/null || true
	if [ ! -w "$sbin" ]; then
		echo "install: $sbin cannot be written: mount -t nacre will not find $prefix/bin/mount.nacre" >&2
		return 0
	fi
	ln -sfn "$prefix/bin/mount.nacre" "$sbin/mount.nacre"
	echo "install: $sbin/mount.nacre"
}

main() {
	local prefix=/usr/local
	while [ $# -gt 0 ]; do
		case $1 in
		-h | --help)
			verb_help "${BASH_SOURCE[0]}"
			return 0
			;;
		--prefix)
			[ $# -ge 2 ] || usage_error "install: --prefix needs a directory"
			prefix=$2
			shift
			;;
		--prefix=*) prefix=${1#*=} ;;
		*) usage_error "install: unknown argument '$1'" ;;
		esac
		shift
	done
	[[ $prefix == /* ]] || prefix=$PWD/$prefix
	bash tools/dev/build.sh rel
	[ -d build/stage/usr/local ] || die "install: the build installs nothing"
	tree_copy "${DESTDIR:-}$prefix"
	manuals_install "${DESTDIR:-}$prefix"
	helper_link "$prefix"
	if [ -z "${DESTDIR:-}" ] && [ "$(id -u)" = 0 ]; then
		ldconfig
	fi
}

main "$@"
