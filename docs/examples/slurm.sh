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

# Two minutes before the time is up every worker gets SIGTERM, and a checkpoint is written. The job is queued again until the
# run has ended; then the same command goes on from there.
srun --label tfl train "$HOME/configs/photos.yaml" distribute=multi_worker --out "$SCRATCH/runs/photos" \
  features.directory="$SCRATCH/tfl-features"
code=$?
if [ "$code" -eq 143 ] || [ "$code" -eq 75 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
