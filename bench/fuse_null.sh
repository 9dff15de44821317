#!/usr/bin/env bash
# What the FUSE side alone can do: nacre-fuse with the in-memory client, over /dev/fuse and over io_uring.
# usage: bench/fuse_null.sh [BUILD_DIR] [SECONDS]      (root; mounts in a name space of its own)
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
BUILD=${1:-$ROOT/build/rel}
SECONDS_EACH=${2:-2}
SWITCH=/sys/module/fuse/parameters/enable_uring

if [ -z "${FUSE_NULL_INSIDE:-}" ]; then
	FUSE_NULL_INSIDE=1 exec unshare -m "$0" "$BUILD" "$SECONDS_EACH"
fi

DIR=$(mktemp -d)
WAS=$(cat "$SWITCH")
cleanup() {
	echo "$WAS" >"$SWITCH"
	umount -l "$DIR/mnt" 2>/dev/null || true
	rm -rf "$DIR"
}
trap cleanup EXIT
mkdir "$DIR/mnt" "$DIR/bin"
echo none >"$DIR/key"
cp "$BUILD/src/fuse/mount.nacre" "$DIR/bin/"
cp "$BUILD/tests/unit/fuse/nacre-fuse-null" "$DIR/bin/nacre-fuse"

# The switch is on only while the mount begins: that is when the kernel asks.
one() {
	local name=$1 option=$2 procs=$3
	if [ "$option" = rw ]; then
		echo Y >"$SWITCH"
	fi
	"$DIR/bin/mount.nacre" null:/null "$DIR/mnt" -o "key=$DIR/key,log=$DIR/log,$option"
	echo "$WAS" >"$SWITCH"
	echo -n "$name  "
	timeout -s KILL 120 "$BUILD/tests/unit/fuse/bench_fs" "$DIR/mnt" "$procs" "$SECONDS_EACH"
	umount "$DIR/mnt"
}

for procs in 1 4; do
	one "/dev/fuse" no_uring "$procs"
	one "io_uring " rw "$procs"
done
