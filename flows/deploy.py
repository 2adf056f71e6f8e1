"""Serve the retraining flow on a cron schedule until stopped: `python -m flows.deploy --cron "0 3 * * 0"`.

Needs no server started by hand. When it stops, its schedule is paused. For a work pool instead (process,
SLURM, Kubernetes) see the README of this room.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from flows.environment import prepare_environment

WEEKLY = "0 3 * * 0"
PAUSE_SECONDS = 10


def main() -> None:
    """Serve until interrupted; one run at a time, a missed or doubled tick waits for the lease."""
    parser = argparse.ArgumentParser(prog="python -m flows.deploy", description=__doc__)
    parser.add_argument("--cron", default=WEEKLY, help="when to retrain (minute hour day month weekday)")
    parser.add_argument("--name", default="scheduled", help="name of the deployment")
    chosen = parser.parse_args()
    root = Path.cwd()
    prepare_environment(root)

    from flows.retrain import retrain

    retrain.serve(
        name=chosen.name, cron=chosen.cron, parameters={"root": str(root)}, tags=["gmai-vl"],
        pause_on_shutdown=True, print_starting_message=True, limit=1,
    )  # fmt: skip


if __name__ == "__main__":
    main()
