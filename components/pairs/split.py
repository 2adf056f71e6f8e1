"""The invariant that no patient is in two splits."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from components.errors import DataError
from components.pairs.columns import arrow_compute
from components.records import SPLITS

if TYPE_CHECKING:
    import pyarrow as pa

NAMED = 5  # patients and records named in the message, at most


def check_patients(images: pa.Table, *, where: str) -> None:
    """Refuse a corpus in which a patient's records lie in two splits, or a split that is none.

    Raises:
        DataError: naming the patients and some of their records.
    """
    import pyarrow as pa

    pc = arrow_compute()
    for split in pc.unique(images["split"]).to_pylist():
        if split not in SPLITS:
            found = images["record_id"][pc.index(images["split"], split).as_py()].as_py()
            raise DataError(f"record {found} has split {split!r}; known: {SPLITS}", where=where)
    places = images.group_by(["patient_key", "split"]).aggregate([])
    counted = places.group_by("patient_key").aggregate([("split", "count")])
    torn = sorted(counted.filter(pc.greater(counted["split_count"], 1))["patient_key"].to_pylist())
    if not torn:
        return
    theirs = images.filter(pc.is_in(images["patient_key"], pa.array(torn[:NAMED])))
    raise DataError(
        f"{len(torn)} patient(s) in more than one split:\n    " + "\n    ".join(_told(theirs)), where=where,
        fix="correct `split` and `patient` in the source's card under conf/sources, then: dvc repro",
    )  # fmt: skip


def _told(images: pa.Table) -> list[str]:
    """Say of each patient which records are in which split."""
    patients: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in images.select(["patient_key", "split", "record_id"]).to_pylist():
        patients[row["patient_key"]][row["split"]].append(row["record_id"])
    return [
        f"{patient}: "
        + "; ".join(f"{split} {', '.join(sorted(ids)[:NAMED])}" for split, ids in sorted(parts.items()))
        for patient, parts in sorted(patients.items())
    ]
