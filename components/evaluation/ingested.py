"""Ingested sources as benchmark files: any source that a reader can read can be asked about boxes or labels.

The folder is one source's records (artifacts/records/<source>), or several; a record's split decides its part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from components.evaluation.items import Item, Question, Refused
from components.records import NOT_STATED, Record, record_from_row
from components.tracking.tables import iterate_rows

PARTS = dict.fromkeys(("test", "validation", "train"), ("**/part-*.parquet",))
NAMES = {
    "test": "records of the test split (patients that no training pair shows)",
    "validation": "records of the validation split",
    "train": "records of the training split",
}
OBTAIN = "ingest the source (gmai ingest) and name its folder, such as artifacts/records/slicerio_chest"
FACTS = ("sex", "age_band")


def labels_by_source(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return the labels that each source states of some image, whatever its split, in name order."""
    found: dict[str, set[str]] = {}
    for row in iterate_rows(folder, ["source", "labels"]):
        found.setdefault(row["source"], set()).update(row["labels"] or ())
    return {source: tuple(sorted(labels)) for source, labels in found.items()}


def questions_of(
    folder: Path, split: str, make: Callable[[Record], Iterator[Item | Refused]]
) -> Iterator[Question | Refused]:
    """Yield what a maker asks of each record of a split; a record that gives nothing is refused."""
    rows = (row for row in iterate_rows(folder) if row["split"] == split)
    for record in map(record_from_row, rows):
        asked = 0
        for made in make(record):
            asked += 1
            yield made if isinstance(made, Refused) else Question(made, {record.record_id: record.image})
        if not asked:
            yield Refused(record.record_id, "nothing_to_ask")


def record_item(
    record: Record, item_id: str, question: str, *, benchmark: str, gold: str, kind: str, facts: Mapping[str, str],
    question_type: str, **more: object,
) -> Item:  # fmt: skip
    """Make an item about one record's image."""
    stated = {"task": record.task, "organ": record.body_part, "dataset": record.source, **facts}
    stated |= {name: record.fact(name) for name in FACTS}
    return Item(
        item_id=f"{benchmark}/{item_id}", question=f"<image>\n{question}", gold=gold, reference=gold,
        record_ids=(record.record_id,), patient_key=record.patient_key, modality=record.modality,
        department=record.department, language="en", question_type=question_type, kind=kind, source=benchmark,
        facts=tuple(sorted((n, v) for n, v in stated.items() if v and v != NOT_STATED)), **more,  # ty: ignore
    )  # fmt: skip
