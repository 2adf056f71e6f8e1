"""Move `champion` back to the version it pointed at before."""

from __future__ import annotations

from prefect import flow, task
from prefect.cache_policies import NO_CACHE


@task(tags=["registry"], cache_policy=NO_CACHE, persist_result=False)
def move_champion_back() -> None:
    """Roll the alias back; never retried, for a second call would go back one version further."""
    from components.registry.promotion import rollback_champion
    from components.settings import load_settings

    rollback_champion(load_settings())


@flow(name="rollback", persist_result=False)
def rollback() -> None:
    """Roll back the last promotion."""
    move_champion_back()
