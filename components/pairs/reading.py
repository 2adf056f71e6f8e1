"""Records as the pair stage reads them: present ones, without masks, whole or a part of the shards."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from components.pairs.withdrawal import Withdrawn, present_records
from components.records import Record, record_from_row
from components.tracking.tables import iterate_groups, iterate_rows, row_groups

if TYPE_CHECKING:
    import pyarrow as pa

REGION_COLUMNS = ("label", "box.list.element", "side", "area_fraction", "area_mm2")
UNREAD_COLUMNS = ("image", "regions")
STUDY_COLUMNS = ("patient_key", "study_key", "source")


@dataclass(frozen=True)
class Part:
    """Row groups of one shard, first to last, and how many rows they hold."""

    path: Path
    groups: tuple[int, ...]
    rows: int


@dataclass(frozen=True)
class Reading:
    """A folder of record shards and who was withdrawn from it."""

    folder: Path
    withdrawn: Withdrawn = field(default_factory=Withdrawn)
    with_images: bool = False

    def records(self, gone: Counter[str]) -> Iterator[Record]:
        """Yield every present record; count the withdrawn ones into `gone` by reason."""
        found = read_records(self.folder, with_images=self.with_images)
        return present_records(found, self.withdrawn, gone)

    def records_of(self, part: Part) -> Iterator[Record]:
        """Yield a part's present records, in the order of `records`."""
        rows = iterate_groups(part.path, part.groups, _columns(with_images=self.with_images))
        return present_records(_usable(rows), self.withdrawn, Counter())

    def parts(self, rows: int) -> Iterator[Part]:
        """Cut the shards into parts of about so many rows, in order."""
        for path, sizes in row_groups(self.folder):
            first, held = 0, 0
            for group, size in enumerate(sizes):
                held += size
                if held >= rows or group == len(sizes) - 1:
                    yield Part(path, tuple(range(first, group + 1)), held)
                    first, held = group + 1, 0


def read_records(folder: Path, *, with_images: bool = False) -> Iterator[Record]:
    """Yield the records that were not refused, without masks and, unless asked for, without image bytes."""
    return _usable(iterate_rows(folder, columns=_columns(with_images=with_images)))


def studies_of(part: Part) -> pa.Table:
    """Return the distinct studies of a part: patient, study, source."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(part.path) as file:
        table = file.read_row_groups(list(part.groups), columns=list(STUDY_COLUMNS))
    return table.group_by(list(STUDY_COLUMNS)).aggregate([])


def _usable(rows: Iterator[dict[str, object]]) -> Iterator[Record]:
    records = map(record_from_row, rows)
    return (record for record in records if not record.rejected_reason)


def _columns(*, with_images: bool) -> list[str]:
    plain = [f.name for f in dataclasses.fields(Record) if f.name not in UNREAD_COLUMNS]
    regions: Sequence[str] = [f"regions.list.element.{name}" for name in REGION_COLUMNS]
    return [*plain, *regions, *(["image"] if with_images else [])]
