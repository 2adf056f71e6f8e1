"""The invariant that no patient is in two splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from components.errors import DataError
from components.pairs.images import ImageFacts
from components.records import SPLITS

NAMED = 5  # patients and records named in the message, at most


def check_patients(images: Sequence[ImageFacts], *, where: str) -> None:
    """Refuse a corpus in which a patient's records lie in two splits, or a split that is none.

    Raises:
        DataError: naming the patients and some of their records.
    """
    splits: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for facts in images:
        if facts.split not in SPLITS:
            raise DataError(f"record {facts.record_id} has split {facts.split!r}; known: {SPLITS}", where=where)
        splits[facts.patient_key][facts.split].append(facts.record_id)
    torn = {patient: parts for patient, parts in sorted(splits.items()) if len(parts) > 1}
    if not torn:
        return
    rows = [
        f"{patient}: "
        + "; ".join(f"{split} {', '.join(sorted(ids)[:NAMED])}" for split, ids in sorted(parts.items()))
        for patient, parts in list(torn.items())[:NAMED]
    ]
    raise DataError(
        f"{len(torn)} patient(s) in more than one split:\n    " + "\n    ".join(rows), where=where,
        fix="correct `split` and `patient` in the source's card under conf/sources, then: dvc repro",
    )  # fmt: skip
