"""Pictures with mask pictures: grey-coded, colour-coded, a file an object, several raters, crops, run lengths.

Where several raters marked the same label, `agreement` says which pixels count, and the record keeps it as the
fact `raters`. A mask must have its picture's size, unless a table says where in the picture it was cut out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from components.data.boxes import Sketch, annotation_fact, draw, parse_numbers
from components.data.card import Card
from components.data.faults import Refused
from components.data.image import store
from components.data.mask_codes import MaskCoding, read_marks
from components.data.outlines import Mask, decode_pairs
from components.data.paths import FIELD, fields_of_path, fill, find_all, locate
from components.data.pictures import PictureOptions, finish_pictures, open_picture
from components.data.reading import (
    UNREADABLE,
    Draft,
    ReadContext,
    Rejection,
    parse_options,
    reason_of,
    resolve_inside,
)
from components.data.tables import TableFormat, is_blank, read_rows
from components.records import Record
from components.settings import Words

VERSION = 1
PORTIONS = True
Cells = Mapping[str, str]
Agreement = Literal["union", "intersection", "majority"]


class Layer(MaskCoding):
    """The mask files of one kind, or of one rater."""

    masks: str = Field(
        min_length=1, description="template of the mask over the picture's path; with `*`, all that match"
    )
    rater: str = Field(default="", description="who marked it, where several did")
    missing: Literal["refuse", "empty"] = Field(default="refuse", description="a picture without such a file")


class PictureTable(TableFormat):
    """A table with rows for pictures."""

    file: str = Field(description="the table, inside the source")
    key: str = Field(description="template over the row, such as `{image_id}`")
    matches: str = Field(default="{stem}", description="template over the picture's path that equals the key")


class CropTable(PictureTable):
    """Where in the picture each mask was cut out; the row's columns may be named in the layers' templates."""

    left: str = Field(description="column with the mask's first column in the picture, from 0")
    top: str = Field(description="column with the mask's first row in the picture, from 0")


class RunTable(PictureTable):
    """Run lengths in a table; a blank cell or -1 means that nothing is marked."""

    runs: str = Field(description="column with `start length start length …`")
    label: str = Field(default="", description="what every row marks, in the source's word")
    label_column: str = Field(default="", description="instead: the column that says it")
    holds: Literal["classes", "objects"] = Field(default="classes", description="`objects`: each row is an object")
    by_columns: bool = Field(default=True, description="runs go down the columns (Kaggle); else along the rows")
    first: int = Field(default=1, ge=0, le=1, description="number of the first pixel")
    without_row: Literal["refuse", "empty"] = "refuse"

    @model_validator(mode="after")
    def _is_labelled(self) -> RunTable:
        if bool(self.label) == bool(self.label_column):
            raise ValueError("give either `label` or `label_column`")
        return self


class Options(PictureOptions):
    """The pictures and their masks."""

    images: Words = Field(min_length=1, description="globs of the pictures")
    layers: tuple[Layer, ...] = ()
    runs: RunTable | None = None
    crops: CropTable | None = None
    agreement: Agreement = Field(default="majority", description="which pixels count where raters differ")
    complete: bool = Field(default=True, description="every object of the layers' labels is marked")

    @model_validator(mode="after")
    def _has_masks(self) -> Options:
        if not self.layers and not self.runs:
            raise ValueError("give `layers` or `runs`")
        return self


@dataclass(frozen=True, slots=True)
class Tables:
    """Rows of the crop table and of the run table, by key."""

    crops: Mapping[str, list[Cells]] = field(default_factory=dict)
    runs: Mapping[str, list[Cells]] = field(default_factory=dict)


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield every picture with its marks as regions, then the rows whose picture is absent."""
    options = parse_options(Options, card)
    refused: list[Rejection] = []
    tables = Tables(
        _read_table(root, options.crops, ("left", "top"), refused),
        _read_table(root, options.runs, ("runs", "label_column"), refused),
    )
    yield from refused
    drafts = _drafts(root, card, options, tables, context)
    yield from finish_pictures(drafts, root, card, options, context)


