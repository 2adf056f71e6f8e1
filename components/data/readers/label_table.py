"""Pictures whose labels stand in a table: one label a row, several in a cell, a column a label, or boxes.

A picture of which no row speaks, a row whose picture is absent, and a second row where one is expected are
rejections. What is marked uncertain is neither present nor absent; it is kept as the fact `uncertain`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from components.data.boxes import (
    BoxForm,
    Drawn,
    Sketch,
    annotation_fact,
    draw,
    parse_numbers,
    to_corners,
    to_shares,
)
from components.data.card import Card
from components.data.faults import Refused
from components.data.image import store
from components.data.paths import FIELD, check_stays, fill, find_all, is_named, locate_one
from components.data.pictures import (
    Gallery,
    PictureOptions,
    canonical_labels,
    open_gallery,
    open_picture,
    split_labels,
)
from components.data.reading import UNREADABLE, Draft, ReadContext, Rejection, finish_all, parse_options, reason_of
from components.data.tables import RowMeaning, TableFormat, is_blank, meaning_of, read_rows
from components.records import Record, Split
from components.settings import Frozen, Words

VERSION = 1
PORTIONS = True
Cells = Mapping[str, str]


class BoxColumns(Frozen):
    """Which columns hold a row's box; blank cells mean that the row has none."""

    columns: tuple[str, str, str, str] = Field(description="the four columns, in the order of `form`")
    form: BoxForm = "corners"
    unit: Literal["pixels", "shares"] = "pixels"
    label_column: str = Field(default="", description="the object's label; defaults to the table's label_column")
    label: str = Field(default="", description="instead: what every box is, in the source's word")


class Options(PictureOptions, RowMeaning, TableFormat):
    """The tables, how a row names its picture, and how its cells become labels."""

    tables: Words = Field(min_length=1, description="globs of the tables")
    table_splits: dict[str, Split] = Field(
        default_factory=dict, description="glob of a table -> split of its rows"
    )
    image: str = Field(description="template over the row of the picture's path, such as `images/{id}.jpg`")
    find_by: Literal["path", "name", "stem"] = Field(
        default="path", description="`name` and `stem` look `image` up among `images`, in whatever folder"
    )
    images: Words = Field(default=(), description="globs of all pictures; those without a row are refused")
    label_column: str = Field(default="", description="cell with the label, or several")
    separator: str = Field(default="", description="between several labels in a cell")
    label_columns: Words = Field(default=(), description="a column a label: its name is the label")
    value_columns: Words = Field(default=(), description="columns whose label is `column=cell`")
    present: Words = Field(default=("1", "1.0", "true", "True", "TRUE", "yes", "Yes"))
    absent: Words = Field(default=("0", "0.0", "false", "False", "FALSE", "no", "No"))
    uncertain: Words = Field(default=("-1", "-1.0"))
    exclusive: bool = Field(default=False, description="a row's labels rule out all the others of the card")
    unlabelled: Literal["refuse", "keep"] = Field(default="refuse", description="a row without any label")
    box: BoxColumns | None = None
    complete: bool = Field(default=False, description="every object of the card's labels has its box")
    rows_per_image: Literal["one", "several"] = "one"

    @model_validator(mode="after")
    def _says_something(self) -> Options:
        if not (self.label_column or self.label_columns or self.value_columns or self.box):
            raise ValueError("one of label_column, label_columns, value_columns or box must be given")
        if self.find_by != "path" and not self.images:
            raise ValueError("find_by: name or stem needs `images`")
        return self

    @property
    def needed(self) -> tuple[str, ...]:
        """Every column of the table that is read."""
        box = (*self.box.columns, self.box.label_column) if self.box else ()
        named = (*FIELD.findall(self.image), self.label_column, *self.label_columns, *self.value_columns, *box)
        return (*(name for name in named if name), *self.columns)


