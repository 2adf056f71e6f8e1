"""A few records of a source, spread over its files and splits, without reading it to its end.

Where a reader can be asked for single files (`portions.py`), files are drawn by a hash of their names, in turn
from the folders, and those alone are decoded. Where it cannot, what is read is bounded. Either way the records
that are held are few, and the rejections are counted, not kept.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from itertools import islice
from pathlib import PurePosixPath
from typing import TypeVar

from components.data.burned_in import screen_samples
from components.data.catalog import find_reader
from components.data.portions import Sample, SourceJob
from components.data.privacy import open_screen
from components.data.reading import ReadContext, Rejection, hide_rejections
from components.records import Record, stable_id

NUM_RECORDS = 10
MOST_FOLDERS = 64
MOST_SAMPLES = 4000  # records and rejections that are read at most, then it ends
MOST_SECONDS = 60.0
MOST_REFUSED = 50  # rejections that are told one by one; all are counted
Item = TypeVar("Item")


@dataclass(slots=True)
class Look:
    """What was seen of a source: `records` to show, of `num_read`; rejections by reason, and the first of them."""

    records: list[Record] = field(default_factory=list)
    num_read: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    refused: list[Rejection] = field(default_factory=list)

    @property
    def counted(self) -> str:
        """How many were read, and how many refused for what, in one line."""
        told = ", ".join(f"{reason} ({count})" for reason, count in self.reasons.most_common())
        return f"{self.num_read} records read, {self.reasons.total()} refused" + (f": {told}" if told else "")


def look_into(job: SourceJob, *, count: int = NUM_RECORDS) -> Look:
    """Read `count` records of a source, of different files and splits as far as it has them.

    Raises DataError when the source cannot be read at all (an absent table, a template that fits nothing).
    """
    chosen = draw_units(job, count)
    choose = (lambda unit, _: unit in chosen) if chosen else None
    context = ReadContext(job.max_side, job.secret, choose=choose)
    samples = find_reader(job.card.reader).read(job.root, job.card, context)
    told = screen_samples(hide_rejections(samples, job.card, context), open_screen(job.burned_in))
    look, held = Look(), dict[str, dict[str, list[Record]]]()
    for sample in _bounded(told):
        if isinstance(sample, Rejection):
            look.reasons[sample.reason] += 1
            look.refused += [sample] if len(look.refused) < MOST_REFUSED else []
        else:
            look.num_read += 1
            _hold(sample, held.setdefault(sample.split, {}), count)
    files = [in_turn(list(held[split].values())) for split in sorted(held)]
    look.records = sorted(islice(in_turn(files), count), key=lambda one: (one.source_path, one.slice_index))
    return look


def _hold(record: Record, files: dict[str, list[Record]], count: int) -> None:
    """Keep the record if it is one of `count` of its file, and the file one of `count` of its split, by hash."""
    files[record.source_path] = nsmallest(
        count, [*files.get(record.source_path, ()), record], key=lambda one: one.record_id
    )
    if len(files) > count:
        del files[max(files, key=stable_id)]


def draw_units(job: SourceJob, count: int) -> frozenset[str]:
    """Draw `count` of the files that a reader can be asked for, in turn from the folders; none if it cannot be."""
    reader = find_reader(job.card.reader)
    folders: dict[str, list[str]] = {}

    def note(unit: str, _: Iterable[str]) -> bool:
        folder = PurePosixPath(unit).parent.as_posix()
        folders[folder] = nsmallest(count, {*folders.get(folder, ()), unit}, key=stable_id)
        if len(folders) > MOST_FOLDERS:
            del folders[max(folders, key=stable_id)]
        return False

    if getattr(reader, "PORTIONS", False):
        for _ in reader.read(job.root, job.card, ReadContext(job.max_side, job.secret, choose=note)):
            pass
    tops: dict[str, list[list[str]]] = {}
    for folder in sorted(folders, key=stable_id):
        tops.setdefault(folder.partition("/")[0], []).append(folders[folder])
    return frozenset(islice(in_turn([in_turn(units) for units in tops.values()]), count))


def in_turn(lines: Sequence[Iterable[Item]]) -> Iterator[Item]:
    """Yield the first of each line, then the second of each, and so on, until all are empty."""
    left = [iter(line) for line in lines]
    while left:
        still = []
        for line in left:
            for item in islice(line, 1):
                yield item
                still.append(line)
        left = still


def _bounded(samples: Iterator[Sample]) -> Iterator[Sample]:
    end = time.monotonic() + MOST_SECONDS
    for sample in islice(samples, MOST_SAMPLES):
        yield sample
        if time.monotonic() > end:
            return
