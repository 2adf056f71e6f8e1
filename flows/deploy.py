"""Serve the retraining flow on a cron schedule until stopped: `python -m flows.deploy --cron "0 3 * * 0"`.

Needs no server started by hand: without PREFECT_API_URL it keeps one of its own for as long as it serves.
When it stops, the schedule is paused. For a work pool instead (process, SLURM, Kubernetes) see this room's README.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from components.errors import ProjectError
from flows.environment import prepare_environment
from flows.server import scheduling_server

WEEKLY = "0 3 * * 0"
SERVER_LOG = Path(".prefect") / "server.log"


def main() -> None:
    """Serve until interrupted; a second run that comes due waits for the first."""
    parser = argparse.ArgumentParser(prog="python -m flows.deploy", description=__doc__)
    parser.add_argument("--cron", default=WEEKLY, help="when to retrain (minute hour day month weekday)")
    parser.add_argument("--name", default="scheduled", help="name of the deployment")
    chosen = parser.parse_args()
    root = Path.cwd()
    prepare_environment(root)
    try:
        with scheduling_server(root / SERVER_LOG) as address:
            print(f"Prefect: {address.removesuffix('/api')}", flush=True)
            serve(root, name=chosen.name, cron=chosen.cron)
    except ProjectError as error:
        raise SystemExit(str(error)) from error


def serve(root: Path, *, name: str, cron: str) -> None:
    """Register the schedule and run what comes due, one at a time, until interrupted."""
    from flows.retrain import retrain

    retrain.serve(
        name=name, cron=cron, parameters={"root": str(root)}, tags=["gmai-vl"], pause_on_shutdown=True, limit=1
    )


if __name__ == "__main__":
    main()
