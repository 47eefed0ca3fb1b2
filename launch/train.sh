#!/usr/bin/env bash
# Train on a Ray cluster: submits `memrl train` as a Ray job and follows its log.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: launch/train.sh [--address URL] [--workers N] [--no-wait] CONFIG [key=value ...] [--resume]

Submits `memrl train CONFIG key=value ...` to the cluster's head through `ray job submit`. The exit code is the job's.

  --address URL   the head's job server (default: $RAY_ADDRESS, else the cluster of launch/local-cluster.sh)
  --workers N     rollout workers (default 2); the same as rollout.workers=N
  --no-wait       submit and return

The head runs the command in this folder if it has it, so run.dir and paths to data and models must be reachable from
there; memrl must be installed on every node ($MEMRL names the command where it is not on the PATH).
On a cluster with token authentication set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH.

example:
  launch/train.sh --workers 4 qwen3-4b-8gpu model.path=/models/Qwen3-4B data.path=/data/Memalpha
TEXT
}

root=$(cd "$(dirname "$0")/.." && pwd)
local_env=${MEMRL_CLUSTER_DIR:-$root/runs/local-cluster}/env
workers=2
wait=()
address=${RAY_ADDRESS:-}
while (($#)); do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --address) address=${2:?--address needs a URL}; shift 2 ;;
    --workers) workers=${2:?--workers needs a number}; shift 2 ;;
    --no-wait) wait=(--no-wait); shift ;;
    --resume) break ;;
    -*) echo "unknown option $1" >&2; usage >&2; exit 2 ;;
    *) break ;;
  esac
done
(($#)) || { usage >&2; exit 2; }
config=$1
shift
[[ -f $config ]] && config=$(realpath "$config")

if [[ -z $address ]]; then
  [[ -f $local_env ]] || { echo "no cluster: give --address, set RAY_ADDRESS, or run launch/local-cluster.sh start" >&2; exit 2; }
  # shellcheck source=/dev/null
  source "$local_env"
  address=$RAY_ADDRESS
fi
[[ -x $root/.venv/bin/ray ]] && PATH=$root/.venv/bin:$PATH
memrl=${MEMRL:-$(command -v memrl || echo memrl)}

# The job must join the cluster it runs on, whatever this shell calls RAY_ADDRESS.
unset RAY_ADDRESS
# shellcheck disable=SC2016 # expanded by the job's own shell
exec ray job submit --address "$address" "${wait[@]}" -- \
  bash -c 'cd "$1" 2>/dev/null || true; shift; exec "$@"' memrl-job "$PWD" \
  "$memrl" train "$config" ray.address=auto "rollout.workers=$workers" "$@"
