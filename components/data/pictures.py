"""Pictures of any common file format, and what a card may say of them: the part that labelled readers share.

Single-frame DICOM counts as a picture. Eight-bit pixels are kept as they are; deeper ones become grey by a
named window, which the record keeps. A picture's patient, split and facts may come from a table beside it or
from published lists of names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from pydantic import Field, field_validator

from components.data.card import Card
from components.data.dicom import decode_frames, open_dicom
from components.data.faults import Refused
from components.data.image import decoding
from components.data.paths import PATH_FIELDS, check_template, fields_of_path, fill, is_named
from components.data.reading import Draft, ReadContext, Rejection, finish_all, resolve_inside
from components.data.tables import Meaning, RowMeaning, TableFormat, is_blank, meaning_of, read_rows
from components.data.windows import WindowName, bounds, to_grey
from components.errors import DatasetMissing
from components.records import Department, Modality, Plane, Record, Split, Task
from components.settings import Frozen, Words

Array = np.ndarray[Any, Any]
DICOM_ENDINGS = (".dcm", ".dicom", ".ima")
MAX_PIXELS = 2 * 89_478_485  # where Pillow itself refuses (twice its MAX_IMAGE_PIXELS)


class Place(Frozen):
    """What holds for pictures whose path matches a glob."""

    modality: Modality | None = None
    department: Department | None = None
    task: Task | None = None
    body_part: str = ""
    plane: Plane = Field(default="not stated", description="of a slice that is published as a picture")
    facts: dict[str, str] = Field(default_factory=dict)


class SideTable(RowMeaning, TableFormat):
    """A table that says more of a picture: one row a picture, patient or video."""

    file: str = Field(description="the table, inside the source")
    key: str = Field(description="template over the row, such as `{image_id}`")
    matches: str = Field(default="{stem}", description="template over the picture's path that equals the key")
    label_column: str = Field(default="", description="labels of the whole picture, in the source's words")
    separator: str = Field(default="", description="between several labels in one cell")
    required: bool = Field(default=True, description="refuse pictures without a row (`row_missing`)")


class PictureOptions(Frozen):
    """What every reader of labelled pictures takes beside its own options."""

    skip: Words = Field(default=(), description="globs over the path of pictures to leave out")
    pattern: str = Field(default="", description="regular expression over a path; its named groups fill templates")
    deep_window: WindowName = Field(default="full range", description="how more than 8 bits become grey")
    places: dict[str, Place] = Field(
        default_factory=dict, description="glob over the path -> what holds there; the first that matches"
    )
    table: SideTable | None = Field(default=None, description="a table that says more of each picture")
    split_files: dict[str, Split] = Field(
        default_factory=dict, description="text file with a picture a line (path, name or stem first) -> split"
    )

    @field_validator("pattern")
    @classmethod
    def _pattern_compiles(cls, value: str) -> str:
        re.compile(value)
        return value


@dataclass(frozen=True, slots=True)
class Gallery:
    """A source's pictures with all that is said of them outside their own annotation."""

    card: Card
    options: PictureOptions
    rows: Mapping[str, tuple[Meaning, tuple[str, ...]]] = field(default_factory=dict)
    listed: Mapping[str, str] = field(default_factory=dict)
    refused: tuple[Rejection, ...] = ()

    def describe_all(self, drafts: Iterator[Draft | Rejection]) -> Iterator[Draft | Rejection]:
        """Add what places, table and lists say to each draft; the table's own rejections come first."""
        yield from self.refused
        for draft in drafts:
            yield draft if isinstance(draft, Rejection) else self.describe(draft)

    def describe(self, draft: Draft) -> Draft | Rejection:
        """Add what places, table and lists say; what the reader itself read wins."""
        try:
            meaning, labels = self._row_of(draft.path)
        except Refused as error:
            return Rejection(draft.path, error.reason)
        place = self._place_of(draft.path)
        return replace(
            draft,
            labels=tuple(sorted({*draft.labels, *labels})),
            patient=draft.patient or meaning.patient,
            study=draft.study or meaning.study,
            split=draft.split or meaning.split or self._listed_split(draft.path),
            modality=draft.modality or place.modality or "",
            department=draft.department or place.department or "",
            task=draft.task or place.task or "",
            body_part=draft.body_part or place.body_part,
            plane=place.plane if draft.plane == "not stated" else draft.plane,
            facts=tuple(sorted({**place.facts, **dict(meaning.facts), **dict(draft.facts)}.items())),
        )

    def _row_of(self, path: str) -> tuple[Meaning, tuple[str, ...]]:
        table = self.options.table
        if table is None:
            return Meaning(), ()
        row = self.rows.get(fill(table.matches, fields_of_path(path, self.options.pattern)))
        if row is None and table.required:
            raise Refused("row_missing", path)
        return row or (Meaning(), ())

    def _place_of(self, path: str) -> Place:
        matching = (place for pattern, place in self.options.places.items() if is_named(path, (pattern,)))
        return next(matching, Place())

    def _listed_split(self, path: str) -> str:
        names = (path, PurePosixPath(path).with_suffix("").as_posix(), PurePosixPath(path).name, _stem(path))
        return next((self.listed[name] for name in names if name in self.listed), "")


