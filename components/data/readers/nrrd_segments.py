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

from pydantic import Field

from components.data.card import Card
from components.data.reading import ReadContext, Rejection, parse_options, resolve_inside
from components.data.slices import SliceOptions
from components.data.volume_files import read_nrrd
from components.data.volume_records import NamedCodes, place_labels, read_labelled
from components.data.volumes import Volume, to_lps
from components.records import Record

VERSION = 1
PORTIONS = True


class Options(SliceOptions):
    """Which files; `segments` may hold {folder} and {stem} of the volume."""

    volume: str = Field(description="glob of the volumes")
    segments: str = Field(description="segmentation of a volume")


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield the slices of every volume, with its segments as regions."""
    options = parse_options(Options, card)

    def load(path: Path) -> tuple[Volume, NamedCodes]:
        beside = options.segments.format(folder=path.parent.relative_to(root).as_posix(), stem=path.stem)
        volume = to_lps(read_nrrd(path)[0])
        segments, header = read_nrrd(resolve_inside(root, beside))
        return volume, NamedCodes(place_labels(to_lps(segments), volume), segment_names(header))

    yield from read_labelled(root, options.volume, card, context, options=options, load=load)


def segment_names(header: Mapping[str, Any]) -> dict[int, str]:
    """Map each segment's label value to its name."""
    numbers = (match[1] for key in header if (match := re.fullmatch(r"Segment(\d+)_LabelValue", key)))
    return {int(header[f"Segment{n}_LabelValue"]): str(header[f"Segment{n}_Name"]) for n in numbers}
