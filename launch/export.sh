#!/usr/bin/env bash
# Take the trained policy out of a run, with a copy that is checked before it gets its name.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: launch/export.sh RUN OUT [--format adapter|merged|gguf] [--adapter best|last|vNNNNN|step_NNNNN] [--model PATH]

Runs `memrl export` on the run folder RUN and writes OUT/adapter and OUT/merged, or only the format that is named.
The run may still be going on. $MEMRL names the command where it is not on the PATH.

example:
  launch/export.sh runs/tiny exported/tiny
  launch/export.sh /shared/runs/qwen3-4b /models/memory-agent --format merged --model /models/Qwen3-4B
TEXT
}

case ${1:-} in -h | --help) usage; exit 0 ;; esac
if (($# < 2)) || [[ $1 == -* || $2 == -* ]]; then usage >&2; exit 2; fi
run=$1 out=$2
shift 2
formats=(adapter merged)
options=()
while (($#)); do
  case $1 in
    --format) formats=("${2:?--format needs adapter, merged or gguf}"); shift 2 ;;
    --adapter | --model) options+=("$1" "${2:?$1 needs a value}"); shift 2 ;;
    *) echo "unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
done
root=$(cd "$(dirname "$0")/.." && pwd)
[[ -x $root/.venv/bin/memrl ]] && PATH=$root/.venv/bin:$PATH
for format in "${formats[@]}"; do
  "${MEMRL:-memrl}" export "$run" --format "$format" --out "$out/$format" "${options[@]}"
done