def _read_table(
    root: Path, table: PictureTable | None, columns: Sequence[str], refused: list[Rejection]
) -> dict[str, list[Cells]]:
    """Sort a table's rows by key; bad rows are added to `refused`."""
    rows: dict[str, list[Cells]] = {}
    if table is None:
        return rows
    named = [name for column in columns if (name := getattr(table, column))]
    for row in read_rows(resolve_inside(root, table.file), table.file, table, [*FIELD.findall(table.key), *named]):
        if isinstance(row, Rejection):
            refused.append(row)
        else:
            rows.setdefault(fill(table.key, row[1]).strip(), []).append(row[1])
    return rows


def _drafts(
    root: Path, card: Card, options: Options, tables: Tables, context: ReadContext
) -> Iterator[Draft | Rejection]:
    used: set[str] = set()
    for path, relative in find_all(root, options.images, options.skip):
        try:
            if options.runs:
                used.add(_key(options.runs, relative, options))
            if not context.takes(relative, masks_of(root, relative, options, tables)):
                continue
            drafts = list(_read_picture(root, path, relative, card, options, tables, context.max_side))
        except UNREADABLE as error:
            drafts = [Rejection(relative, reason_of(error))]
        yield from drafts
    table = options.runs
    yield from (
        Rejection(f"{table.file}#{key}", "file_missing") for key in tables.runs if table and key not in used
    )


def files_of_layer(
    root: Path, relative: str, layer: Layer, options: Options, tables: Tables
) -> Iterator[tuple[Path, Cells | None]]:
    """Yield a picture's mask files of one layer, each with the row that says where it was cut out, if any."""
    fields = fields_of_path(relative, options.pattern)
    crops = tables.crops.get(_key(options.crops, relative, options), ()) if options.crops else (None,)
    for crop in crops:
        yield from ((path, crop) for path in locate(root, layer.masks, {**fields, **(crop or {})}))


def masks_of(root: Path, relative: str, options: Options, tables: Tables) -> Iterator[str]:
    """Yield the paths inside the source of all mask files of a picture."""
    for layer in options.layers:
        for path, _ in files_of_layer(root, relative, layer, options, tables):
            yield path.relative_to(root).as_posix()


def _key(table: PictureTable, relative: str, options: Options) -> str:
    return fill(table.matches, fields_of_path(relative, options.pattern))


def _read_picture(
    root: Path, path: Path, relative: str, card: Card, options: Options, tables: Tables, max_side: int
) -> Iterator[Draft | Rejection]:
    pixels, window = open_picture(path, options.deep_window)
    marks = Marks(root, relative, options, tables, pixels.shape[:2])
    words = [word for layer in options.layers for word in layer.words]
    words += list(card.label_map) if options.runs and options.runs.label_column else []
    words += [options.runs.label] if options.runs and options.runs.label else []
    drawn = draw(
        marks.sketches(), relative, card, size=pixels.shape[:2], max_side=max_side,
        complete=words if options.complete else (),
    )  # fmt: skip
    yield from drawn.refused
    yield Draft(
        path=relative, pixels=store(pixels, max_side), window=window, regions=drawn.regions,
        regions_complete=bool(drawn.vocabulary), region_vocabulary=drawn.vocabulary, facts=_facts(options, card),
    )  # fmt: skip


def _facts(options: Options, card: Card) -> tuple[tuple[str, str], ...]:
    kinds = {layer.holds for layer in options.layers} | ({options.runs.holds} if options.runs else set())
    annotation = "class mask" if "classes" in kinds else "instance mask"
    raters = {layer.rater for layer in options.layers if layer.rater}
    told = (("raters", f"{options.agreement} of {len(raters)}"),) if len(raters) > 1 else ()
    return (*annotation_fact(card, annotation), *told)


