#!/usr/bin/env bash
# help: fuzz decoders (fuzz [NAME] [--seconds N]); without a name all of them
# usage: ./dev fuzz [NAME] [--seconds N | --runs N] [--jobs N] [--list]
#
# NAME          the targets whose name contains it, e.g. wal, rpc, w_mds (--list prints all)
# --seconds N   so long each (60)
# --runs N      so many executions each, fewer for the slow ones
# --jobs N      so many targets at a time (one per CPU)
#
# What is found to reach new code is kept in build/fuzz-corpus/TARGET, where the next run starts from. An input
# that fails is named at the end; ./dev fuzz repeats it when it lies in tests/fuzz/corpus/TARGET/.
# Builds the variant fuzz first (clang, libFuzzer, ASan and UBSan).
set -euo pipefail
# shellcheck source=tools/dev/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

programs_find() {
	find build/fuzz/tests/fuzz -maxdepth 1 -type f -name 'fuzz_*' -perm -u+x | sort
}

main() {
	local name='' list='' limit=(--seconds 60) more=() program
	while [ $# -gt 0 ]; do
		case $1 in
		-h | --help)
			verb_help "${BASH_SOURCE[0]}"
			return 0
			;;
		--list) list=yes ;;
		--seconds | --runs | --jobs)
			[[ ${2:-} =~ ^[1-9][0-9]*$ ]] || usage_error "fuzz: $1 needs a number"
			if [ "$1" = --jobs ]; then
				more+=("$1" "$2")
			else
				limit=("$1" "$2")
			fi
			shift
			;;
		-*) usage_error "fuzz: unknown argument '$1'" ;;
		*)
			[ -z "$name" ] || usage_error "fuzz: one NAME only"
			name=$1
			;;
		esac
		shift
	done
	bash tools/dev/build.sh fuzz >&2
	mapfile -t programs < <(programs_find)
	[ ${#programs[@]} -gt 0 ] || die "fuzz: no fuzz programs were built"
	if [ -n "$list" ]; then
		for program in "${programs[@]}"; do
			"$program" --list
		done
		return 0
	fi
	exec /usr/bin/python3 -B tests/fuzz/run_fuzz.py "${programs[@]}" --targets "$name" "${limit[@]}" "${more[@]}" \
		--corpus build/fuzz-corpus
}

main "$@"
