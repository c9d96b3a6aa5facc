#!/usr/bin/env bash
# A study on several nodes of a SLURM cluster. Edit the three lines marked below. Activate the environment in which
# this package and Ray are installed. Then, in a folder that all nodes share:
#
#   sbatch clusters/slurm.sh
#   tail -f clipfit-JOB.log      # the study's progress
#   scancel JOB                  # ends the study; submit it again to continue
#
# Two minutes before its time limit, the job ends the study, requeues itself, and then resumes the study. SLURM also
# requeues the job if a node fails; with --no-kill, a job whose first node fails would continue without its script.

# EDIT: the partition and the account.
#SBATCH --partition=gpu --account=project
# EDIT: the number of nodes, and each node's GPUs and CPUs for Ray.
#SBATCH --nodes=2 --gpus-per-node=4 --cpus-per-task=32
#SBATCH --time=12:00:00 --signal=B:USR1@120 --requeue --ntasks-per-node=1
#SBATCH --job-name=clipfit --output=%x-%j.log --open-mode=append
set -euo pipefail
# EDIT: the study's name, and the arguments of `clipfit-study run`: a configuration or sweep, and values.
name=flowers words=(gpu)

export STUDY_STORAGE=${STUDY_STORAGE:-$PWD/runs}
mkdir -p "$STUDY_STORAGE"
# A short path, because paths of Ray's sockets have at most 107 characters. Ray opens its own folder to all users.
folder=$(mktemp -d "/tmp/clipfit-$SLURM_JOB_ID.XXXXXX")
store=$STUDY_STORAGE/$name.mlflow.db
requeue='' study='' steps=()

# finish: leave nothing behind on this node or the others, however the job ends.
finish() {
  local code=$?
  trap '' TERM USR1
  if [ -e "$folder/mlflow.db" ]; then
    # SQLite copies a consistent database even if its writer was killed, but writes only to a local disk.
    python -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).backup(sqlite3.connect(sys.argv[2]))' \
      "$folder/mlflow.db" "$folder/copy.db" && cp "$folder/copy.db" "$store.part" && mv "$store.part" "$store" &&
      echo "to browse, run: mlflow ui --backend-store-uri sqlite:///$store" ||
      echo "MLflow's store could not be copied to $store; \`clipfit-study sync $name\` fills another" >&2
  fi
  # Signals the steps, not this script. If SLURM is ending the job, it has signalled them already, and scancel retries.
  scancel --signal=TERM "$SLURM_JOB_ID" 2> /dev/null &
  local cancel=$!
  wait "${steps[@]}" || true
  { kill -KILL "$cancel" && wait "$cancel"; } 2> /dev/null || true
  rm -rf "$folder"
  if [ -n "$requeue" ] && [ "$code" -gt 128 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
  exit "$code"
}
trap finish EXIT
# SIGTERM ends the study, which can be resumed.
trap 'signalled=yes requeue=yes; [ -z "$study" ] || kill -TERM "$study"' USR1
# cancelled: SLURM has sent SIGTERM to Ray too; the study would wait for Ray longer than KillWait.
cancelled() {
  signalled=yes
  [ -n "$study" ] || return 0
  { timeout 10 tail --pid="$study" -f /dev/null || kill -KILL "$study"; } 2> /dev/null &
  steps+=("$!")
}
trap cancelled TERM

# SQLite needs a local disk. The trials' files are in mlruns/ of the folder where the job was submitted.
if [ -z "${MLFLOW_TRACKING_URI:-}" ]; then
  if [ -e "$store" ]; then cp "$store" "$folder/mlflow.db"; fi
  export MLFLOW_TRACKING_URI=sqlite:///$folder/mlflow.db
fi

# Two ports of the job, the second for Ray's client server, which runs if grpc is installed. They are below those that
# the system assigns to Ray's other services. If another job uses them, Ray doesn't start; no other job has the token.
port=$((20000 + SLURM_JOB_ID % 6000 * 2)) client=()
if python -c 'import grpc' 2> /dev/null; then client=("--ray-client-server-port=$((port + 1))"); fi
read -r _ address < <(scontrol getaddrs "$SLURMD_NODENAME")
address=${address%:*}
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0 # otherwise, Ray ends later than SLURM's KillWait of 30 seconds
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK # a step does not inherit it

# `ray symmetric-run` can't be used: it rejects a node where another job's Ray runs, ends that Ray by `ray stop`, passes
# no signal to the study, and treats every slurmd of one host as the head.
ulimit -n 65536 2> /dev/null || ulimit -n "$(ulimit -Hn)"
srun --overlap --nodes=1 --ntasks=1 --nodelist="$SLURMD_NODENAME" \
  ray start --head --block --node-ip-address="$address" --port="$port" "${client[@]}" \
  --include-dashboard=false --dashboard-agent-listen-port=0 --temp-dir="$folder/ray" \
  --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" > /dev/null &
steps+=("$!")
until [ -e "$folder/ray/ray_current_cluster" ]; do
  kill -0 "$!" # fails if Ray has not started
  sleep 1
done
export RAY_ADDRESS=$address:$port

others=$((SLURM_NNODES - 1))
if [ "$others" -gt 0 ]; then
  srun --overlap --nodes="$others" --ntasks="$others" --exclude="$SLURMD_NODENAME" \
    --kill-on-bad-exit=0 --wait=0 bash -c '
      folder=$(mktemp -d "/tmp/clipfit-$SLURM_JOB_ID.XXXXXX")
      trap "rm -rf $folder" EXIT
      trap : TERM # SLURM also sends it to Ray
      ray start --address="$RAY_ADDRESS" --block --dashboard-agent-listen-port=0 --temp-dir="$folder/ray" \
        --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}"' > /dev/null &
  steps+=("$!")
fi

# A sweep has no folder with its name; `run` resumes its studies.
if [ -e "$STUDY_STORAGE/$name" ]; then words=(resume "$name"); else words=(run "${words[@]}" "name=$name"); fi
clipfit-study "${words[@]}" &
study=$!
signalled=yes
while [ -n "$signalled" ]; do # a signal ends `wait`, not the study
  signalled=''
  wait "$study" && code=0 || code=$?
done
exit "$code"
