#!/usr/bin/env bash
# help: format the C files (--check: only say which are not formatted)
# usage: ./dev format [--check]
set -euo pipefail
# shellcheck source=tools/dev/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

case ${1:-} in
-h | --help) verb_help "${BASH_SOURCE[0]}" ;;
--check) exec /usr/bin/python3 tools/gates/format.py ;;
'') exec /usr/bin/python3 tools/gates/format.py --fix ;;
*) usage_error "format: unknown argument '$1'" ;;
esac
