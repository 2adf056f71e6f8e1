"""NIfTI volume with a label map and a name table, with probability maps, or with an atlas on another grid.

One volume a match of `volume`; beside it either `labels` (codes named by a CSV table or by their number) or
`probability_maps` (the most probable map at or above the threshold). A label map on another grid is brought
over by the affines. Refused: a label the card does not know, left and right the wrong way round.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, model_validator

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
from components.data.slices import (
    LabelledVolume,
    SliceOptions,
    cut_slices,
    find_levels,
    merge_codes,
    side_contradicts,
)
from components.data.volumes import Volume, is_same_grid, read_nifti, resample_labels, to_lps
from components.errors import DatasetMissing
from components.records import Record
from components.settings import Frozen, Share

VERSION = 1


class NameTable(Frozen):
    """A CSV file that names label codes."""

    file: str
    code: str = Field(description="column of the code")
    name: str = Field(description="column of the name")


class Options(SliceOptions):
    """`labels` and the maps may hold {folder} and {stem} of the volume they belong to."""

    volume: str = Field(description="glob of the volumes")
    labels: str = Field(default="", description="label map of a volume")
    names: NameTable | None = None
    probability_maps: dict[str, str] = Field(default_factory=dict, description="source label -> file")
    probability_threshold: Share = Field(default=0.5, description="share of a map's maximum")

    @model_validator(mode="after")
    def _one_kind_of_labels(self) -> Options:
        if bool(self.labels) == bool(self.probability_maps):
            raise ValueError("give either `labels` or `probability_maps`")
        return self


@dataclass(frozen=True, slots=True)
class _Codes:
    volume: Volume
    names: dict[int, str]


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield the slices of every volume, with its labels as regions."""
    options = parse_options(Options, card)
    for path in find_files(root, options.volume):
        yield from finish_all(_read_volume(root, path, card, options, context.max_side), card, context)


def _read_volume(
    root: Path, path: Path, card: Card, options: Options, max_side: int
) -> Iterator[Draft | Rejection]:
    relative = path.relative_to(root).as_posix()
    try:
        volume = to_lps(read_nifti(path)[0])
        codes = _read_codes(root, path, options, volume)
    except UNREADABLE as error:
        yield Rejection(relative, reason_of(error))
        return
    merged, terms, unknown = merge_codes(codes.volume.voxels, codes.names, card)
    for name in unknown:
        yield Rejection(f"{relative}#{name}", "label_not_in_vocabulary")
    if side_contradicts(merged, terms):
        yield Rejection(relative, "side_contradicts_orientation")
        return
    levels = find_levels(codes.names, options.level_pattern)
    labelled = LabelledVolume(
        path=relative, volume=volume, codes=merged, terms=terms, vocabulary=card.labels,
        level_codes=codes.volume.voxels if levels else None, levels=levels,
    )  # fmt: skip
    yield from cut_slices(labelled, options, max_side=max_side)


def _read_codes(root: Path, path: Path, options: Options, target: Volume) -> _Codes:
    if options.probability_maps:
        maps = {name: _beside(root, path, file) for name, file in options.probability_maps.items()}
        return _most_probable(maps, options.probability_threshold, target)
    labels = to_lps(read_nifti(_beside(root, path, options.labels))[0])
    placed = labels if is_same_grid(labels, target) else resample_labels(labels, target)
    names = _read_names(root, options.names) if options.names else {}
    return _Codes(Volume(_whole(placed.voxels), placed.affine), names)


def _most_probable(files: dict[str, Path], threshold: float, target: Volume) -> _Codes:
    best = np.zeros(target.voxels.shape, dtype=np.float32)
    codes = np.zeros(target.voxels.shape, dtype=np.uint8)
    for code, file in enumerate(files.values(), start=1):
        found = to_lps(read_nifti(file)[0])
        placed = found if is_same_grid(found, target) else resample_labels(found, target)
        share = placed.voxels.astype(np.float32) / max(float(placed.voxels.max()), 1e-6)
        wins = (share >= threshold) & (share > best)
        codes[wins], best[wins] = code, share[wins]
    return _Codes(Volume(codes, target.affine), dict(enumerate(files, start=1)))


def _whole(voxels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if voxels.size and voxels.min() < 0:
        raise ValueError("a label map has negative codes")
    return voxels.astype(np.uint16)


def _beside(root: Path, volume: Path, pattern: str) -> Path:
    folder = volume.parent.relative_to(root).as_posix()
    stem = volume.name.split(".", maxsplit=1)[0]
    path = resolve_inside(root, pattern.format(folder=folder, stem=stem))
    if not path.is_file():
        raise FileNotFoundError(path)
    return path


def _read_names(root: Path, table: NameTable) -> dict[int, str]:
    path = resolve_inside(root, table.file)
    if not path.is_file():
        raise DatasetMissing("name table is absent", where=str(path), fix="gmai sources; gmai sample-data")
    with path.open(newline="", encoding="utf-8") as handle:
        return {int(row[table.code]): row[table.name] for row in csv.DictReader(handle)}
