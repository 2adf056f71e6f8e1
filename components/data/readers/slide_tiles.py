"""Whole-slide images (Aperio .svs and other tiled TIFF) cut into tiles that show enough tissue.

Magnification and micrometres a pixel come from the Aperio header line; a slide without one says nothing of
them. Each tile carries its share of tissue, in words. Only the full-resolution level is read.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from components.data.card import Card
from components.data.image import store
from components.data.reading import Draft, ReadContext, Rejection, parse_options
from components.data.slides import aperio_facts, tissue_amount
from components.data.tiles import TileOptions, cut_tiles, tissue_share
from components.data.volume_records import Drafts, attempt, read_each
from components.records import Record
from components.settings import Words

VERSION = 1
PORTIONS = True


class Options(TileOptions):
    """Which slides and what is true of every tile."""

    slides: str = Field(description="glob of the slides")
    labels: Words = ()


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield the tiles of every slide."""
    options = parse_options(Options, card)
    drafts_of = functools.partial(_read_slide, options=options, max_side=context.max_side)
    yield from read_each(root, options.slides, card, context, drafts_of)


def _read_slide(path: Path, relative: str, *, options: Options, max_side: int) -> Drafts:
    opened = attempt(lambda: _open(path), relative)
    if isinstance(opened, Rejection):
        yield opened
        return
    pixels, facts = opened
    for top, left, tile in cut_tiles(pixels, options):
        yield Draft(
            path=relative, part=f"tile/{top:05d}-{left:05d}", labels=options.labels, window="stored",
            pixels=store(tile, max_side),
            facts=(*facts, ("tissue amount", tissue_amount(tissue_share(tile)))),
        )  # fmt: skip


def _open(path: Path) -> tuple[np.ndarray[Any, Any], tuple[tuple[str, str], ...]]:
    import tifffile

    try:
        with tifffile.TiffFile(path) as slide:
            page = slide.pages.first
            pixels, described = page.asarray(), str(page.description)
    except tifffile.TiffFileError as error:
        raise OSError(str(error)) from error
    if pixels.ndim != 3 or pixels.shape[2] < 3 or pixels.dtype != np.uint8:
        raise ValueError("not an 8-bit RGB slide")
    return pixels[:, :, :3], aperio_facts(described)
