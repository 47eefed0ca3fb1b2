#!/usr/bin/env bash
# Your own documents, end to end: built, checked, trained on, measured, exported. As it is, it reads own_data.jsonl beside
# it (format: docs/own-data.md); the embedded model knows only words like those in there, so for your own texts name
# another: FROM=my.jsonl examples/own_data.sh out squad-smollm2-cpu model.path=FOLDER
set -euo pipefail
out=${1:?usage: [FROM=my.jsonl] examples/own_data.sh OUT [CONFIG] [key=value ...]}
shift
config=tiny
if [[ ${1:-} && $1 != *=* ]]; then config=$1; shift; fi
from=${FROM:-$(cd "$(dirname "$0")" && pwd)/own_data.jsonl}
memrl data build documents --from "$from" --out "$out/data" chunk_tokens=30 eval_share=0.3
set=$out/data/documents
memrl data check "$set/train.jsonl" --against "$set/eval.jsonl"
memrl train "$config" run.dir="$out/run" "$@" \
  "data.train=[{source: jsonl, path: $set/train.jsonl}]" "data.eval=[{source: jsonl, path: $set/eval.jsonl}]"
memrl eval "$out/run" --baselines untrained verbatim
memrl export "$out/run" --out "$out/policy"
