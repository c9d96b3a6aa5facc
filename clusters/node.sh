#!/usr/bin/env bash
# What a cluster's machines do beside Ray, called by the cluster files. Every command may be repeated.
set -euo pipefail

ENVIRONMENT=$HOME/.clipfit

# install PYTHON RAY: one environment with one Python minor and one Ray release, and this package.
install() {
  local python=$1 ray=$2
  if [ ! -x "$ENVIRONMENT/bin/python" ]; then
    command -v uv > /dev/null || python3 -m pip install --user --quiet uv
    PATH="$HOME/.local/bin:$PATH" uv venv --quiet --seed --python "$python" "$ENVIRONMENT"
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

# export_nfs FOLDER: on the head, to the cluster's own network alone.
export_nfs() {
  command -v exportfs > /dev/null || {
    sudo apt-get update -qq
    sudo apt-get install -qq -y nfs-kernel-server
  }
  local device network
  device=$(ip -4 route show default | awk '{print $5; exit}')
  network=$(ip -4 route show dev "$device" scope link | awk '$1 ~ "/" {print $1; exit}')
  echo "$1 $network(rw,sync,no_subtree_check)" | sudo tee /etc/exports.d/clipfit.exports > /dev/null
  sudo exportfs -ra
}

# mount_nfs HEAD FOLDER: on a worker. A hard mount waits for a head that is away, and loses nothing.
mount_nfs() {
  mountpoint -q "$2" && return
  command -v mount.nfs4 > /dev/null || {
    sudo apt-get update -qq
    sudo apt-get install -qq -y nfs-common
  }
  sudo mkdir -p "$2"
  sudo mount -t nfs4 -o hard,noatime "$1:$2" "$2"
}

# see FOLDER: on a worker, fail where it does not see the head's folder.
see() {
  [ -e "$1/.head" ] && [ -w "$1/runs" ] && return
  echo "$(hostname) does not see the head's $1: all machines must share it (NFS, Lustre, …)" >&2
  exit 1
}

# mlflow FOLDER: on the head, a supervised server on loopback. The database stays on local disk.
mlflow() {
  "$ENVIRONMENT/bin/python" -m study.tracking.serve --background --artifacts "$1/artifacts"
}

"$@"
