#!/usr/bin/env bash
# help: build (rel, clang, asan, tsan, fuzz or all); rel's programs land in build/bin
# usage: ./dev build [rel|clang|asan|tsan|fuzz|all]...
#
# rel    gcc, optimised, with symbols; installed into build/bin, build/lib, build/include
# clang  the same with clang: the second opinion on warnings
# asan   gcc, AddressSanitizer and UndefinedBehaviorSanitizer, which halt on the first error
# tsan   clang, ThreadSanitizer
# fuzz   clang, libFuzzer's coverage with ASan and UBSan
#
# Installs missing packages first (./dev deps). Each variant is a Meson directory build/VARIANT.
set -euo pipefail
# shellcheck source=tools/dev/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

# Meson and the generators are Debian's; a python3 that comes first in PATH is not asked.
meson_run() {
	/usr/bin/python3 /usr/bin/meson "$@"
}

# Sets the variables cc and options for one variant.
variant_options() {
	options=(--prefix=/usr/local -Dlibdir=lib -Dpkgconfig.relocatable=true)
	case $1 in
	rel) cc=gcc ;;
	clang) cc=clang ;;
	asan)
		cc=gcc
		options+=('-Db_sanitize=address,undefined' -Doptimization=1
			-Dc_args=-fno-sanitize-recover=all)
		;;
	tsan)
		cc=clang
		options+=(-Db_sanitize=thread -Db_lundef=false -Doptimization=1)
		;;
	fuzz)
		cc=clang
		options+=('-Db_sanitize=address,undefined' -Db_lundef=false -Doptimization=1
			"-Dc_args=['-fno-sanitize-recover=all','-fsanitize=fuzzer-no-link']")
		;;
	*) usage_error "build: unknown variant '$1'" ;;
	esac
}

# A directory that was set up with other options is set up again, so that a variant means one thing.
variant_setup() {
	local variant=$1 dir=build/$1 cc options stamp
	variant_options "$variant"
	stamp="$cc ${options[*]}"
	if [ -f "$dir/build.ninja" ] && [ "$(cat "$dir/.dev-options" 2>/dev/null)" = "$stamp" ]; then
		return 0
	fi
	rm -rf "$dir"
	CC=$cc CFLAGS='' LDFLAGS='' meson_run setup "$dir" "${options[@]}"
	echo "$stamp" >"$dir/.dev-options"
}

variant_build() {
	echo "build: $1"
	variant_setup "$1"
	ninja -C "build/$1"
}

# A program that needs our library must find it beside itself, wherever the tree is copied to.
rpath_verify() {
	local program
	for program in build/bin/*; do
		if [ ! -f "$program" ]; then
			continue
		fi
		if readelf -d "$program" 2>/dev/null | grep -q 'NEEDED.*\[libnacre' &&
			! readelf -d "$program" | grep -qF "[\$ORIGIN/../lib"; then
			die "build: $program has no RPATH \$ORIGIN/../lib; its target lacks install_rpath"
		fi
	done
}

# Replaces a file by rename, so that a running program keeps the one it has.
place() {
	local dest=$2
	mkdir -p "$(dirname "$dest")"
	cp -a "$1" "$dest.new"
	mv -f "$dest.new" "$dest"
}

# What an earlier build placed and this one does not make would be found and run by mistake.
stale_remove() {
	local stage=$1 file
	while IFS= read -r -d '' file; do
		if [ ! -e "$stage/$file" ] && [ ! -L "$stage/$file" ]; then
			rm -f "build/$file"
		fi
	done < <(cd build && find bin lib include \( -type f -o -type l \) -print0 2>/dev/null)
}

rel_place() {
	local stage=$DEV_ROOT/build/stage file
	rm -rf "$stage"
	DESTDIR=$stage meson_run install -C build/rel --no-rebuild --quiet >/dev/null
	if [ ! -d "$stage/usr/local" ]; then
		return 0
	fi
	while IFS= read -r -d '' file; do
		place "$stage/usr/local/$file" "build/$file"
	done < <(cd "$stage/usr/local" && find . \( -type f -o -type l \) -printf '%P\0')
	stale_remove "$stage/usr/local"
	rpath_verify
}

main() {
	local variants=() variant
	while [ $# -gt 0 ]; do
		case $1 in
		-h | --help)
			verb_help "${BASH_SOURCE[0]}"
			return 0
			;;
		all) variants+=(rel clang asan tsan fuzz) ;;
		rel | clang | asan | tsan | fuzz) variants+=("$1") ;;
		*) usage_error "build: unknown argument '$1'" ;;
		esac
		shift
	done
	if [ ${#variants[@]} -eq 0 ]; then
		variants=(rel)
	fi
	bash tools/dev/deps.sh build
	for variant in "${variants[@]}"; do
		if [ "$variant" != rel ] && [ "$variant" != asan ]; then
			bash tools/dev/deps.sh check
		fi
		variant_build "$variant"
		if [ "$variant" = rel ]; then
			rel_place
		fi
	done
}

main "$@"
