#!/usr/bin/env bash
# Train the embedded model, measure it against other ways to keep a memory, and export it. Some ten minutes on two cores;
# what follows the folder goes to training: examples/train_and_export.sh out train.steps=2
set -euo pipefail
out=${1:?usage: examples/train_and_export.sh OUT [key=value ...]}
shift
memrl train tiny run.dir="$out/run" "$@"
memrl eval "$out/run" --streams 16 --baselines untrained verbatim bm25
memrl export "$out/run" --out "$out/policy"
echo "The policy: $out/policy. What it is and how it did: $out/policy/README.md"
