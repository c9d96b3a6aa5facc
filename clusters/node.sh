#!/usr/bin/env bash
# What a cluster's machines do beside Ray, called by the cluster files. Every command may be repeated.
set -euo pipefail

ENVIRONMENT=$HOME/.clipfit
MLFLOW_PORT=${MLFLOW_PORT:-5000}

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
  "$ENVIRONMENT/bin/pip" install --quiet "ray[default,tune]==$ray" --editable "$HOME/clipfit[hf]"
  "$ENVIRONMENT/bin/python" - "$python" "$ray" << 'PYTHON'
import sys
from importlib.metadata import version

found = (f"{sys.version_info.major}.{sys.version_info.minor}", version("ray"))
if found != tuple(sys.argv[1:]):
    sys.exit(f"~/.clipfit has Python and Ray {found}, the cluster wants {sys.argv[1:]}; remove it")
PYTHON
}

# environment NAME=VALUE…: what every shell and every process of Ray on this machine sees.
environment() {
  local pair
  {
    printf 'export PATH=%q:$PATH\n' "$ENVIRONMENT/bin"
    for pair in "$@"; do printf 'export %s=%q\n' "${pair%%=*}" "${pair#*=}"; done
  } > "$ENVIRONMENT/env.sh"
  local line=". $ENVIRONMENT/env.sh"
  # Ray runs everything in an interactive login shell that reads .bashrc to its end.
  grep -qxF "$line" "$HOME/.bashrc" 2> /dev/null || echo "$line" >> "$HOME/.bashrc"
}

# share FOLDER: on the head, the folder of all studies, marked so that workers know it again.
share() {
  mkdir -p "$1/runs" "$1/artifacts" 2> /dev/null || {
    sudo mkdir -p "$1/runs" "$1/artifacts"
    sudo chown -R "$(id -u):$(id -g)" "$1"
  }
  [ -e "$1/.head" ] || hostname > "$1/.head"
}

# export_nfs FOLDER: on the head, to private addresses alone. Workers may be in other subnets than the
# head's, one an availability zone; that only they get here is the security group's business.
export_nfs() {
  command -v exportfs > /dev/null || apt_install nfs-kernel-server
  local how="rw,sync,no_subtree_check"
  echo "$1 10.0.0.0/8($how) 172.16.0.0/12($how) 192.168.0.0/16($how)" |
    sudo tee /etc/exports.d/clipfit.exports > /dev/null
  sudo exportfs -ra
}

# mount_nfs HEAD FOLDER: on a worker. A hard mount waits for a head that is away, and loses nothing.
mount_nfs() {
  mountpoint -q "$2" && return
  command -v mount.nfs4 > /dev/null || apt_install nfs-common
  sudo mkdir -p "$2"
  sudo mount -t nfs4 -o hard,noatime "$1:$2" "$2"
}

# apt_install PACKAGE: asking nothing, on a machine that has just booted and may be updating itself.
apt_install() {
  local attempt
  for attempt in {1..30}; do
    if sudo apt-get update -qq && sudo DEBIAN_FRONTEND=noninteractive apt-get install -qq -y "$1"; then
      return
    fi
    sleep 10
  done
  return 1
}

# see FOLDER: on a worker, fail where it does not see the head's folder.
see() {
  [ -e "$1/.head" ] && [ -w "$1/runs" ] && return
  echo "$(hostname) does not see the head's $1: all machines must share it (NFS, Lustre, …)" >&2
  exit 1
}

# watch_notice HEAD: on a spot machine, look for AWS's notice from now on. A second call leaves the first alone.
watch_notice() {
  setsid flock --nonblock "$ENVIRONMENT/notice.lock" bash "$0" await_notice "$1" \
    < /dev/null >> "$ENVIRONMENT/notice.log" 2>&1 &
}

# await_notice HEAD: AWS gives it two minutes before it takes the machine, and asks to look every five seconds. Once
# Ray knows, it starts nothing new here, and each study moves its trials as they end their epochs.
await_notice() {
  local metadata=http://169.254.169.254/latest/ token
  until token=$(curl -sf -X PUT -H "X-aws-ec2-metadata-token-ttl-seconds: 60" "${metadata}api/token") &&
    curl -sf -o /dev/null -H "X-aws-ec2-metadata-token: $token" "${metadata}meta-data/spot/instance-action"; do
    sleep 5
  done
  RAY_ADDRESS=$1:6379 "$ENVIRONMENT/bin/ray" drain-node --reason DRAIN_NODE_REASON_PREEMPTION \
    --reason-message "AWS takes this machine away" --deadline-remaining-seconds 110
}

# mlflow FOLDER: on the head, MLflow on loopback, started again whenever it ends. The database stays on
# local disk. A second call leaves the first alone, since that holds the lock.
mlflow() {
  local place=$HOME/mlflow attempt
  mkdir -p "$place" "$1/artifacts"
  setsid flock --nonblock "$place/lock" bash "$0" keep_mlflow "$1" < /dev/null >> "$place/server.log" 2>&1 &
  for attempt in {1..120}; do
    if mlflow_answers; then
      echo "MLflow answers on http://127.0.0.1:$MLFLOW_PORT"
      return
    fi
    sleep 1
  done
  echo "MLflow does not answer on port $MLFLOW_PORT; $place/server.log says why" >&2
  return 1
}

mlflow_answers() {
  "$ENVIRONMENT/bin/python" - "$MLFLOW_PORT" 2> /dev/null << 'PYTHON'
import sys
import urllib.request

urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/health", timeout=5)
PYTHON
}

# keep_mlflow FOLDER: serve for ever. The group of its processes is noted for `end_mlflow`.
keep_mlflow() {
  local group
  read -r _ _ _ _ group _ < "/proc/$$/stat"
  echo "$group" > "$HOME/mlflow/group"
  # Job execution would start eight more processes for features that no study uses.
  export MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
  while true; do
    "$ENVIRONMENT/bin/python" -m mlflow server --host 127.0.0.1 --port "$MLFLOW_PORT" \
      --backend-store-uri "sqlite:///$HOME/mlflow/mlflow.db" --artifacts-destination "$1/artifacts" \
      --workers 1 --uvicorn-opts "--log-level warning" || echo "MLflow ended with code $?"
    sleep 2
  done
}

# end_mlflow: end the server and what starts it again.
end_mlflow() {
  kill -- "-$(cat "$HOME/mlflow/group")"
  rm "$HOME/mlflow/group"
}

"$@"
