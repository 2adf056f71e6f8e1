"""Earlier runs for a test, held in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from components.tracking.model_package import Version
from components.tracking.past import PastRun


@dataclass
class FakePast:
    """Earlier runs held in memory; `kept` maps a run to the folder it left."""

    version: Version | None = None
    runs: list[PastRun] = field(default_factory=list)
    kept: dict[str, Path] = field(default_factory=dict)

    def champion(self) -> Version | None:
        return self.version

    def finished(self, tags: Mapping[str, str]) -> tuple[PastRun, ...]:
        return tuple(run for run in self.runs if tags.items() <= run.tags.items())

    def fetch(self, run_id: str, name: str, folder: Path) -> Path | None:
        return self.kept.get(run_id)
