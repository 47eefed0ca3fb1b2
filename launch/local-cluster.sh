#!/usr/bin/env bash
# Several Ray nodes on this one machine: to try out what a cluster does, without one.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: launch/local-cluster.sh start [--nodes N] [--cpus N] [--port P] [--dashboard-port P]
       launch/local-cluster.sh stop

Starts N Ray nodes (default 2) with so many CPUs each (default 1) on this machine, with token authentication.
What others need to reach it stands in runs/local-cluster/env; launch/train.sh reads it by itself.

example:
  launch/local-cluster.sh start
  launch/train.sh tiny train.steps=2
  launch/local-cluster.sh stop

environment:
  MEMRL_CLUSTER_DIR   where pids, logs and the token are kept (default runs/local-cluster)
TEXT
}

root=$(cd "$(dirname "$0")/.." && pwd)
dir=${MEMRL_CLUSTER_DIR:-$root/runs/local-cluster}
[[ -x $root/.venv/bin/ray ]] && PATH=$root/.venv/bin:$PATH

running() { # whether a process of this group lives; one that only waits to be reaped does not
  local stat line fields
  for stat in /proc/[0-9]*/stat; do
    read -r line 2>/dev/null <"$stat" || continue
    read -ra fields <<<"${line##*) }" # state, parent, group
    [[ ${fields[2]} == "$1" && ${fields[0]} != Z ]] && return 0
  done
  return 1
}

end() { # send a signal to every node, and wait until all have ended; fails when some still live after ten seconds
  local pid alive
  # Each node is the leader of a process group of its own: nothing else on this machine is touched.
  while read -r pid; do kill "-$1" -- "-$pid" 2>/dev/null || true; done <"$dir/pids"
  for _ in $(seq 50); do
    alive=0
    while read -r pid; do running "$pid" && alive=1; done <"$dir/pids"
    [[ $alive == 0 ]] && return 0
    sleep 0.2
  done
  return 1
}

stop() {
  [[ -f $dir/pids ]] || { echo "no local cluster was started from here ($dir/pids is missing)" >&2; return 1; }
  end TERM || end KILL || true
  rm -f "$dir/pids" "$dir/env" "$dir/token"
  echo "local cluster stopped"
}

node() { # node LOGFILE ARGUMENTS...
  local out=$1
  shift
  # Agents take jobs; on their usual port only one of this machine could, whichever cluster it belongs to.
  setsid ray start --block --disable-usage-stats --num-cpus "$cpus" --dashboard-agent-listen-port 0 "$@" \
    >"$out" 2>&1 </dev/null &
  echo $! >>"$dir/pids"
}

start() {
  local nodes=2 port=6390 dashboard=8275
  cpus=1
  while (($#)); do
    case $1 in
      --nodes) nodes=$2 ;;
      --cpus) cpus=$2 ;;
      --port) port=$2 ;;
      --dashboard-port) dashboard=$2 ;;
      *) echo "unknown option $1" >&2; usage >&2; exit 2 ;;
    esac
    shift 2
  done
  command -v ray >/dev/null || { echo "ray is not installed; run: make setup" >&2; exit 2; }
  [[ ! -f $dir/pids ]] || { echo "a local cluster runs already; stop it first: $0 stop" >&2; exit 2; }
  mkdir -p "$dir"
  (umask 077; head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$dir/token")
  cat >"$dir/env" <<TEXT
export RAY_ADDRESS=http://127.0.0.1:$dashboard
export RAY_AUTH_MODE=token
export RAY_AUTH_TOKEN_PATH=$dir/token
TEXT
  # shellcheck source=/dev/null
  source "$dir/env"
  unset RAY_ADDRESS # it is where jobs go; `ray start` would take it for the node to join
  node "$dir/head.log" --head --port "$port" --dashboard-host 127.0.0.1 --dashboard-port "$dashboard"
  for _ in $(seq 120); do
    if ray status --address "127.0.0.1:$port" >/dev/null 2>&1; then break; fi
    kill -0 "$(head -n 1 "$dir/pids")" 2>/dev/null || { tail -n 20 "$dir/head.log" >&2; stop >&2; exit 1; }
    sleep 0.5
  done
  for number in $(seq 2 "$nodes"); do
    node "$dir/node-$number.log" --address "127.0.0.1:$port"
  done
  for _ in $(seq 120); do
    up=$(ray status --address "127.0.0.1:$port" 2>/dev/null | grep -c '^ 1 node_' || true)
    # The head takes jobs a little later than nodes: an empty one finds out.
    if [[ $up -ge $nodes ]] && ray job submit --address "http://127.0.0.1:$dashboard" --no-wait -- true >/dev/null 2>&1; then
      echo "$up nodes with $cpus CPU each; jobs go to http://127.0.0.1:$dashboard"
      return
    fi
    sleep 0.5
  done
  echo "${up:-0} of $nodes nodes came up, and no job was taken at http://127.0.0.1:$dashboard; see $dir/*.log" >&2
  stop >&2
  exit 1
}

case ${1:-} in
  start) shift; start "$@" ;;
  stop) stop ;;
  -h | --help) usage ;;
  *) usage >&2; exit 2 ;;
esac
