#!/bin/bash
# SLURM, from the repository's root on a login node, after `make setup` there. The store is on a disk that every
# node sees, or on object storage.
#   export SUITE=paper MICROTOME_DATA=/project/corpora MICROTOME_STORE=/project/artifacts
#   sbatch --partition=gpu --account=... docker/slurm.sh
# The same command again goes on from what is in the store: after a failure, or when the time was over.
#SBATCH --job-name=microtome
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=64G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=microtome-%j.log
set -euo pipefail

root=${SLURM_SUBMIT_DIR:-$PWD}
export PATH=$root/.venv/bin:$PATH SUITE=${SUITE:-paper}
export MICROTOME_SCRATCH=${MICROTOME_SCRATCH:-${SLURM_TMPDIR:-${TMPDIR:-/tmp}}/microtome-$SLURM_JOB_ID}

# A token for this cluster alone: other users of these nodes reach its ports, and must not run code on it.
token=$root/.ray-token-$SLURM_JOB_ID
trap 'rm -f "$token"' EXIT
(umask 077 && head -c 32 /dev/urandom | od -An -vtx1 | tr -d ' \n' > "$token")
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$token

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
port=$((20000 + SLURM_JOB_ID % 20000))  # two jobs may share a node

# Ray on every node, the study from the first; it ends when the study does.
srun --kill-on-bad-exit=1 ray symmetric-run --address "${nodes[0]}:$port" --min-nodes "$SLURM_JOB_NUM_NODES" \
  --num-cpus "${SLURM_CPUS_PER_TASK:-1}" --num-gpus "${SLURM_GPUS_ON_NODE:-1}" -- \
  microtome suite run "$SUITE" --stage training --stage generation --stage extraction --address auto
