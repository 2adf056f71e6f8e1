"""Who owns a run: a name for this process that no other ever has, and whether its bearer still lives."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def owner() -> str:
    """Name this process so that it is never taken for another: host, boot, id, start time."""
    return f"{socket.gethostname()}:{_boot()}:{os.getpid()}:{_start_ticks(os.getpid())}"


def owner_lives(name: str) -> bool:
    """Say whether a process named by `owner` may still run; one on another host is presumed to."""
    host, _, rest = name.partition(":")
    boot, _, process = rest.partition(":")
    if host and host != socket.gethostname():
        return True
    process_id, _, ticks = process.partition(":")
    return boot == _boot() and process_id.isdigit() and bool(ticks) and _start_ticks(int(process_id)) == ticks


def scheduler_job() -> str:
    """Name this start of a SLURM job: "job id:restarts", or "" outside SLURM."""
    job = os.environ.get("SLURM_JOB_ID", "")
    return f"{job}:{os.environ.get('SLURM_RESTART_COUNT', '0')}" if job else ""


def is_restart_of(name: str) -> bool:
    """Say whether this process belongs to a later start of the job named: the earlier one has ended by then.

    A requeued job may come up on another host, from where nobody can look whether the forerunner still runs.
    """
    job, _, restarts = name.partition(":")
    ours, _, our_restarts = scheduler_job().partition(":")
    return bool(job) and job == ours and restarts.isdigit() and int(our_restarts or 0) > int(restarts)


def _boot() -> str:
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip()[:8] if path.is_file() else "boot"


def _start_ticks(process_id: int) -> str:
    """Return when a process started, in clock ticks since boot, or "" when it is gone (a zombie is gone)."""
    try:
        after_name = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if after_name[0] == "Z" else after_name[19]
