#!/usr/bin/env bash
# help: run the whole file system in the simulator (--seed X repeats one run)
# usage: ./dev sim [--seeds N] [--from S] [-j N] [--stats] [--keep-going]
#        ./dev sim --seed X [--trace]
#        ./dev sim --file FILE
#        ./dev sim --steps [--host H] [--kill | --power] [--from K] [--stride N]
#        ./dev sim --canaries
#
# Without arguments: 200 seeds. Without --from they begin at a random one, which is printed; NACRE_SEED=N fixes it.
#
# --seeds N     so many runs, each from its own seed: an MDT, up to 6 OSTs, up to 4 clients, random
#               operations and faults, checked against a reference model
# --seed X      one run; a failing run prints what was wrong, the last events and this command
# --trace       every event as it happens
# --stats       counts each kind of fault that fired; fails if one never did
# --steps       a fixed scenario with each server killed and powered off at its 1st, 2nd, 3rd... step
# --canaries    programs with a mistake on purpose: each must be found
# --file FILE   the seeds of a file, one a line (tests/sim/seeds.txt has those that failed once)
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

build=build/rel
if [ ! -f "$build/build.ninja" ]; then
	die "there is no $build: ./dev build makes it"
fi
ninja -C "$build" tests/sim/sim_cluster >&2

if [ "${1:-}" = --canaries ]; then
	exec /usr/bin/python3 /usr/bin/meson test -C "$build" --suite canary --print-errorlogs
fi
if [ $# -eq 0 ]; then
	set -- --seeds 200
fi
case " $* " in
*" --from "* | *" --seed "* | *" --file "* | *" --steps "*) ;;
*)
	seed=${NACRE_SEED:-$((RANDOM * 32768 + RANDOM))}
	echo "from seed $seed"
	set -- "$@" --from "$seed"
	;;
esac
exec "$build/tests/sim/sim_cluster" "$@"
