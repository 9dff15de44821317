#!/usr/bin/env bash
# help: measure: beside local file systems and peers; what an operation costs; the layers one by one
# usage: ./dev bench [--quick] [--peers local,moosefs,glusterfs] [--only ROW,...] [--repetitions N] [--json]
#        ./dev bench --budget [--ops A,B] [--gate | --lower]
#        ./dev bench NAME [ARGUMENT...]
#
# Without a name: all rows on all columns in turn, in one run: local disk and tmpfs, ours over /dev/fuse, over io_uring and by
# libnacre, MooseFS and GlusterFS as packaged and with client caches off. Tables, build/bench/bench.{json,txt,svg}. Root.
#   --quick            some minutes instead of more than an hour
#   --peers A,B        local, moosefs, glusterfs, none; ./dev deps peers installs the last two
#   --only A,B         rows or groups of --list     --columns A,B   columns of the table
#   --repetitions N    5 (quick: 3)                 --json          JSON instead of the tables
#   --nice N           the same priority for everything (MooseFS gives itself -19): for a machine that others use
#   --floors           fail if a floor against the peers is missed
#   --scale tiny       seconds: only shows that it works
#
# With --budget: FUSE requests, RPCs, wake-ups, system calls and copied bytes of each operation beside the design's budget
# and the ceilings of bench/budget.json, which may only fall: --gate holds them (./dev check does), --lower lowers them.
#
# cost   FUSE requests, RPCs, system calls, sleeps and CPU of each operation on a mount, counted from outside
# mdt    creates, stats, small reads per second and core of the MDT alone: many sessions, no FUSE
# hops   where the microseconds of one mkdir go (needs tracefs)
# fuse   what nacre-fuse can do with an in-memory client
# hop    a round trip between two processes, against raw sockets
# rpc    a call, calls in a pipeline, bulk, against raw sockets
# state  the MDT's log and table on a disk, against raw pwrite and fdatasync
#
# Arguments go to the bench; `./dev bench cost --help` tells those of cost. What they print means: bench/README.md.
set -euo pipefail
# shellcheck source=tools/dev/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

main() {
	local name=${1:-}
	case $name in
	-h | --help)
		verb_help "${BASH_SOURCE[0]}"
		return 0
		;;
	--budget)
		shift
		exec /usr/bin/python3 -B bench/budget.py "$@"
		;;
	'' | -*)
		exec /usr/bin/python3 -B bench/compare.py "$@"
		;;
	esac
	shift
	case $name in
	cost | hops | mdt)
		if [ ! -x build/bin/nacre ]; then
			die "bench: nothing is built: ./dev build"
		fi
		exec /usr/bin/python3 -B "bench/$name.py" "$@"
		;;
	fuse) exec bash bench/fuse_null.sh build/rel "$@" ;;
	hop) exec build/rel/bench/bench_hop "$@" ;;
	rpc) exec build/rel/bench/rpc_bench "$@" ;;
	state) exec build/rel/bench/state_bench "$@" ;;
	*) usage_error "bench: there is no bench '$name'" ;;
	esac
}

main "$@"