@dataclass(frozen=True, slots=True)
class Row:
    """One row: where it stands, its cells, and its table's split."""

    where: str
    cells: Cells
    split: str


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield every picture that rows speak of, in the order of its first row, then those without a row."""
    options = parse_options(Options, card)
    gallery = open_gallery(root, card, options)
    drafts = _drafts(root, gallery, options, context)
    yield from finish_all(gallery.describe_all(drafts), card, context)


def _drafts(root: Path, gallery: Gallery, options: Options, context: ReadContext) -> Iterator[Draft | Rejection]:
    known = {relative: path for path, relative in find_all(root, options.images, options.skip)}
    names = _names(known, options.find_by)
    groups: dict[str, list[Row]] = {}
    for row in _rows(root, options):
        if isinstance(row, Rejection):
            yield row
            continue
        try:
            relative = _picture_of(root, row, names, options)
            if is_named(relative, options.skip):
                continue
            if relative in groups and options.rows_per_image == "one":
                raise Refused("row_repeated", relative)
            groups.setdefault(relative, []).append(row)
        except UNREADABLE as error:
            yield Rejection(row.where, reason_of(error))
    for relative, rows in groups.items():
        if context.takes(relative):
            yield from _read_picture(root / relative, relative, rows, gallery.card, options, context.max_side)
    yield from (Rejection(relative, "row_missing") for relative in known if relative not in groups)


def _rows(root: Path, options: Options) -> Iterator[Row | Rejection]:
    for path, where in find_all(root, options.tables):
        split = next((s for pattern, s in options.table_splits.items() if is_named(where, (pattern,))), "")
        for row in read_rows(path, where, options, options.needed):
            if isinstance(row, Rejection):
                yield row
            else:
                number, cells = row
                yield Row(f"{where}#row/{number}", {name: cells[name] for name in options.needed}, split)


def _names(known: Mapping[str, Path], find_by: str) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for relative in known if find_by != "path" else ():
        path = PurePosixPath(relative)
        names.setdefault(path.name if find_by == "name" else path.stem, []).append(relative)
    return names


def _picture_of(root: Path, row: Row, names: Mapping[str, list[str]], options: Options) -> str:
    """Return the path inside the source of the picture that a row names."""
    cells = {name: cell.strip() for name, cell in row.cells.items()}
    if options.find_by == "path":
        return locate_one(root, options.image, cells).relative_to(root).as_posix()
    wanted = fill(options.image, cells)
    check_stays(wanted)
    found = names.get(wanted, [])
    if len(found) != 1:
        raise Refused("file_ambiguous" if found else "file_missing", wanted)
    return found[0]


def _read_picture(
    path: Path, relative: str, rows: Sequence[Row], card: Card, options: Options, max_side: int
) -> Iterator[Draft | Rejection]:
    try:
        pixels, window = open_picture(path, options.deep_window)
        present, absent, doubtful = _labels(rows, card, options)
        meanings = [meaning_of(row.cells, options) for row in rows]
    except UNREADABLE as error:
        yield Rejection(relative, reason_of(error))
        return
    drawn = _boxes(rows, relative, card, options, pixels.shape[:2], max_side) if options.box else Drawn()
    yield from drawn.refused
    if not (present or absent or drawn.regions or doubtful) and options.unlabelled == "refuse" and not options.box:
        yield Rejection(relative, "label_missing")
        return
    facts = {name: text for meaning in meanings for name, text in meaning.facts}
    facts |= dict(annotation_fact(card, "instance box")) if options.box else {}
    first = meanings[0]
    yield Draft(
        path=relative, pixels=store(pixels, max_side), labels=present, absent_labels=absent, window=window,
        regions=drawn.regions, regions_complete=bool(drawn.vocabulary), region_vocabulary=drawn.vocabulary,
        patient=first.patient, study=first.study, split=rows[0].split or first.split,
        facts=tuple(sorted({**facts, **({"uncertain": ", ".join(doubtful)} if doubtful else {})}.items())),
    )  # fmt: skip


Labels = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]


def _labels(rows: Sequence[Row], card: Card, options: Options) -> Labels:
    """Return the canonical labels that are present, ruled out, and uncertain (also when rows contradict)."""
    said: dict[str, list[str]] = {"present": [], "absent": [], "uncertain": [], "": []}
    for row in rows:
        if options.label_column and not _has_box(row, options):
            said["present"] += split_labels(row.cells[options.label_column], options.separator, card)
        for column in options.value_columns:
            said["present"] += [] if is_blank(row.cells[column]) else [f"{column}={row.cells[column].strip()}"]
        for column in options.label_columns:
            said[_meaning_of_cell(row.cells[column], options)].append(column)
    present, absent, doubtful, _ = (set(canonical_labels(words, card)) for words in said.values())
    doubtful |= present & absent
    present, absent = present - doubtful, absent - doubtful
    if options.exclusive and present:
        absent |= set(card.labels) - doubtful - present
    return tuple(sorted(present)), tuple(sorted(absent)), tuple(sorted(doubtful))


def _has_box(row: Row, options: Options) -> bool:
    return options.box is not None and not all(is_blank(row.cells[column]) for column in options.box.columns)


def _meaning_of_cell(cell: str, options: Options) -> str:
    """Tell present, absent, uncertain, or "" for a blank cell; Refused (`value_not_known`) for another."""
    text = cell.strip()
    meanings = {"present": options.present, "absent": options.absent, "uncertain": options.uncertain}
    for meaning, values in meanings.items():
        if text in values:
            return meaning
    if is_blank(text):
        return ""
    raise Refused("value_not_known", text)


def _boxes(
    rows: Sequence[Row], relative: str, card: Card, options: Options, size: tuple[int, int], max_side: int
) -> Drawn:
    sketches = (sketch for row in rows if (sketch := _sketch(row, options, size)))
    complete = card.label_map if options.complete else ()
    return draw(sketches, relative, card, size=size, max_side=max_side, complete=complete)


def _sketch(row: Row, options: Options, size: tuple[int, int]) -> Sketch | None:
    """Return a row's object, or None for a row without a box."""
    box = options.box
    assert box is not None
    cells = [row.cells[column] for column in box.columns]
    if not _has_box(row, options):
        return None
    word = box.label or row.cells[box.label_column or options.label_column].strip()
    name = row.where.partition("#")[2]
    try:
        corners = to_corners(parse_numbers(cells), box.form)
        height, width = size
        scale = (1.0, 1.0) if box.unit == "pixels" else (float(width), float(height))
        pixels = np.multiply(corners, (*scale, *scale)).tolist()
        return Sketch(word, name, box=to_shares(tuple(pixels), width, height))
    except Refused as error:
        return Sketch(word, name, fault=error.reason)
