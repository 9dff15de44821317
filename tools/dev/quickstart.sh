#!/usr/bin/env bash
# help: install what is missing, build, start a file system on this machine, try it, say what you have
# usage: ./dev quickstart [DIR]
#
# DIR (default build/quickstart) gets everything of the file system: servers' data, keys, logs and the mount
# point DIR/mnt. Run again, it goes on with what is there. Stop it with build/bin/nacre down DIR.
#
# As root it installs missing Debian packages; as another user it prints the line that does, and ends with 77.
set -euo pipefail
# shellcheck source=tools/dev/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

OSTS=4
STEPS=6
SPEED_MIB_MAX=512
# What is left free on the disk, beside the file that measures speed.
SPARE_MIB=1024

case ${1:-} in
-h | --help)
	verb_help "${BASH_SOURCE[0]}"
	exit 0
	;;
esac
[ $# -le 1 ] || usage_error "quickstart: one directory at most"

DIR=$(realpath -m "${1:-build/quickstart}")
BIN=$DEV_ROOT/build/bin
MNT=$DIR/mnt
PLACE=$MNT/quickstart
SAMPLE=$DIR/sample
STEP=0

step() {
	STEP=$((STEP + 1))
	printf '\n[%d/%d] %s\n' "$STEP" "$STEPS" "$*"
}

# What only the machine's owner can change is said before anything is built.
machine_check() {
	if [ ! -e /dev/fuse ]; then
		die "quickstart: there is no /dev/fuse: the kernel's FUSE module is missing (modprobe fuse), or this is a container" \
			"started without --device /dev/fuse --cap-add SYS_ADMIN"
	fi
	if [ "$(id -u)" != 0 ] && [ ! -w /dev/fuse ]; then
		die "quickstart: /dev/fuse is root's here: run it as root, or chmod 666 /dev/fuse"
	fi
}

# A file system that is there keeps the OSTs it has.
file_system_up() {
	local options=()
	if [ ! -e "$DIR/cluster.yaml" ]; then
		options=(--osts "$OSTS")
	fi
	mkdir -p "$(dirname "$DIR")"
	"$BIN/nacre" up "$DIR" "${options[@]}"
}

# A real tree: this repository's sources and the headers of this machine. What is copied and compared is a snapshot,
# so that somebody may work on them meanwhile.
tree_copy() {
	rm -rf "$PLACE/tree" "$SAMPLE"
	mkdir -p "$SAMPLE"
	cp -a src docs /usr/include/linux "$SAMPLE/"
	cp -a "$SAMPLE" "$PLACE/tree"
}

tree_compare() {
	diff -r "$SAMPLE" "$PLACE/tree"
	rm -rf "$SAMPLE"
	echo "$(find "$PLACE/tree" -type f | wc -l) files in $(find "$PLACE/tree" -type d | wc -l) directories: all equal"
}

# Prints the MiB/s at which a command moves $1 MiB.
rate() {
	local mib=$1 start end
	shift
	start=$(date +%s%N)
	"$@" 2>"$DIR/log/quickstart-dd.log" || die "quickstart: $* failed: $(tail -n 1 "$DIR/log/quickstart-dd.log")"
	end=$(date +%s%N)
	echo "$((mib * 1000000000 / (end - start)))"
}

speed_show() {
	local file=$PLACE/striped free mib wrote read
	free=$(df -Pm "$DIR" | awk 'NR == 2 { print $4 }')
	mib=$((free - SPARE_MIB < SPEED_MIB_MAX ? free - SPARE_MIB : SPEED_MIB_MAX))
	rm -f "$file"
	"$BIN/lfs" setstripe -c -1 -S 1M "$file"
	if [ "$mib" -lt 64 ]; then
		mib=16
	fi
	wrote=$(rate "$mib" dd if=/dev/zero of="$file" bs=1M count="$mib" conv=notrunc,fsync)
	read=$(rate "$mib" dd if="$file" of=/dev/null bs=1M)
	"$BIN/lfs" getstripe "$file"
	echo "$mib MiB, one process: written with fsync at $wrote MiB/s, read back at $read MiB/s"
	rm -f "$file"
}

next_show() {
	cat <<END

It runs. $MNT is a file system now:

  cp -a /some/data $MNT/             use it like any directory
  build/bin/lfs setstripe -c 2 $MNT/quickstart
                                     stripe what is made there from now on over 2 OSTs
  build/bin/lfs getstripe -r $MNT/quickstart
                                     see where data is
  build/bin/nacre status $DIR
                                     servers, addresses, space, clients (--json for programs)
  ./dev check --quick                the tests
  README.md, docs/mount.md           mounting it elsewhere, options, fstab

Stop it; the data stays, and nacre up brings it back:

  build/bin/nacre down $DIR
END
}

main() {
	machine_check
	step "install what is missing, and build (a first time takes minutes)"
	bash tools/dev/build.sh rel
	step "start a file system: 1 MDT and $OSTS OSTs, mounted"
	file_system_up
	step "copy a real tree into it"
	mkdir -p "$PLACE"
	tree_copy
	step "compare the copy with the original"
	tree_compare
	step "a file striped over all OSTs: its layout, its speed"
	speed_show
	step "what there is now"
	"$BIN/lfs" df -h "$MNT"
	"$BIN/nacre" status "$DIR"
	next_show
}

main
