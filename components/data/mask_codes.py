"""Mask pictures: which pixel value or colour stands for which label, and the masks of one file by that.

A value that nothing explains refuses the file (`mask_value_unknown`): a wrong map must not pass for an empty
picture. Compressed masks blur their values; `tolerance` and `threshold` are for those.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from components.data.faults import Refused
from components.data.outlines import Mask
from components.data.pictures import read_pixels
from components.settings import Frozen

Codes = np.ndarray[Any, Any]  # (H, W) integers
COLOUR = re.compile(r"#?([0-9a-fA-F]{6})|(\d{1,3}),\s*(\d{1,3}),\s*(\d{1,3})")


class MaskCoding(Frozen):
    """How a mask file's pixels are read; one of `label`, `values` and `colours` is given."""

    label: str = Field(default="", description="what every marked pixel is, in the source's word")
    values: dict[int, str] = Field(default_factory=dict, description="grey value or palette index -> source label")
    colours: dict[str, str] = Field(default_factory=dict, description='"#rrggbb" or "r, g, b" -> source label')
    holds: Literal["classes", "objects", "one object"] = Field(
        default="classes",
        description="`classes`: a label's pixels are one region; `objects`: with `label`, each number or colour is"
        " an object; `one object`: each file is an object",
    )
    threshold: int = Field(default=0, ge=0, description="with `label`: brighter pixels are marked")
    inverted: bool = Field(default=False, description="with `label`: the dark pixels are marked")
    background: tuple[int | str, ...] = Field(default=(0, "#000000"), description="values or colours of nothing")
    tolerance: int = Field(
        default=0, ge=0, le=255, description="a value or colour may be off by so much a channel"
    )
    unknown: Literal["refuse", "background"] = Field(default="refuse", description="values that nothing explains")

    @model_validator(mode="after")
    def _one_coding(self) -> MaskCoding:
        if sum(map(bool, (self.label, self.values, self.colours))) != 1:
            raise ValueError("give one of `label`, `values` and `colours`")
        if self.holds == "objects" and not self.label:
            raise ValueError("`holds: objects` goes with `label`")
        for text in (*self.colours, *(entry for entry in self.background if isinstance(entry, str))):
            parse_colour(text)
        return self

    @property
    def words(self) -> tuple[str, ...]:
        """Every source label that this coding may give."""
        return tuple(
            dict.fromkeys((*((self.label,) if self.label else ()), *self.values.values(), *self.colours.values()))
        )


def parse_colour(text: str) -> int:
    """Return 0xRRGGBB of "#rrggbb" or "r, g, b"; raises ValueError."""
    match = COLOUR.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"not a colour: {text!r}")
    if match[1]:
        return int(match[1], 16)
    channels = [int(match[number]) for number in (2, 3, 4)]
    if max(channels) > 255:
        raise ValueError(f"not a colour: {text!r}")
    return channels[0] << 16 | channels[1] << 8 | channels[2]


def read_marks(path: Path, coding: MaskCoding) -> tuple[tuple[int, int], Iterator[tuple[str, Mask]]]:
    """Return the file's (height, width) and, one by one, its (source label, mask of that size).

    Raises Refused (`mask_value_unknown`, `mask_not_grey`, those of `read_pixels`) or OSError.
    """
    raw = _read_raw(path, keeps_palette=not coding.colours)
    return (raw.shape[0], raw.shape[1]), _marks(raw, coding)


def _read_raw(path: Path, *, keeps_palette: bool) -> Codes:
    if path.suffix.lower() == ".npy":
        raw = np.load(path, allow_pickle=False)
        if raw.ndim not in (2, 3) or raw.dtype.kind not in "biuf":
            raise Refused("mask_not_a_picture", f"{raw.shape} {raw.dtype}")
        return raw
    return read_pixels(path, palette=keeps_palette)


def _marks(raw: Codes, coding: MaskCoding) -> Iterator[tuple[str, Mask]]:
    if coding.colours:
        known = {parse_colour(text): word for text, word in coding.colours.items()}
        background = {parse_colour(entry) for entry in coding.background if isinstance(entry, str)}
        yield from _by_code(_packed(raw), known, background, coding)
    elif coding.values:
        background = {entry for entry in coding.background if isinstance(entry, int)}
        yield from _by_code(_grey(raw), coding.values, background, coding)
    elif coding.holds == "objects":
        codes = _packed(raw) if raw.ndim == 3 else raw
        yield from ((coding.label, codes == code) for code in np.unique(codes).tolist() if code)
    else:
        bright = (raw.max(axis=2) if raw.ndim == 3 else raw) > coding.threshold
        yield coding.label, ~bright if coding.inverted else bright


def _packed(raw: Codes) -> Codes:
    """Give each pixel's colour one number, 0xRRGGBB."""
    colour = np.repeat(raw[:, :, None], 3, axis=2) if raw.ndim == 2 else raw[:, :, :3]
    wide = colour.astype(np.int32)
    return wide[:, :, 0] << 16 | wide[:, :, 1] << 8 | wide[:, :, 2]


def _grey(raw: Codes) -> Codes:
    if raw.ndim == 3:
        if (raw != raw[:, :, :1]).any():
            raise Refused("mask_not_grey", "its channels differ; name `colours`")
        raw = raw[:, :, 0]
    return raw.astype(np.int64)


def _by_code(
    codes: Codes, known: Mapping[int, str], background: set[int], coding: MaskCoding
) -> Iterator[tuple[str, Mask]]:
    """Yield one mask a source label, in the order of the map; labels that do not occur are left out."""
    meant: dict[str, list[int]] = {}
    for code in np.unique(codes).tolist():
        nearest = min((*known, *background), key=lambda other: (_distance(code, other), other))
        if _distance(code, nearest) > coding.tolerance:
            if coding.unknown == "refuse":
                raise Refused("mask_value_unknown", str(code))
        elif nearest in known:
            meant.setdefault(known[nearest], []).append(code)
    for word in coding.words:
        if word in meant:
            yield word, np.isin(codes, meant[word])


def _distance(one: int, other: int) -> int:
    """Return the largest difference of a channel; a grey value has one channel."""
    if max(one, other) <= 0xFF:
        return abs(one - other)
    return max(abs((one >> shift & 0xFF) - (other >> shift & 0xFF)) for shift in (0, 8, 16))
