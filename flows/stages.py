"""DVC's stages as Prefect tasks: Prefect adds when, how often, how long; it computes and caches nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from flows.graph import StageFailed, StageOutcome, open_repo, run_stage, stage_order, the_only_pipeline
from flows.summary import describe_outcomes

RETRY_DELAYS_SECONDS = [10.0, 60.0, 300.0]
STAGE_TIMEOUT_SECONDS = 7 * 24 * 3600.0


def is_worth_retrying(_task: Any, _run: Any, state: Any) -> bool:
    """Retry what a signal or a busy lock ended, never what the stage's own check refused."""
    failure = state.result(raise_on_failure=False)
    return isinstance(failure, StageFailed) and failure.is_transient


@task(
    task_run_name="{address}", tags=["dvc"], cache_policy=NO_CACHE, persist_result=False,
    retries=len(RETRY_DELAYS_SECONDS), retry_delay_seconds=RETRY_DELAYS_SECONDS,
    retry_condition_fn=is_worth_retrying,
)  # fmt: skip
def bring_up_to_date(address: str, root: str) -> StageOutcome:
    """Bring one stage of DVC's graph up to date, within the time limit."""
    return run_stage(Path(root), address, timeout_seconds=STAGE_TIMEOUT_SECONDS)


def run_as_tasks(targets: Sequence[str] = (), *, root: Path) -> list[StageOutcome]:
    """Bring the targets (all, if none are named) and all they stand on up to date, a task a stage."""
    with the_only_pipeline(root):
        order = stage_order(open_repo(root), targets)
        outcomes = [bring_up_to_date(address, str(root)) for address in order]
    get_run_logger().info(describe_outcomes(outcomes))
    return outcomes
