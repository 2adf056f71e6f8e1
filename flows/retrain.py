"""Retrain from the raw data: every stage of DVC's graph, to the gate's verdict."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from flows.stages import run_as_tasks


@flow(name="retrain", persist_result=False)
def retrain(root: str = ".") -> list[str]:
    """Run the flow in the project folder `root`; return the addresses of the stages that had to run."""
    outcomes = run_as_tasks(root=Path(root).resolve())
    return [outcome.address for outcome in outcomes if outcome.ran]