def open_gallery(root: Path, card: Card, options: PictureOptions) -> Gallery:
    """Read the table and the lists that a card's options name.

    Raises:
        DataError: the table cannot be read, or a template names an unknown field.
        DatasetMissing: a list of names is absent.
    """
    rows, refused = _read_side_table(root, card, options) if options.table else ({}, ())
    return Gallery(card, options, rows, _read_lists(root, options.split_files), tuple(refused))


def finish_pictures(
    drafts: Iterator[Draft | Rejection], root: Path, card: Card, options: PictureOptions, context: ReadContext
) -> Iterator[Record | Rejection]:
    """Finish a source's drafts with all that is said of its pictures; raises as `open_gallery` does."""
    yield from finish_all(open_gallery(root, card, options).describe_all(drafts), card, context)


def _read_side_table(
    root: Path, card: Card, options: PictureOptions
) -> tuple[dict[str, tuple[Meaning, tuple[str, ...]]], list[Rejection]]:
    table = options.table
    assert table is not None
    groups = re.compile(options.pattern).groupindex
    check_template(table.matches, (*PATH_FIELDS, *groups), where=f"conf/sources/{card.name}.yaml")
    needed = [*re.findall(r"\{([^{}]+)\}", table.key), *table.columns]
    needed += [table.label_column] if table.label_column else []
    rows: dict[str, tuple[Meaning, tuple[str, ...]]] = {}
    refused: list[Rejection] = []
    for row in read_rows(resolve_inside(root, table.file), table.file, table, needed):
        if isinstance(row, Rejection):
            refused.append(row)
            continue
        number, cells = row
        key = fill(table.key, cells).strip()
        try:
            if key in rows:
                raise Refused("row_repeated", key)
            words = split_labels(cells[table.label_column], table.separator, card) if table.label_column else ()
            rows[key] = meaning_of(cells, table), canonical_labels(words, card)
        except Refused as error:
            refused.append(Rejection(f"{table.file}#row/{number}", error.reason))
    return rows, refused


def split_labels(text: str, separator: str, card: Card) -> tuple[str, ...]:
    """Cut a cell or a name into its labels, in the source's words.

    Blank ones ("", "nan", "none") are left out unless the card's label map knows them.
    """
    parts = [part.strip() for part in (text.split(separator) if separator else [text])]
    return tuple(part for part in parts if part in card.label_map or not is_blank(part))


def canonical_labels(words: Sequence[str], card: Card) -> tuple[str, ...]:
    """Return the canonical terms of a source's words, sorted; Refused (`label_not_in_vocabulary`)."""
    terms = {word: card.term(word) for word in words}
    unknown = [word for word, term in terms.items() if term is None]
    if unknown:
        raise Refused("label_not_in_vocabulary", unknown[0])
    return tuple(sorted({term.label for term in terms.values() if term and term.label}))