@dataclass(frozen=True, slots=True)
class Marks:
    """One picture's marks, read file by file; `size` is the picture's (height, width)."""

    root: Path
    relative: str
    options: Options
    tables: Tables
    size: tuple[int, int]

    def sketches(self) -> Iterator[Sketch]:
        """Yield objects as they are read, then classes, on which raters may have to agree."""
        votes: dict[str, dict[str, Mask]] = {}
        for layer in self.options.layers:
            for number, (word, mask) in enumerate(self._layer(layer)):
                if layer.holds != "classes":
                    yield Sketch(word, f"object/{number}", mask=mask)
                else:
                    _join(votes.setdefault(word, {}), layer.rater, mask)
        for number, (word, mask) in enumerate(self._runs()):
            if self.options.runs and self.options.runs.holds == "objects":
                yield Sketch(word, f"run/{number}", mask=mask)
            else:
                _join(votes.setdefault(word, {}), "", mask)
        for word, by_rater in votes.items():
            mask = _agreed(list(by_rater.values()), self._num_raters(word), self.options.agreement)
            if mask.any():
                yield Sketch(word, f"label/{word}", mask=mask)

    def _num_raters(self, word: str) -> int:
        return max(1, len({layer.rater for layer in self.options.layers if word in layer.words}))

    def _layer(self, layer: Layer) -> Iterator[tuple[str, Mask]]:
        """Read a layer's files one by one; Refused (`mask_missing`, `mask_size_differs`, …)."""
        found = False
        for path, crop in files_of_layer(self.root, self.relative, layer, self.options, self.tables):
            found = True
            size, marks = read_marks(path, layer)
            corner = self._corner(size, crop)
            yield from ((word, self._placed(mask, corner)) for word, mask in marks)
        if not found and layer.missing == "refuse":
            raise Refused("mask_missing", self.relative)

    def _corner(self, size: tuple[int, int], crop: Cells | None) -> tuple[int, int]:
        """Return (top, left) of a mask in the picture."""
        if crop is None or self.options.crops is None:
            if size != self.size:
                raise Refused("mask_size_differs", f"{size} in {self.size}")
            return 0, 0
        top, left = parse_numbers((crop[self.options.crops.top], crop[self.options.crops.left]))
        if min(top, left) < 0 or top + size[0] > self.size[0] or left + size[1] > self.size[1]:
            raise Refused("mask_outside_image", f"{size} at {top}, {left} in {self.size}")
        return int(top), int(left)

    def _placed(self, mask: Mask, corner: tuple[int, int]) -> Mask:
        if mask.shape == self.size:
            return mask
        whole = np.zeros(self.size, dtype=bool)
        whole[corner[0] : corner[0] + mask.shape[0], corner[1] : corner[1] + mask.shape[1]] = mask
        return whole

    def _runs(self) -> Iterator[tuple[str, Mask]]:
        """Decode a picture's rows of run lengths; Refused (`row_missing`, `runs_malformed`)."""
        table = self.options.runs
        if table is None:
            return
        rows = self.tables.runs.get(_key(table, self.relative, self.options), [])
        if not rows and table.without_row == "refuse":
            raise Refused("row_missing", self.relative)
        for cells in rows:
            text = cells[table.runs].strip()
            if is_blank(text) or text in ("-1", "-1.0"):
                continue
            word = table.label or cells[table.label_column].strip()
            yield word, decode_pairs(text, *self.size, by_columns=table.by_columns, first=table.first)


def _join(by_rater: dict[str, Mask], rater: str, mask: Mask) -> None:
    """Add a mask to what a rater marked; `by_rater` is the caller's to change."""
    by_rater[rater] = by_rater[rater] | mask if rater in by_rater else mask


def _agreed(masks: Sequence[Mask], num_raters: int, agreement: Agreement) -> Mask:
    """Return the pixels that count; a rater without a mask of this label marked nothing."""
    if num_raters == 1:
        return masks[0]
    votes = np.sum(masks, axis=0)
    return votes >= {"union": 1, "intersection": num_raters, "majority": num_raters // 2 + 1}[agreement]
