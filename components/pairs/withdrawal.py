"""Tombstones: patients and sources that were withdrawn, and are left out of every corpus from then on.

`conf/withdrawn.yaml` is the list: `gmai withdraw` adds to it by rename, git keeps its history, and DVC sees it as
an input of pairing and of curation: the next run makes no pair of what is withdrawn, refuses what was made already
(its words are not kept among the refused), and removes the replies that a language model gave about it. The images
stay in artifacts/records until their files leave data/. Patients are named by their keyed hash, as records do.
Nothing is ever taken off the list by this project.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from pydantic import Field, ValidationError

from components.errors import DataError
from components.pairs.columns import positions
from components.pairs.dedupe import Reasons, no_reasons
from components.records import Record
from components.settings import Frozen
from components.tracking.commit import write_bytes
from components.tracking.tables import count_rows, read_table, shards_below

if TYPE_CHECKING:
    import pyarrow as pa

TOMBSTONES = Path("conf/withdrawn.yaml")
PATIENT, SOURCE = GONE = ("patient_withdrawn", "source_withdrawn")


class Withdrawn(Frozen):
    """Everything that was withdrawn, sorted."""

    patients: tuple[str, ...] = Field(default=(), description="patient keys, as records hold them")
    sources: tuple[str, ...] = Field(default=(), description="names of cards")

    def reason(self, *, patient: str, source: str) -> str:
        """Return why something of a patient and a source is left out, "" where it is not."""
        return SOURCE if source in self.sources else PATIENT if patient in self.patients else ""


def load_withdrawn(path: Path = TOMBSTONES) -> Withdrawn:
    """Read the list; an absent one is empty.

    Raises:
        DataError: it is not what this module writes. A list that cannot be read must not be taken for empty.
    """
    if not path.is_file():
        return Withdrawn()
    try:
        return Withdrawn.model_validate(yaml.safe_load(path.read_text()))
    except (yaml.YAMLError, UnicodeDecodeError, ValidationError) as error:
        raise DataError(
            f"not a list of withdrawals: {error}", where=str(path), fix=f"git log -p {path}"
        ) from error


def check_named(*, patient: str, source: str) -> None:
    """Raise DataError when neither a patient nor a source is named."""
    if not patient and not source:
        raise DataError(
            "nothing to withdraw", fix="gmai withdraw --patient KEY, --patient-id ID, or --source NAME"
        )


def add_withdrawn(*, patient: str = "", source: str = "", path: Path = TOMBSTONES) -> Withdrawn:
    """Add a patient, a source or both to the list, by rename; return the whole list.

    Raises:
        DataError: neither is given.
    """
    check_named(patient=patient, source=source)
    known = load_withdrawn(path)
    grown = Withdrawn(
        patients=tuple(sorted({*known.patients, *([patient] if patient else [])})),
        sources=tuple(sorted({*known.sources, *([source] if source else [])})),
    )
    content = yaml.safe_dump({"patients": list(grown.patients), "sources": list(grown.sources)})
    write_bytes(path, content.encode())
    return grown


def present_records(records: Iterable[Record], withdrawn: Withdrawn, gone: Counter[str]) -> Iterator[Record]:
    """Pass on the records that were not withdrawn; count the others into `gone` by reason."""
    for record in records:
        reason = withdrawn.reason(patient=record.patient_key, source=record.source)
        if reason:
            gone[reason] += 1
        else:
            yield record


def withdrawn_reasons(rows: pa.Table, withdrawn: Withdrawn) -> Reasons:
    """Return why each row (an image's or a pair's) is left out for a withdrawal, "" where it is not."""
    reasons = no_reasons(len(rows))
    reasons[_is_one_of(rows["patient_key"], withdrawn.patients)] = PATIENT
    reasons[_is_one_of(rows["source"], withdrawn.sources)] = SOURCE
    return reasons


def withdrawn_pairs(pairs: Path, withdrawn: Withdrawn) -> Reasons:
    """Return why each pair below a folder is left out by its own patient or source: a mere text has no image."""
    columns = ["patient_key", "source"]
    if not (withdrawn.patients or withdrawn.sources):
        return no_reasons(sum(count_rows(path) for path in shards_below(pairs)))
    return withdrawn_reasons(read_table(pairs, columns), withdrawn)


def told(gone: Counter[str]) -> str:
    """Say what a stage left out, and where the images still are."""
    counts = ", ".join(f"{number} {reason}" for reason, number in sorted(gone.items()))
    return (
        f"left out: {counts}; their images stay in artifacts/records until the files leave data/ "
        "(remove them, then: dvc repro)"
    )


def _is_one_of(column: Any, known: tuple[str, ...]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return positions(column, known) >= 0
