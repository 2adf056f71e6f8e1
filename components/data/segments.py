"""What a table says of stretches of a video: phases, steps, actions, instruments in view, by frame number.

A row begins at its frame and holds to its last one, or, where no column says that, until the next row begins.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from pydantic import Field, model_validator

from components.data.boxes import parse_numbers
from components.data.card import Card
from components.data.faults import Refused
from components.data.paths import fields_of_path, locate_one
from components.data.pictures import canonical_labels, split_labels
from components.data.reading import Rejection
from components.data.tables import TableFormat, is_blank, read_rows
from components.settings import Words


class SegmentTable(TableFormat):
    """One table a video, a row a stretch of it or a frame."""

    file: str = Field(description="template of the table over the video's path (for frames: over their folder's)")
    start: str = Field(description="column with the first frame of the stretch")
    end: str = Field(default="", description="column with its last frame; without it a row holds until the next")
    frames_per_unit: float = Field(
        default=1.0,
        gt=0,
        description="frames as read here, a unit of the columns: 25 for seconds, 0.04 for 1 in 25",
    )
    label_column: str = Field(default="", description="what the stretch shows")
    separator: str = Field(default="", description="between several labels in a cell")
    label_columns: Words = Field(default=(), description="a column a label: 1 shown, 0 not shown")

    @model_validator(mode="after")
    def _is_labelled(self) -> SegmentTable:
        if not self.label_column and not self.label_columns:
            raise ValueError("give `label_column` or `label_columns`")
        return self


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of frames, both ends included, with what it shows and what it does not, in canonical terms."""

    first: float
    last: float
    shown: tuple[str, ...]
    absent: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Timeline:
    """A video's segments in the order of their first frames; `starts` are those frames."""

    segments: tuple[Segment, ...]
    starts: tuple[float, ...]
    overlapping: bool

    def at(self, frame: int) -> tuple[set[str], set[str]]:
        """Return what a frame shows, and what some row says it does not show."""
        place = bisect_right(self.starts, frame)
        begun = self.segments[0 if self.overlapping else max(0, place - 1) : place]
        here = [segment for segment in begun if frame <= segment.last]
        shown = {label for segment in here for label in segment.shown}
        return shown, {label for segment in here for label in segment.absent} - shown


def read_timeline(
    root: Path, video: str, table: SegmentTable, card: Card
) -> tuple[Timeline, tuple[Rejection, ...]]:
    """Read a video's table, and the rows of it that were refused.

    Raises Refused (`file_missing`, `path_escapes_source`) when the video has no table, DataError as `read_rows`.
    """
    path = locate_one(root, table.file, fields_of_path(video))
    where = path.relative_to(root).as_posix()
    columns = [name for name in (table.start, table.end, table.label_column, *table.label_columns) if name]
    found: list[Segment] = []
    refused: list[Rejection] = []
    for row in read_rows(path, where, table, columns):
        if isinstance(row, Rejection):
            refused.append(row)
            continue
        try:
            found.append(_segment(row[1], table, card))
        except Refused as error:
            refused.append(Rejection(f"{where}#row/{row[0]}", error.reason))
    found.sort(key=lambda segment: segment.first)
    segments = tuple(found) if table.end else _closed(found)
    starts = tuple(segment.first for segment in segments)
    return Timeline(segments, starts, overlapping=bool(table.end)), tuple(refused)


def _segment(cells: Mapping[str, str], table: SegmentTable, card: Card) -> Segment:
    first = parse_numbers([cells[table.start]])[0] * table.frames_per_unit
    last = parse_numbers([cells[table.end]])[0] * table.frames_per_unit if table.end else first
    if not 0 <= first <= last < float("inf"):
        raise Refused("segment_malformed", f"{first} to {last}")
    words = list(split_labels(cells[table.label_column], table.separator, card)) if table.label_column else []
    marks = {column: cells[column].strip() for column in table.label_columns if not is_blank(cells[column])}
    if not set(marks.values()) <= {"0", "1", "0.0", "1.0"}:
        raise Refused("value_not_known", str(sorted(marks.values())))
    words += [column for column, mark in marks.items() if mark in ("1", "1.0")]
    absent = [column for column in marks if column not in words]
    return Segment(first, last, canonical_labels(words, card), canonical_labels(absent, card))


def _closed(segments: list[Segment]) -> tuple[Segment, ...]:
    """Let rows without an end of their own hold until the next begins; rows of one start speak together."""
    groups = [list(rows) for _, rows in groupby(segments, key=lambda segment: segment.first)]
    ends = [rows[0].first for rows in groups[1:]]
    return tuple(
        Segment(
            rows[0].first, end,
            tuple(label for row in rows for label in row.shown),
            tuple(label for row in rows for label in row.absent),
        )
        for rows, end in zip(groups, [*ends, float("inf")], strict=False)
    )  # fmt: skip
