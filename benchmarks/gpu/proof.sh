#!/usr/bin/env bash
# The GPU proof on a machine that has torch, transformers, peft and a GPU, but no network and no ray, trl, vllm, datasets.
# `prepare`, in the repository's root on a machine with a network: wheels of the small packages that it lacks, into .gpu/
# (12 MB, not for git). `go`, in a copy of the repository with that folder, on the GPU machine: results go to $OUT.
#   bash benchmarks/gpu/proof.sh prepare
#   OUT=results SECONDS_LEFT=520 bash benchmarks/gpu/proof.sh go [--only imports,loop,tiny]
set -euo pipefail
cd "$(dirname "$0")/../.."
platforms=()
for name in manylinux_2_28 manylinux_2_27 manylinux_2_17 manylinux2014 manylinux1; do
  platforms+=(--platform "${name}_x86_64")
done
fetch() {
  python3 -m pip download -q --no-deps --only-binary=:all: --python-version "${GPU_PYTHON:-3.12}" --implementation cp \
    "${platforms[@]}" -d .gpu/wheels "$@"
}
case ${1:-} in
  prepare)
    rm -rf .gpu/wheels
    mkdir -p .gpu/wheels
    fetch pydantic==2.14.3 annotated-types typing-inspection omegaconf==2.4.0 zstandard==0.25.0 snowballstemmer==3.1.1 \
      ijson==3.6.0 datasketch==2.0.0 openai==3.57.0 jiter sniffio httpx2 httpcore2 truststore
    # pydantic wants exactly one pydantic-core: the one it names
    core=$(unzip -p .gpu/wheels/pydantic-2*.whl '*/METADATA' | sed -n 's/^Requires-Dist: pydantic-core==//p')
    fetch "pydantic-core==$core"
    du -sh .gpu
    ;;
  go)
    shift
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$site" .gpu/wheels/*.whl
    export PYTHONPATH=$site:$PWD PYTHONUNBUFFERED=1 OUT=${OUT:-gpu-proof}
    mkdir -p "$OUT"
    python3 -m benchmarks.gpu.proof --seconds "${SECONDS_LEFT:-520}" "$@" 2>&1 | tee "$OUT/log"
    ;;
  *)
    sed -n 2,6p "$0"
    exit 2
    ;;
esac