def _read_lists(root: Path, files: Mapping[str, Split]) -> dict[str, str]:
    listed: dict[str, str] = {}
    for name, split in files.items():
        path = resolve_inside(root, name)
        if not path.is_file():
            raise DatasetMissing("list of a split's pictures is absent", where=name, fix="gmai sources")
        for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines():
            entry = re.split(r"[,;\t ]", line.strip(), maxsplit=1)[0]
            if entry:
                listed[entry.removeprefix("./")] = split
    return listed


def _stem(path: str) -> str:
    return PurePosixPath(path).stem


def open_picture(path: Path, deep_window: WindowName) -> tuple[Array, str]:
    """Return 8-bit pixels (H, W) or (H, W, 3) at full size, and the window that made them ("stored" for none).

    Palette, CMYK and other colour spaces become RGB; alpha is left out; 16-bit, 32-bit and floating-point grey
    goes through `deep_window`. Raises Refused (`file_empty`, `image_too_large`, `pixels_not_finite`,
    `file_unreadable`) or OSError.
    """
    raw = read_pixels(path)
    if raw.dtype == np.uint8:
        return raw, "stored"
    if raw.dtype == bool:
        return raw.astype(np.uint8) * 255, "stored"
    if not np.isfinite(raw).all():
        raise Refused("pixels_not_finite", path.name)
    return to_grey(raw, *bounds(deep_window, raw)), deep_window


def read_pixels(path: Path, *, palette: bool = False) -> Array:
    """Return a picture's own values: (H, W) or (H, W, 3), of any number type; raises as `open_picture`.

    With `palette`, a palette picture gives its indices (H, W) instead of its colours.
    """
    from PIL import Image

    with decoding(path):
        if path.suffix.lower() in DICOM_ENDINGS:
            return _read_dicom(path)
        try:
            with Image.open(path) as picture:
                if is_deep_colour(picture):
                    return _read_deep_colour(path)
                return np.asarray(picture) if palette and picture.mode == "P" else _plain_values(picture)
        except Image.UnidentifiedImageError:
            if path.suffix.lower() not in (".tif", ".tiff"):
                raise
            return _read_tiff(path)


def is_deep_colour(picture: Any) -> bool:
    """Tell 16-bit colour, of which Pillow would silently drop the lower byte; asked before it decodes."""
    return picture.mode in ("RGB", "RGBA") and any(";16" in str(tile[3]) for tile in picture.tile)


def _read_deep_colour(path: Path) -> Array:
    if path.suffix.lower() != ".png":
        return _read_tiff(path)
    import imagecodecs

    return imagecodecs.png_decode(path.read_bytes())[..., :3]


def _read_dicom(path: Path) -> Array:
    """Read the one frame of a DICOM file as it is stored; whoever it shows is not read."""
    frames = decode_frames(open_dicom(path))
    if len(frames) != 1:
        raise Refused("image_not_a_picture", f"{len(frames)} frames")
    return frames[0]


def _plain_values(picture: Any) -> Array:
    """Decode; palettes and colour spaces become RGB, two-level pictures grey."""
    mode = picture.mode
    if mode in ("L", "RGB", "F", "I") or mode.startswith("I;16"):
        return np.asarray(picture)
    return np.asarray(picture.convert("L" if mode in ("1", "LA") else "RGB"))


def _read_tiff(path: Path) -> Array:
    """Read the first page of a TIFF that Pillow does not know, such as 16-bit colour."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages[0]
            if page.size > 3 * MAX_PIXELS:
                raise Refused("image_too_large", path.name)
            pixels = page.asarray()
    except tifffile.TiffFileError as error:
        raise Refused("file_unreadable", f"{path.name}: {error}") from error
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise Refused("image_not_a_picture", str(pixels.shape))
    return pixels[..., :3] if pixels.ndim == 3 else pixels
