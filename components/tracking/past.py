"""What earlier runs left in the store: finished runs by their tags, their artefacts, and who is champion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.settings import Settings
from components.tracking.model_package import Registry, Version, open_registry
from components.tracking.runs import runs_with
from components.tracking.store import unreachable

CHAMPION = "champion"


@dataclass(frozen=True, slots=True)
class PastRun:
    """One finished run: when it ended (milliseconds since 1970), its last metrics, its tags."""

    run_id: str
    ended: int
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


class Past:
    """The store as somebody sees it who compares a new run with older ones."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def champion(self) -> Version | None:
        """Return the version that is champion now; TrackingError when the store does not answer."""
        return self.registry.alias(CHAMPION)

    def finished(self, tags: Mapping[str, str]) -> tuple[PastRun, ...]:
        """Return the newest hundred runs with these tags that ended well, eldest first."""
        return tuple(
            PastRun(run.info.run_id, run.info.end_time or 0, dict(run.data.metrics), dict(run.data.tags))
            for run in runs_with(self.registry.store, tags)
            if run.info.status == "FINISHED"
        )

    def fetch(self, run_id: str, name: str, folder: Path) -> Path | None:
        """Copy an artefact, a file or a folder, below `folder` and return its place; None when it is not there."""
        folder.mkdir(parents=True, exist_ok=True)
        try:
            return Path(self.registry.store.client.download_artifacts(run_id, name, str(folder)))
        except unreachable():
            return None


def open_past(settings: Settings) -> Past:
    """Open the store; TrackingError when it does not answer."""
    return Past(open_registry(settings))
