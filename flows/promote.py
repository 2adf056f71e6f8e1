"""Ask the gate about a registered version and move `champion` to it if the gate agrees."""

from __future__ import annotations

from prefect import flow, task
from prefect.cache_policies import NO_CACHE


@task(task_run_name="promote-{version}", tags=["registry"], cache_policy=NO_CACHE, persist_result=False)
def ask_the_gate(version: str) -> None:
    """Promote one version, or raise PromotionRefused; never retried: a refusal is an answer."""
    from components.registry.promotion import promote_version
    from components.settings import load_settings

    promote_version(load_settings(), version)


@flow(name="promote", persist_result=False)
def promote(version: str) -> None:
    """Promote a version of the registered model."""
    ask_the_gate(version)
