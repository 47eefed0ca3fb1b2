#!/usr/bin/env bash
# Train on one GPU of this machine, without a cluster: engine and learner share the card.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: launch/single-gpu.sh [CONFIG] [key=value ...] [--resume] [--dry-run]

Runs `memrl train CONFIG ...` here (default CONFIG: debug-1gpu, Qwen3-0.6B, made for 24 GB) and refuses to begin
without a GPU, where the same command would run on the CPU for days.

example:
  launch/single-gpu.sh debug-1gpu model.path=/models/Qwen3-0.6B
TEXT
}

case ${1:-} in -h | --help) usage; exit 0 ;; esac
root=$(cd "$(dirname "$0")/.." && pwd)
[[ -x $root/.venv/bin/memrl ]] && PATH=$root/.venv/bin:$PATH
memrl=${MEMRL:-memrl}
if [[ " $* " != *" --dry-run "* ]] && ! nvidia-smi >/dev/null 2>&1; then
  echo "no GPU is visible here (nvidia-smi fails); try the CPU with: $memrl train tiny" >&2
  exit 2
fi
if (($# == 0)) || [[ $1 == *=* || $1 == --* ]]; then set -- debug-1gpu "$@"; fi
exec "$memrl" train "$@"
