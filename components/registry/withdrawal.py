"""Withdraw a patient or a source: write the tombstone, and list the models whose training saw them.

A model that saw withdrawn data keeps it in its weights: it is named here with its stages and versions, so that
somebody decides about it; the next run of the pipeline trains without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.errors import DataError
from components.pairs.withdrawal import TOMBSTONES, add_withdrawn
from components.registry.trace import TracedStage, stages_that_saw
from components.settings import Settings
from components.tracking.tables import shards_below


@dataclass(frozen=True)
class Withdrawal:
    """What is withdrawn: how many records, and the training stages that saw them."""

    num_records: int
    stages: tuple[TracedStage, ...]

    @property
    def versions(self) -> tuple[str, ...]:
        """The model versions whose weights descend from a stage that saw them."""
        return tuple(sorted({version for stage in self.stages for version in stage.versions}, key=int))


def withdraw(settings: Settings, *, patient: str = "", source: str = "", path: Path = TOMBSTONES) -> Withdrawal:
    """Write the tombstone and find the models.

    Raises:
        DataError: neither is given, or no record has this patient key or source; nothing is written then.
    """
    records = find_records(settings.work_root / "records", patient=patient, source=source)
    if (patient or source) and not records:
        named = " and ".join(repr(part) for part in (patient, source) if part)
        where = str(settings.work_root / "records")
        raise DataError(f"no record of patient or source {named}", where=where, fix="gmai sources")
    add_withdrawn(patient=patient, source=source, path=path)
    return Withdrawal(len(records), stages_that_saw(settings, records))


def find_records(folder: Path, *, patient: str, source: str) -> frozenset[str]:
    """Return the ids of the records of a patient and of those of a source."""
    import pyarrow.dataset as datasets

    table = datasets.dataset([str(path) for path in shards_below(folder)])
    found: set[str] = set()
    for column, value in (("patient_key", patient), ("source", source)):
        if value:
            rows = table.to_table(columns=["record_id"], filter=datasets.field(column) == value)
            found.update(rows["record_id"].to_pylist())
    return frozenset(found)


def print_withdrawal(settings: Settings, *, patient: str, source: str) -> None:
    """Withdraw, and print what was found."""
    from rich.console import Console

    done = withdraw(settings, patient=patient, source=source)
    console = Console()
    console.print(
        f"withdrawn: {done.num_records} records, in {TOMBSTONES}; the next run leaves them out: dvc repro"
    )
    for line in told(done.stages):
        console.print(line)
    console.print(f"model versions that saw them: {', '.join(done.versions) or 'none'}")


def told(stages: Sequence[TracedStage]) -> list[str]:
    """Say of each stage that saw the records in which run and at how many steps."""
    return [
        f"{stage.name} · {f'run {stage.run_id}' if stage.run_id else 'no run known'} · "
        f"{len(stage.packs)} packs at {len(stage.steps)} steps"
        for stage in stages
    ]
