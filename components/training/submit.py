"""`gmai submit STAGE`: the command or SLURM script that starts a stage on the chosen cluster; nothing is run.

The stage's command is the same everywhere. SLURM sends SIGUSR1 some minutes before the limit and SIGTERM when it
takes the machine back; the stage then leaves with 75, and the script asks for the job to be queued again.
"""

from __future__ import annotations

from components.errors import TRY_AGAIN
from components.settings import Settings
from components.training.stages import find_stage

WARNING_SECONDS = 300
MASTER_PORT = 29500


def start_text(settings: Settings, name: str) -> str:
    """Return the text that starts one row of the recipe; ConfigError when there is no such row."""
    find_stage(settings.recipe, name)
    command = f"-m components train {name}"
    cluster = settings.cluster
    if cluster.launcher == "local":
        return f"python {command}\n"
    if cluster.launcher == "torchrun":
        return _torchrun(command, devices=cluster.devices, nodes=cluster.nodes)
    return _sbatch(command, name=name, settings=settings)


def _torchrun(command: str, *, devices: int, nodes: int) -> str:
    if nodes == 1:
        return f"torchrun --standalone --nproc-per-node {devices} --max-restarts 3 {command}\n"
    return (
        f"torchrun --nnodes {nodes} --nproc-per-node {devices} --max-restarts 3 --rdzv-backend c10d "
        f'--rdzv-id {command.rsplit(maxsplit=1)[-1]} --rdzv-endpoint "$HEAD_NODE:{MASTER_PORT}" {command}\n'
    )


def _sbatch(command: str, *, name: str, settings: Settings) -> str:
    cluster = settings.cluster
    return f"""#!/usr/bin/env bash
#SBATCH --job-name=gmai-{name}
#SBATCH --nodes={cluster.nodes}
#SBATCH --ntasks-per-node={cluster.devices}
#SBATCH --gpus-per-node={cluster.devices}
#SBATCH --cpus-per-task={max(cluster.threads, settings.training.workers + 1)}
#SBATCH --signal=USR1@{WARNING_SECONDS}
#SBATCH --requeue
#SBATCH --open-mode=append
# Not "set -e": the exit code decides what happens next.
export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1) MASTER_PORT={MASTER_PORT}
srun --kill-on-bad-exit=0 python {command}
code=$?
if [ "$code" -eq {TRY_AGAIN} ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""
