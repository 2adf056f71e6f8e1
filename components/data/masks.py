"""Masks: run lengths, bounding boxes, and label images turned into regions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.data.card import Term
from components.records import Box, Region

Mask = np.ndarray[Any, Any]  # (H, W) bool


def encode_runs(mask: Mask) -> str:
    """Write a mask as "height width start length start length …" over row-major pixels, starts from 0."""
    flat = np.concatenate([[False], mask.reshape(-1), [False]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    runs = edges.reshape(-1, 2)
    numbers = [*mask.shape, *(number for start, stop in runs.tolist() for number in (start, stop - start))]
    return " ".join(map(str, numbers))


def decode_runs(text: str) -> Mask:
    """Read `encode_runs` back into (H, W) bool; raises ValueError when the runs do not fit."""
    height, width, *runs = (int(number) for number in text.split())
    if len(runs) % 2:
        raise ValueError("odd number of run fields")
    flat = np.zeros(height * width, dtype=bool)
    for start, length in zip(runs[::2], runs[1::2], strict=True):
        if start < 0 or length < 1 or start + length > flat.size:
            raise ValueError(f"run {start}+{length} leaves a mask of {flat.size} pixels")
        flat[start : start + length] = True
    return flat.reshape(height, width)


def box_of(mask: Mask) -> Box:
    """Return (left, top, right, bottom) as shares of width and height; raises ValueError for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        raise ValueError("an empty mask has no box")
    height, width = mask.shape
    return (
        float(columns[0] / width), float(rows[0] / height),
        float((columns[-1] + 1) / width), float((rows[-1] + 1) / height),
    )  # fmt: skip


def make_region(mask: Mask, term: Term, *, pixel_mm2: float = 0.0) -> Region:
    """Describe one object; `pixel_mm2` is the area of a stored pixel, 0 when the spacing is not known."""
    area = int(mask.sum())
    return Region(
        label=term.label, side=term.side, box=box_of(mask), mask=encode_runs(mask),
        area_fraction=area / mask.size, area_mm2=area * pixel_mm2,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """The regions of one label image, and the labels of which something was too small to be listed."""

    regions: tuple[Region, ...]
    too_small: frozenset[str]


def find_regions(
    labels: np.ndarray[Any, Any], terms: Mapping[int, Term], *, min_area: float, pixel_mm2: float = 0.0
) -> Found:
    """Turn a label image (H, W) into one region per code, in code order.

    `min_area` is a share of the image. A code below it is not listed; its label is named in `too_small`, so
    that nobody claims its absence.
    """
    codes, counts = np.unique(labels, return_counts=True)
    regions, too_small = [], set()
    for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
        if code not in terms:
            continue
        if count < max(1.0, min_area * labels.size):
            too_small.add(terms[code].label)
            continue
        regions.append(make_region(labels == code, terms[code], pixel_mm2=pixel_mm2))
    return Found(tuple(regions), frozenset(too_small))
