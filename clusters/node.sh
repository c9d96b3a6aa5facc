#!/usr/bin/env bash
# What a cluster's machines need besides `ray up`, which copies files and runs commands: an environment, a shared
# folder, MLflow, and AWS's notices. The cluster files call this script. Every command may be repeated.
set -euo pipefail

ENVIRONMENT=$HOME/.clipfit
MLFLOW=http://127.0.0.1:${MLFLOW_PORT:=5000}

fail() {
  echo "$1" >&2
  exit 1
}

# install PYTHON RAY: one environment with one Python minor and one Ray release, and this package.
install() {
  local python=$1 ray=$2
  if [ ! -x "$ENVIRONMENT/bin/python" ]; then
    local PATH="$HOME/.local/bin:$PATH"
    command -v uv > /dev/null || {
      # Debian and Ubuntu keep pip from their own Python, or have none.
      python3 -m pip --version > /dev/null 2>&1 || apt_install python3-pip
      PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --user --quiet uv
    }
    uv venv --quiet --seed --python "$python" "$ENVIRONMENT"
  fi
  [ -x "$ENVIRONMENT/bin/python$python" ] || fail "~/.clipfit has another Python than the cluster's $python; remove it"
  "$ENVIRONMENT/bin/pip" install --quiet "ray[default,tune]==$ray" --editable "$HOME/clipfit[hf]"
}

# environment NAME=VALUE…: set variables for every shell and process of Ray; Ray's cluster files have no key for it.
environment() {
  printf 'export PATH=%q:$PATH\n' "$ENVIRONMENT/bin" > "$ENVIRONMENT/env.sh"
  printf 'export %q\n' "$@" >> "$ENVIRONMENT/env.sh"
  # Ray runs everything in an interactive login shell that reads .bashrc to its end.
  grep -qsF "$ENVIRONMENT/env.sh" "$HOME/.bashrc" || echo ". $ENVIRONMENT/env.sh" >> "$HOME/.bashrc"
}

# share FOLDER: on the head, create the folder of all studies, with a mark that workers look for.
share() {
  mkdir -p "$1/runs" "$1/artifacts" 2> /dev/null ||
    sudo install -d -o "$(id -u)" -g "$(id -g)" "$1" "$1/runs" "$1/artifacts"
  [ -e "$1/.head" ] || hostname > "$1/.head"
}

# export_nfs FOLDER: on the head, to private addresses only. Workers may be in other subnets than the head, because each
# availability zone has its own; the security group restricts access to them.
export_nfs() {
  command -v exportfs > /dev/null || apt_install nfs-kernel-server
  echo "$1" {10.0.0.0/8,172.16.0.0/12,192.168.0.0/16}"(rw,sync,no_subtree_check)" |
    sudo tee /etc/exports.d/clipfit.exports > /dev/null
  sudo exportfs -ra
}

# mount_nfs HEAD FOLDER: on a worker. A hard mount waits while the head is unreachable, and loses nothing.
mount_nfs() {
  mountpoint -q "$2" && return
  command -v mount.nfs4 > /dev/null || apt_install nfs-common
  sudo mount -t nfs4 -o hard,noatime,X-mount.mkdir "$1:$2" "$2"
}

# apt_install PACKAGE: without questions, on a machine that has just booted and may be updating itself.
apt_install() {
  timeout 600 bash -c 'until sudo apt-get update -qq &&
    sudo DEBIAN_FRONTEND=noninteractive apt-get install -qq -y "$0"; do sleep 10; done' "$1"
}

# see FOLDER: on a worker, fail if it does not see the head's folder.
see() {
  [ -e "$1/.head" ] && [ -w "$1/runs" ] && return
  fail "$(hostname) does not see the head's $1: all machines must share it (NFS, Lustre, …)"
}

# start COMMAND ARGUMENT…: run a command that continues after the SSH session of `ray up`, unless it runs already.
start() {
  setsid flock --nonblock "$ENVIRONMENT/$1.lock" bash "$0" "$@" < /dev/null >> "$ENVIRONMENT/$1.log" 2>&1 &
}

# await_notice HEAD: on a spot machine, which AWS takes away two minutes after a notice; AWS recommends looking for it
# every five seconds. Ray doesn't look; after `drain-node`, it starts nothing new here, and studies move their trials.
await_notice() {
  local metadata=http://169.254.169.254/latest/ token
  until token=$(curl -sf -X PUT -H "X-aws-ec2-metadata-token-ttl-seconds: 60" "${metadata}api/token") &&
    curl -sf -o /dev/null -H "X-aws-ec2-metadata-token: $token" "${metadata}meta-data/spot/instance-action"; do
    sleep 5
  done
  RAY_ADDRESS=$1:6379 "$ENVIRONMENT/bin/ray" drain-node --reason DRAIN_NODE_REASON_PREEMPTION \
    --reason-message "AWS takes this machine away" --deadline-remaining-seconds 110
}

# mlflow FOLDER: on the head, run MLflow on loopback, with its database on local disk; restart it whenever it ends.
mlflow() {
  mkdir -p "$HOME/mlflow" "$1/artifacts"
  start keep_mlflow "$1"
  until "$ENVIRONMENT/bin/python" -c "from urllib.request import *; urlopen('$MLFLOW/health', None, 5)" 2> /dev/null; do
    [ "$SECONDS" -lt 180 ] || fail "MLflow does not respond on $MLFLOW; see $ENVIRONMENT/keep_mlflow.log"
    sleep 1
  done
  echo "MLflow answers on $MLFLOW"
}

# keep_mlflow FOLDER: serve forever. `end_mlflow` reads the recorded process group.
keep_mlflow() {
  echo "$PPID" > "$HOME/mlflow/group" # flock, which leads it
  # Job execution would start eight more processes for features that no study uses.
  export MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
  while true; do
    "$ENVIRONMENT/bin/python" -m mlflow server --host 127.0.0.1 --port "$MLFLOW_PORT" \
      --backend-store-uri "sqlite:///$HOME/mlflow/mlflow.db" --artifacts-destination "$1/artifacts" \
      --workers 1 --uvicorn-opts "--log-level warning" || echo "MLflow ended with code $?"
    sleep 2
  done
}

# end_mlflow: end the server and the loop that restarts it.
end_mlflow() {
  kill -- "-$(cat "$HOME/mlflow/group")"
  rm "$HOME/mlflow/group"
}

"$@"
