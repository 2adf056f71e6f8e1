"""What a spoilt file may be read as: checks of the records against the rule that reads it, pixel by pixel."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.data.image import decode, resize
from components.records import Record

CLOSE = 3.0  # mean grey levels off: JPEG, and shrinking by another path
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Seen:
    """A spoilt file and what reading gave: the records, and those of the source when it was sound."""

    path: Path
    records: Sequence[Record]
    sound: Sequence[Record]
    is_named: bool

    @property
    def changed(self) -> list[Record]:
        """The records that the sound source did not give."""
        return [record for record in self.records if record not in self.sound]


Check = Callable[[Seen], bool]


def is_the_same(seen: Seen) -> bool:
    """Every record is as it was, and none is new."""
    return list(seen.records) == list(seen.sound)


def is_left_out(seen: Seen) -> bool:
    """A file that no table names is not there, nor is anything of it; what remains says no more than it did."""
    terms = {term for record in seen.sound for term in _terms(record)}
    return (
        not seen.is_named
        and len(seen.records) <= len(seen.sound)
        and all(
            _terms(record) <= terms and not record.source_path.endswith(f"/{seen.path.name}")
            for record in seen.changed
        )
    )


def _terms(record: Record) -> set[str]:
    return {*record.labels, *(region.label for region in record.regions), *record.region_vocabulary}


def shows_nothing(seen: Seen) -> bool:
    """An empty text file beside a picture says that no object is there (docs.ultralytics.com/datasets/detect)."""
    return len(seen.changed) == 1 and not seen.changed[0].regions and len(seen.records) == len(seen.sound)


def says_no_more(seen: Seen) -> bool:
    """Rows are gone and none is new; the row at the cut may say less than it did."""
    known = {record.source_path: record for record in seen.sound}
    return len(seen.records) <= len(seen.sound) and all(
        record.source_path in known and _is_less(record, known[record.source_path]) for record in seen.changed
    )


def _is_less(record: Record, whole: Record) -> bool:
    told = whole.text.startswith(record.text)
    return told and len(record.regions) <= len(whole.regions) and set(record.labels) <= set(whole.labels)


def says_it_twice(seen: Seen) -> bool:
    """A text of which every line stands twice is read as it stands: nothing else of the record has changed."""
    known = {record.source_path: record for record in seen.sound}
    return len(seen.records) == len(seen.sound) and all(
        set(record.text.split()) == set(known[record.source_path].text.split())
        and record.labels == known[record.source_path].labels and record.sha256 == known[record.source_path].sha256
        for record in seen.changed
    )  # fmt: skip


def is_one_pixel(seen: Seen) -> bool:
    """A picture of one pixel is read; the curation refuses it as `image_too_small`, whatever its settings."""
    return bool(seen.changed) and all((record.width, record.height) == (1, 1) for record in seen.changed)


def has_its_own_size(seen: Seen) -> bool:
    """A picture is read at the size that it has; what is told of it in shares of its sides stays where it was.

    Of a picture cut into tiles those at the edge change or go, and none is new.
    """
    from PIL import Image

    with Image.open(seen.path) as picture:
        width, height = picture.size
    boxes = {record.source_path: {region.box for region in record.regions} for record in seen.sound}
    paths = [record.source_path for record in seen.sound]
    fewer = len(seen.records) < len(seen.sound)
    return (bool(seen.changed) or fewer) and len(seen.records) <= len(seen.sound) and all(
        paths.count(record.source_path) > 1
        or (
            abs(record.width / record.height - width / height) < 2 / min(record.width, record.height)
            and {region.box for region in record.regions} <= boxes.get(record.source_path, set())
        )
        for record in seen.changed
    )  # fmt: skip


def is_cut_anew(seen: Seen) -> bool:
    """A volume is cut at the size that it has, and labels lie by their own affine: no new term, no new slice."""
    terms = {term for record in seen.sound for term in _terms(record)}
    fewer = len(seen.records) <= len(seen.sound)
    return bool(seen.changed) and fewer and all(_terms(record) <= terms for record in seen.changed)


def is_cmyk_as_rgb(seen: Seen) -> bool:
    """R = (255 - C)(255 - K) / 255, and so on."""
    stored = _stored(seen.path)
    if stored.ndim != 3 or stored.shape[2] != 4:
        return False
    inks = 255.0 - stored.astype(float)
    return _all_show(seen, np.rint(inks[..., :3] * inks[..., 3:] / 255))


def is_palette_as_rgb(seen: Seen) -> bool:
    """Each index is the colour that the palette gives it."""
    from PIL import Image

    with Image.open(seen.path) as picture:
        colours = np.array(picture.getpalette() or [], dtype=float).reshape(-1, 3)
    return bool(len(colours)) and _all_show(seen, colours[_stored(seen.path)])


def is_windowed(seen: Seen) -> bool:
    """Deep grey goes through a window that the record names, from black to white."""
    stored = _stored(seen.path).astype(float)
    return bool(seen.changed) and all(
        _shows_any_of(record, _window(stored, record.window)) for record in seen.changed
    )


def _window(stored: Array, name: str) -> Array:
    low, high = stored.min(), stored.max()
    shares = re.fullmatch(r"percentile ([0-9.]+)-([0-9.]+)", name)
    if shares:
        low, high = np.percentile(stored[stored != 0], [float(shares[1]), float(shares[2])])
    elif name != "full range":
        return np.full(stored.shape, -1000.0)  # no window of deep pictures: nothing looks like this
    return np.rint(np.clip((stored - low) / (high - low), 0, 1) * 255)


def is_marked(seen: Seen) -> bool:
    """A file that marks pixels is read by its numbers: its pictures are as they were, marks where it is not 0."""
    pixels = {record.sha256 for record in seen.sound}
    stored = _stored(seen.path)
    rows, columns = np.nonzero(stored.any(axis=-1) if stored.ndim == 3 else stored)
    sides = (stored.shape[1], stored.shape[0])
    drawn = (
        columns.min() / sides[0],
        rows.min() / sides[1],
        (columns.max() + 1) / sides[0],
        (rows.max() + 1) / sides[1],
    )
    return bool(seen.changed) and all(
        record.sha256 in pixels
        and all(_lies_within(region.box, drawn, 2 / min(sides)) for region in record.regions)
        for record in seen.changed
    )


def _lies_within(box: Sequence[float], around: Sequence[float], off: float) -> bool:
    return (
        box[0] >= around[0] - off
        and box[1] >= around[1] - off
        and box[2] <= around[2] + off
        and box[3] <= around[3] + off
    )


def is_number_as_text(seen: Seen) -> bool:
    """A number for an answer (VQA-RAD has ten) is read as the text that it is written as."""
    known = {question.answer for record in seen.sound for question in record.questions}
    told = {question.answer for record in seen.changed for question in record.questions}
    return "7.5" in told and told <= {"7.5", *known}


def is_said_before(seen: Seen) -> bool:
    """A text that nothing names is a record each time; the curation keeps the first (`duplicate_text`)."""
    said = [(record.text, record.questions) for record in seen.records]
    return len(said) == 2 * len(seen.sound) and all(said.count(one) == 2 for one in said)


def is_the_same_picture(seen: Seen) -> bool:
    """The picture looks as it did, though its file is another."""
    pairs = zip(seen.records, seen.sound, strict=False)
    return len(seen.records) == len(seen.sound) and all(
        one.source_path == other.source_path and _shows(one, decode(other.image), close=1.0)
        for one, other in pairs
    )


def _stored(path: Path) -> Array:
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture)


def _all_show(seen: Seen, expected: Array) -> bool:
    return bool(seen.changed) and all(_shows_any_of(record, expected) for record in seen.changed)


def _shows_any_of(record: Record, expected: Array) -> bool:
    """Tell whether a record shows the picture, or a tile of it at full size."""
    return bool(expected.min() >= 0) and (_shows(record, expected) or _is_cut_of(record, expected))


def _is_cut_of(record: Record, whole: Array) -> bool:
    """Tell whether a tile at full size lies anywhere in the picture."""
    tile = decode(record.image).astype(float)
    whole = (whole if whole.ndim == 3 else np.repeat(whole[..., None], 3, axis=2)).astype(float)
    rows, columns = np.nonzero(np.abs(whole - tile[0, 0]).max(axis=-1) <= 2 * CLOSE)
    height, width = tile.shape[:2]
    cuts = (whole[row : row + height, column : column + width] for row, column in zip(rows, columns, strict=True))
    return any(cut.shape == tile.shape and np.abs(cut - tile).mean() <= CLOSE for cut in cuts)


def _shows(record: Record, expected: Array, close: float = CLOSE) -> bool:
    """Tell whether a record's image is this picture, (H, W) or (H, W, 3) of 0 to 255, at its stored size."""
    shown = decode(record.image).astype(float)
    wanted = resize(np.clip(expected, 0, 255).astype(np.uint8), shown.shape[:2]).astype(float)
    wanted = wanted if wanted.ndim == 3 else wanted[..., None]
    return float(np.abs(shown - wanted).mean()) <= close
