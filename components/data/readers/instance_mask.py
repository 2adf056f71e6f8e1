"""A picture with an instance mask: one number an object, 0 for background; tiles, boxes and counts.

An object cut by a tile's edge is listed when at least `min_visible` of it shows; a tile in which a smaller
piece shows is not complete, so nobody counts there. Pictures without a mask (`masks: ""`) give plain tiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from components.data.card import Card, Term
from components.data.faults import Refused
from components.data.image import NOT_GREY_OR_RGB, open_pixels, resize, resize_labels, stored_size
from components.data.masks import make_region
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
from components.data.tiles import TileOptions, cut_tiles
from components.data.windows import WindowName, bounds, to_grey
from components.records import Department, Modality, Record, Region, Task
from components.settings import Frozen, Share, Words

VERSION = 1
PORTIONS = True
Array = np.ndarray[Any, Any]


class Group(TileOptions):
    """Pictures of one kind; `masks` may hold {folder} and {stem} of the picture."""

    images: str = Field(description="glob of the pictures")
    masks: str = Field(default="", description="instance mask of a picture")
    label: str = Field(default="", description="what every instance is, in the source's word")
    window: WindowName = "stored"
    min_visible: Share = Field(default=0.5, description="share of an object that must lie in the tile")
    modality: Modality | None = None
    department: Department | None = None
    task: Task | None = None
    labels: Words = ()
    body_part: str = ""
    facts: dict[str, str] = Field(default_factory=dict)


class Options(Frozen):
    """The groups of pictures."""

    groups: tuple[Group, ...] = Field(min_length=1)


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield the tiles of every picture, with the instances as regions."""
    for group in parse_options(Options, card).groups:
        for path in find_files(root, group.images):
            if not context.takes(path.relative_to(root).as_posix()):
                continue
            yield from finish_all(_read_picture(root, path, group, card, context.max_side), card, context)


def _read_picture(root: Path, path: Path, group: Group, card: Card, max_side: int) -> Iterator[Draft | Rejection]:
    relative = path.relative_to(root).as_posix()
    try:
        pixels = _open(path, group.window)
        instances = _open_mask(root, path, group) if group.masks else None
    except UNREADABLE as error:
        yield Rejection(relative, reason_of(error))
        return
    term = card.term(group.label) if group.masks else Term(label="")
    if term is None:
        yield Rejection(relative, "label_not_in_vocabulary")
        return
    if instances is not None and instances.shape != pixels.shape[:2]:
        yield Rejection(relative, "mask_of_another_size")
        return
    whole = np.bincount(instances.reshape(-1)) if instances is not None else np.zeros(1, dtype=int)
    for top, left, tile in cut_tiles(pixels, group):
        seen = None if instances is None else instances[top : top + group.side, left : left + group.side]
        size = stored_size(*tile.shape[:2], max_side=max_side)
        found = ((), False) if seen is None else _regions(seen, whole, term, group, size)
        yield _draft(relative, (top, left), resize(tile, size), found, term, group)


def _draft(
    relative: str, corner: tuple[int, int], pixels: Array, found: tuple[tuple[Region, ...], bool], term: Term,
    group: Group,
) -> Draft:  # fmt: skip
    regions, complete = found
    return Draft(
        path=relative, part=f"tile/{corner[0]:05d}-{corner[1]:05d}", pixels=pixels,
        modality=group.modality or "", department=group.department or "", task=group.task or "",
        body_part=group.body_part, labels=group.labels, regions=regions, regions_complete=complete,
        region_vocabulary=(term.label,) if complete else (), window=group.window,
        facts=tuple(sorted(group.facts.items())),
    )  # fmt: skip


def _regions(
    instances: Array, whole: Array, term: Term, group: Group, size: tuple[int, int]
) -> tuple[tuple[Region, ...], bool]:
    stored = resize_labels(instances, size)
    codes, counts = np.unique(instances, return_counts=True)
    visible = {int(c): int(n) / int(whole[c]) for c, n in zip(codes, counts, strict=True) if c}
    listed = [code for code, share in visible.items() if share >= group.min_visible and (stored == code).any()]
    return tuple(make_region(stored == code, term) for code in listed), len(listed) == len(visible)


def _open(path: Path, window: WindowName) -> Array:
    if path.suffix.lower() not in (".tif", ".tiff"):
        return open_pixels(path)
    pixels = _open_tiff(path)
    if pixels.dtype != np.uint8 and window == "stored":
        raise Refused("image_not_8_bit", path.name)
    return pixels if pixels.dtype == np.uint8 and window == "stored" else to_grey(pixels, *bounds(window, pixels))


def _open_mask(root: Path, path: Path, group: Group) -> Array:
    folder = path.parent.relative_to(root).as_posix()
    mask = resolve_inside(root, group.masks.format(folder=folder, stem=path.stem))
    if not mask.is_file():
        raise FileNotFoundError(mask)
    return _open_tiff(mask) if mask.suffix.lower() in (".tif", ".tiff") else open_pixels(mask)


def _open_tiff(path: Path) -> Array:
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            if tiff.pages.first.photometric in NOT_GREY_OR_RGB:
                raise Refused("image_not_a_picture", path.name)
            return tiff.asarray()
    except tifffile.TiffFileError as error:
        raise OSError(str(error)) from error
