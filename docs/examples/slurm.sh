#!/bin/bash
#SBATCH --job-name=tfl
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=08:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=tfl-%j.log

# Two minutes before the time is up every worker gets SIGTERM, and a checkpoint is written (143). A worker that is killed (137)
# takes the others along (75). In each case the job is queued again, and the same command goes on; ten times at most, since
# whatever kills a worker may do so every time.
srun --label tfl train "$HOME/configs/photos.yaml" distribute=multi_worker --out "$SCRATCH/runs/photos" \
  features.directory="$SCRATCH/tfl-features"
code=$?
case "$code" in
  75 | 137 | 143)
    if [ "${SLURM_RESTART_COUNT:-0}" -lt 10 ]; then
      scontrol requeue "$SLURM_JOB_ID"
    fi
    ;;
esac
exit "$code"
