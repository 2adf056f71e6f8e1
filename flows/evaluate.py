"""Score the newest model, and bring what it stands on up to date."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from flows.stages import run_as_tasks


@flow(name="evaluate", persist_result=False)
def evaluate(root: str = ".") -> list[str]:
    """Run the flow in the project folder `root`; return the addresses of the stages that had to run."""
    outcomes = run_as_tasks(("evaluate",), root=Path(root).resolve())
    return [outcome.address for outcome in outcomes if outcome.ran]
