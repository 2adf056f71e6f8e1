"""NRRD volume with a 3D Slicer segmentation (.seg.nrrd): named segments with coded terms in the header.

Source of the header fields: https://slicer.readthedocs.io, "Segmentations, file format". Overlapping segments
(a fourth, leading axis of layers) are laid over each other in layer order. Refused: a segment name the card
does not know, left and right the wrong way round.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from components.data.card import Card
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
from components.data.slices import LabelledVolume, SliceOptions, cut_slices, merge_codes, side_contradicts
from components.data.volumes import RAS_FROM_LPS, Volume, is_same_grid, resample_labels, to_lps
from components.records import Record

VERSION = 1
SPACES = {
    "left-posterior-superior": RAS_FROM_LPS, "lps": RAS_FROM_LPS,
    "right-anterior-superior": np.eye(4), "ras": np.eye(4),
}  # fmt: skip


class Options(SliceOptions):
    """Which files; `segments` may hold {folder} and {stem} of the volume."""

    volume: str = Field(description="glob of the volumes")
    segments: str = Field(description="segmentation of a volume")


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield the slices of every volume, with its segments as regions."""
    options = parse_options(Options, card)
    for path in find_files(root, options.volume):
        yield from finish_all(_read_volume(root, path, card, options, context.max_side), card, context)


def _read_volume(
    root: Path, path: Path, card: Card, options: Options, max_side: int
) -> Iterator[Draft | Rejection]:
    relative = path.relative_to(root).as_posix()
    beside = options.segments.format(folder=path.parent.relative_to(root).as_posix(), stem=path.stem)
    try:
        volume = to_lps(_read_nrrd(path)[0])
        segments, header = _read_nrrd(resolve_inside(root, beside))
    except UNREADABLE as error:
        yield Rejection(relative, reason_of(error))
        return
    segments = to_lps(segments)
    placed = segments if is_same_grid(segments, volume) else resample_labels(segments, volume)
    codes, terms, unknown = merge_codes(placed.voxels, segment_names(header), card)
    for name in unknown:
        yield Rejection(f"{relative}#{name}", "label_not_in_vocabulary")
    if side_contradicts(codes, terms):
        yield Rejection(relative, "side_contradicts_orientation")
        return
    labelled = LabelledVolume(path=relative, volume=volume, codes=codes, terms=terms, vocabulary=card.labels)
    yield from cut_slices(labelled, options, max_side=max_side)


def _read_nrrd(path: Path) -> tuple[Volume, Mapping[str, Any]]:
    import nrrd

    try:
        voxels, header = nrrd.read(str(path))
    except nrrd.NRRDError as error:
        raise OSError(str(error)) from error
    to_ras = SPACES.get(str(header.get("space", "")).lower())
    if to_ras is None:
        raise OSError(f"no known anatomical space: {header.get('space')!r}")
    directions = np.asarray(header["space directions"], dtype=float)
    if voxels.ndim == 4:
        voxels, directions = _flatten_layers(voxels), directions[-3:]
    affine = np.eye(4)
    affine[:3, :3] = directions.T
    affine[:3, 3] = header["space origin"]
    return Volume(voxels, to_ras @ affine), header


def _flatten_layers(voxels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    out = voxels[0].copy()
    for layer in voxels[1:]:
        out[layer > 0] = layer[layer > 0]
    return out


def segment_names(header: Mapping[str, Any]) -> dict[int, str]:
    """Map each segment's label value to its name."""
    numbers = (match[1] for key in header if (match := re.fullmatch(r"Segment(\d+)_LabelValue", key)))
    return {int(header[f"Segment{n}_LabelValue"]): str(header[f"Segment{n}_Name"]) for n in numbers}
