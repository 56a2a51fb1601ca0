#!/bin/bash
# SLURM, from the repository's root on a login node, after `make setup` there. The store is on a disk that every
# node sees, or on object storage.
#   export SUITE=paper MICROTOME_DATA=/project/corpora MICROTOME_STORE=/project/artifacts
#   sbatch --partition=gpu --account=... docker/slurm.sh
#   sbatch --nodes=4 --exclusive --partition=gpu ... docker/slurm.sh
# Several nodes need --exclusive: when their Ray ends, it ends every Ray of yours on these nodes.
# The same command again goes on from what is in the store: after a failure, or when the time was over.
#SBATCH --job-name=microtome
#SBATCH --nodes=1
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

run=(microtome suite run "$SUITE" --stage training --stage generation --stage extraction)
if [ "$SLURM_JOB_NUM_NODES" = 1 ]; then
  exec srun "${run[@]}"  # starts a Ray that only this run can reach
fi

# A token for this cluster alone: other users of these nodes reach its ports, and must not run code on it.
token=$root/.ray-token-$SLURM_JOB_ID
trap 'rm -f "$token"' EXIT
(umask 077 && head -c 32 /dev/urandom | od -An -vtx1 | tr -d ' \n' > "$token")
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$token

# Ray on every node, the study from the first; it ends when the study does.
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
srun --kill-on-bad-exit=1 ray symmetric-run --address "${nodes[0]}:6379" --min-nodes "$SLURM_JOB_NUM_NODES" \
  --num-cpus "${SLURM_CPUS_PER_TASK:-1}" --num-gpus "${SLURM_GPUS_ON_NODE:-1}" -- "${run[@]}" --address auto
