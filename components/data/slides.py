"""Whole-slide TIFF (tiled or striped, Aperio, Philips, plain) read by regions, never whole.

A level is one page of the pyramid; only the tiles of the file that a region touches are decoded, and a few are
kept for the next region. Refused, by name: `slide_level_missing`, `image_not_8_bit`, `image_not_a_picture` (a
palette or inks), `slide_not_tiled` (one piece of the file is over half a gigabyte).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from components.data.faults import Refused
from components.data.image import NOT_GREY_OR_RGB

Array = np.ndarray[Any, Any]
AMOUNTS = ((0.9, "almost all tissue"), (0.6, "mostly tissue"), (0.3, "about half tissue"), (0.0, "little tissue"))
KEPT_SEGMENTS = 64
GLASS = 255
MAX_SEGMENT_BYTES = 1 << 29


Segment = tuple[int, int, Array]  # top, left, pixels (H, W, S)


@dataclass(frozen=True, slots=True)
class SlideLevel:
    """One level: its size, how many full-resolution pixels one of its pixels is wide, the file's description.

    `segment` decodes one tile or strip of the file, None where the file stores nothing.
    """

    page: Any
    segment: Callable[[int], Segment | None]
    downsample: float
    described: str

    @property
    def height(self) -> int:
        """Rows of the level."""
        return self.page.imagelength

    @property
    def width(self) -> int:
        """Columns of the level."""
        return self.page.imagewidth

    def read(self, top: int, left: int, height: int, width: int) -> Array:
        """Return a region (height, width, samples); what lies outside, or is not stored, is glass (255)."""
        samples = self.page.samplesperpixel
        out = np.full((height, width, samples), GLASS, dtype=self.page.dtype)
        for index in self._touched(top, left, height, width):
            segment = self.segment(index)
            if segment is None:
                continue
            at_top, at_left, pixels = segment
            first_row, first_column = max(top, at_top), max(left, at_left)
            last_row = min(top + height, self.height, at_top + pixels.shape[0])
            last_column = min(left + width, self.width, at_left + pixels.shape[1])
            if first_row < last_row and first_column < last_column:
                out[first_row - top : last_row - top, first_column - left : last_column - left] = pixels[
                    first_row - at_top : last_row - at_top, first_column - at_left : last_column - at_left
                ]
        return out

    def _touched(self, top: int, left: int, height: int, width: int) -> Iterator[int]:
        page = self.page
        tall = page.tilelength if page.is_tiled else page.rowsperstrip
        wide = page.tilewidth if page.is_tiled else self.width
        across = -(-self.width // wide)
        down = -(-self.height // tall)
        for row in range(max(0, top // tall), min(down, -(-(top + height) // tall))):
            for column in range(max(0, left // wide), min(across, -(-(left + width) // wide))):
                yield row * across + column


def _decode(page: Any, index: int) -> Segment | None:
    offset, count = page.dataoffsets[index], page.databytecounts[index]
    if not count:
        return None
    handle = page.parent.filehandle
    handle.seek(offset)
    data, place, shape = page.decode(handle.read(count), index, jpegtables=page.jpegtables)
    return None if data is None else (place[2], place[3], data[0, : shape[1], : shape[2]])


@contextmanager
def open_slide(path: Path, level: int = 0) -> Generator[SlideLevel]:
    """Open one level of a slide.

    Raises OSError when it is no TIFF, Refused when it has no such level or is not stored in 8 bits.
    """
    import tifffile

    try:
        with tifffile.TiffFile(path) as slide:
            levels = slide.series[0].levels
            if level >= len(levels):
                raise Refused("slide_level_missing")
            page: Any = levels[level].pages[0]
            first: Any = levels[0].pages[0]
            rows, columns = page.rowsperstrip, page.imagewidth
            if page.is_tiled:
                rows, columns = page.tilelength, page.tilewidth
            if float(min(rows, page.imagelength)) * columns * page.samplesperpixel > MAX_SEGMENT_BYTES:
                raise Refused("slide_not_tiled")
            if page.photometric in NOT_GREY_OR_RGB:
                raise Refused("image_not_a_picture")
            if page.dtype != np.uint8 or page.planarconfig != 1:
                raise Refused("image_not_8_bit")
            segment = lru_cache(maxsize=KEPT_SEGMENTS)(partial(_decode, page))
            downsample = first.imagewidth / page.imagewidth
            yield SlideLevel(page, segment, downsample, str(slide.pages.first.description))
    except tifffile.TiffFileError as error:
        raise OSError(str(error)) from error


def tissue_amount(share: float) -> str:
    """Say in words how much of a tile is tissue (`tiles.tissue_share`)."""
    return next(words for least, words in AMOUNTS if share >= least)


def aperio_facts(described: str) -> tuple[tuple[str, str], ...]:
    """Read magnification and micrometres a pixel out of an Aperio header ("…|AppMag = 20|…|MPP = 0.4990|…")."""
    power, spacing = re.search(r"AppMag = ([\d.]+)", described), re.search(r"MPP = ([\d.]+)", described)
    facts = []
    if power:
        facts.append(("magnification", f"{float(power[1]):g}x"))
    if spacing:
        facts.append(("micrometres per pixel", f"{float(spacing[1]):.2f}"))
    return tuple(facts)
