"""What pairing and curation leave out for a withdrawal (`components/data/tombstones.py`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.data.tombstones import PATIENT, SOURCE, Withdrawn
from components.pairs.columns import positions
from components.pairs.dedupe import Reasons, no_reasons
from components.records import Record
from components.tracking.tables import count_rows, read_table, shards_below

if TYPE_CHECKING:
    import pyarrow as pa


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
    """Say what a stage left out."""
    counts = ", ".join(f"{number} {reason}" for reason, number in sorted(gone.items()))
    return f"left out: {counts}; the next ingest takes their images out of artifacts/records (dvc repro)"


def _is_one_of(column: Any, known: tuple[str, ...]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return positions(column, known) >= 0
