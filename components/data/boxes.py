"""Boxes of every published convention become shares of the picture; objects become regions or rejections.

A box may overshoot the picture by one pixel (rounding, counting from one) and is then clipped; more is
`box_outside_image`. A box without area is `box_degenerate`. One bad object is refused by itself: its label
then leaves the picture's vocabulary, so that nobody claims to know every object of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from components.data.card import Card, Term
from components.data.faults import Refused
from components.data.image import resize_labels, stored_size
from components.data.masks import make_region
from components.data.outlines import OVERSHOOT_PIXELS
from components.data.reading import Rejection
from components.records import Box, Region

BoxForm = Literal["corners", "corner and size", "centre and size"]
SLACK = 1e-6  # of a pixel, for shares that were written as decimals


@dataclass(frozen=True, slots=True)
class Sketch:
    """One object as its file has it: the source's word, and a box in shares or a mask (H, W) at full size.

    `name` tells it apart in a rejection; `fault` is the reason why its shape cannot be used. A faulty object
    without a word could be of any label.
    """

    word: str
    name: str
    box: Box | None = None
    mask: np.ndarray[Any, Any] | None = None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Drawn:
    """The regions of one picture, the labels of which every object is listed, and what was refused."""

    regions: tuple[Region, ...] = ()
    vocabulary: tuple[str, ...] = ()
    refused: tuple[Rejection, ...] = ()


def kind_of(drawn: Drawn) -> str:
    """Name what the regions of a picture are: masks only where every one has its outline."""
    outlined = drawn.regions and all(region.mask for region in drawn.regions)
    return "instance mask" if outlined else "instance box"


def annotation_fact(card: Card, kind: str) -> tuple[tuple[str, str], ...]:
    """What a region of this source is ("instance box", "instance mask"), unless the card itself says."""
    return () if "annotation" in card.facts else (("annotation", kind),)


def to_corners(numbers: Sequence[float], form: BoxForm) -> Box:
    """Turn four numbers into (left, top, right, bottom), in the unit they came in."""
    first, second, third, fourth = numbers
    if form == "corners":
        return first, second, third, fourth
    if form == "corner and size":
        return first, second, first + third, second + fourth
    return first - third / 2, second - fourth / 2, first + third / 2, second + fourth / 2


def to_shares(corners: Box, width: float, height: float) -> Box:
    """Turn corners in pixels into shares of the picture, clipped within one pixel of its edge.

    Raises Refused: `box_not_a_number`, `box_degenerate`, `box_outside_image`.
    """
    left, top, right, bottom = corners
    if not all(math.isfinite(number) for number in corners):
        raise Refused("box_not_a_number", str(corners))
    if right <= left or bottom <= top:
        raise Refused("box_degenerate", str(corners))
    if min(left, top, width - right, height - bottom) < -OVERSHOOT_PIXELS - SLACK:
        raise Refused("box_outside_image", f"{corners} in {width} x {height}")
    left, top, right, bottom = max(left, 0.0), max(top, 0.0), min(right, width), min(bottom, height)
    if right <= left or bottom <= top:
        raise Refused("box_outside_image", str(corners))
    return left / width, top / height, right / width, bottom / height


def parse_numbers(texts: Iterable[str]) -> list[float]:
    """Read numbers; Refused (`box_not_a_number`) for text that is none."""
    texts = list(texts)
    try:
        return [float(text) for text in texts]
    except ValueError as error:
        raise Refused("box_not_a_number", " ".join(texts)) from error


def draw(
    sketches: Iterable[Sketch], path: str, card: Card, *, size: tuple[int, int], max_side: int,
    complete: Iterable[str] = (),
) -> Drawn:  # fmt: skip
    """Turn one picture's objects into regions at the stored size.

    `size` is the picture's own (height, width); `complete` are the source's words of which every object is
    listed in this picture. A label of which an object was refused, or is too small to be seen at the stored
    size, is not complete.
    """
    regions: list[Region] = []
    refused: list[Rejection] = []
    doubtful: set[str] = set()
    stored = stored_size(*size, max_side=max_side)
    for sketch in sketches:
        term = card.term(sketch.word)
        if term is not None and not term.label:
            continue
        region, reason = _region(sketch, term, stored)
        if reason:
            refused.append(Rejection(f"{path}#{sketch.name}", reason))
        if region is not None:
            regions.append(region)
        else:
            doubtful.add(term.label if term else sketch.word)
    terms = [card.term(word) for word in complete if "" not in doubtful]
    known = {term.label for term in terms if term and term.label} - doubtful
    return Drawn(tuple(regions), tuple(sorted(known)), tuple(refused))


def _region(sketch: Sketch, term: Term | None, stored: tuple[int, int]) -> tuple[Region | None, str]:
    """Return the region, or None with the reason ("" for an object too small to be seen)."""
    if sketch.fault:
        return None, sketch.fault
    if term is None:
        return None, "label_not_in_vocabulary"
    if sketch.mask is None:
        return (Region(term.label, sketch.box, term.side), "") if sketch.box else (None, "box_degenerate")
    if not sketch.mask.any():
        return None, "mask_empty"
    small = resize_labels(sketch.mask, stored)
    return (make_region(small, term), "") if small.any() else (None, "")
