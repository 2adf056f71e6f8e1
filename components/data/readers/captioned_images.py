"""Pictures with a written caption each, from a CSV table; optionally tiles of them, which carry no caption.

A tile does not inherit the whole picture's caption (what the caption names may lie outside it), only the
labels and facts that the card says hold for every part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from components.data.card import Card
from components.data.image import open_pixels, store
from components.data.reading import (
    UNREADABLE,
    Draft,
    ReadContext,
    Rejection,
    find_files,
    finish_all,
    parse_options,
    reason_of,
    resolve_inside,
)
from components.data.tables import TableFormat, read_rows
from components.data.tiles import TileOptions, cut_tiles
from components.errors import DatasetMissing
from components.records import Department, Modality, Record, Task
from components.settings import Frozen, Words

VERSION = 1
PORTIONS = True


class Row(Frozen):
    """What the card says of one picture."""

    file: str = Field(description="glob of the picture, inside the source")
    modality: Modality | None = None
    department: Department | None = None
    task: Task | None = None
    body_part: str = ""
    labels: Words = ()
    absent_labels: Words = ()
    facts: dict[str, str] = Field(default_factory=dict)
    tile_labels: Words = Field(default=(), description="labels that hold for every tile")
    tiles: TileOptions | None = None


class Options(Frozen):
    """The table of captions and the pictures."""

    captions: str = Field(description="CSV file")
    file_column: str
    text_column: str
    pictures: tuple[Row, ...] = Field(min_length=1)


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield every picture with its caption, then its tiles."""
    options = parse_options(Options, card)
    captions, malformed = _read_captions(root, options)
    yield from malformed
    for row in options.pictures:
        for path in find_files(root, row.file):
            relative = path.relative_to(root).as_posix()
            if context.takes(relative):
                drafts = _read_picture(path, relative, row, captions.get(relative, ""), context.max_side)
                yield from finish_all(drafts, card, context)


def _read_captions(root: Path, options: Options) -> tuple[dict[str, str], list[Rejection]]:
    """Return {file: caption} and the rows that cannot be read; DataError when the table itself cannot."""
    path = resolve_inside(root, options.captions)
    if not path.is_file():
        raise DatasetMissing(
            "table_missing: table of captions is absent", where=str(path), fix="gmai sources; gmai sample-data"
        )
    captions: dict[str, str] = {}
    malformed: list[Rejection] = []
    needed = (options.file_column, options.text_column)
    for found in read_rows(path, options.captions, TableFormat(), needed):
        if isinstance(found, Rejection):
            malformed.append(found)
        else:
            captions[found[1][options.file_column]] = found[1][options.text_column]
    return captions, malformed


def _read_picture(path: Path, relative: str, row: Row, caption: str, max_side: int) -> Iterator[Draft | Rejection]:
    try:
        pixels = open_pixels(path)
    except UNREADABLE as error:
        yield Rejection(relative, reason_of(error))
        return
    whole = _draft(relative, row, store(pixels, max_side))
    yield replace(whole, labels=row.labels, absent_labels=row.absent_labels, text=caption, text_kind="caption")
    for top, left, tile in cut_tiles(pixels, row.tiles) if row.tiles else ():
        yield replace(
            _draft(relative, row, store(tile, max_side)), part=f"tile/{top:05d}-{left:05d}", labels=row.tile_labels
        )


def _draft(relative: str, row: Row, pixels: np.ndarray[Any, Any]) -> Draft:
    return Draft(
        path=relative, pixels=pixels, modality=row.modality or "", department=row.department or "",
        task=row.task or "", body_part=row.body_part, facts=tuple(sorted(row.facts.items())), window="stored",
    )  # fmt: skip
