"""Outlines of objects as datasets publish them: polygons, and three ways of writing run lengths.

COCO's runs go down the columns and begin with a run of background; its compressed form packs the counts into
text, five bits a character, each from the third on as the difference to the count two before (the format's
own description: github.com/cocodataset/cocoapi, common/maskApi.c). Kaggle's runs are "start length" pairs,
usually down the columns and counted from 1 (kaggle.com/c/airbus-ship-detection, data page).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from components.data.faults import Refused

OVERSHOOT_PIXELS = 1.0  # rounding, or counting from one
Mask = np.ndarray[Any, Any]  # (H, W) bool


def fill_polygon(corners: Sequence[float], height: int, width: int) -> Mask:
    """Fill one polygon "x y x y …" in pixels: a pixel belongs to it when its centre does (even-odd rule).

    Raises Refused: `polygon_malformed` for fewer than three corners, an odd count or a number that is none;
    `polygon_outside_image` when a corner lies more than a pixel outside.
    """
    points = np.asarray(corners, dtype=float)
    if points.size < 6 or points.size % 2 or not np.isfinite(points).all():
        raise Refused("polygon_malformed", f"{points.size} numbers")
    ends = points.reshape(-1, 2)
    if ends.min() < -OVERSHOOT_PIXELS or (ends.max(axis=0) > np.array([width, height]) + OVERSHOOT_PIXELS).any():
        raise Refused("polygon_outside_image", f"{width} x {height}")
    starts = np.roll(ends, 1, axis=0)
    mask = np.zeros((height, width), dtype=bool)
    first = max(0, int(np.floor(ends[:, 1].min())))
    for row in range(first, min(height, int(np.ceil(ends[:, 1].max())) + 1)):
        _fill_row(mask[row], starts, ends, row + 0.5)
    return mask


def _fill_row(row: Mask, starts: np.ndarray[Any, Any], ends: np.ndarray[Any, Any], level: float) -> None:
    """Fill one row of a mask, which is this module's to write, between the crossings at `level`."""
    crosses = (starts[:, 1] <= level) != (ends[:, 1] <= level)
    (x0, y0), (x1, y1) = starts[crosses].T, ends[crosses].T
    crossings = np.sort(x0 + (level - y0) * (x1 - x0) / (y1 - y0))
    edges = np.clip(np.ceil(crossings - 0.5), 0, row.size).astype(int)
    for left, right in zip(edges[::2], edges[1::2], strict=True):
        row[left:right] = True


def fill_polygons(polygons: Iterable[Sequence[float]], height: int, width: int) -> Mask:
    """Fill several polygons of one object; they add up."""
    mask = np.zeros((height, width), dtype=bool)
    for polygon in polygons:
        mask |= fill_polygon(polygon, height, width)
    return mask


def decode_counts(counts: Sequence[int], height: int, width: int) -> Mask:
    """Decode COCO's uncompressed counts, background first, down the columns; Refused (`runs_malformed`)."""
    lengths = np.asarray(counts)
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or (lengths < 0).any():
        raise Refused("runs_malformed", "a count is no natural number")
    if int(lengths.sum()) != height * width:
        raise Refused("runs_malformed", f"{int(lengths.sum())} pixels in runs, {height} x {width} in the picture")
    values = np.arange(lengths.size) % 2 == 1
    return np.repeat(values, lengths).reshape(width, height).T


def unpack_counts(text: str) -> list[int]:
    """Unpack COCO's compressed counts; Refused (`runs_malformed`) for text that is none."""
    counts: list[int] = []
    value, shift = 0, 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 50:
            raise Refused("runs_malformed", repr(character))
        value |= (code & 0x1F) << shift
        shift += 5
        if not code & 0x20:
            value -= (1 << shift) if code & 0x10 else 0
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value, shift = 0, 0
    if shift:
        raise Refused("runs_malformed", "the text is cut short")
    return counts


def decode_pairs(text: str, height: int, width: int, *, by_columns: bool = True, first: int = 1) -> Mask:
    """Decode "start length start length …"; Refused (`runs_malformed`) when it does not fit the picture."""
    try:
        numbers = np.array([int(word) for word in text.split()], dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise Refused("runs_malformed", text[:40]) from error
    if numbers.size % 2:
        raise Refused("runs_malformed", "an odd number of fields")
    flat = np.zeros(height * width, dtype=bool)
    for start, length in numbers.reshape(-1, 2).tolist():
        if start < first or length < 1 or start - first + length > flat.size:
            raise Refused("runs_malformed", f"run {start}+{length} leaves {height} x {width} pixels")
        flat[start - first : start - first + length] = True
    return flat.reshape(width, height).T if by_columns else flat.reshape(height, width)
