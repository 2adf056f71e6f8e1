"""NIfTI volume with a label map and a name table, with probability maps, or with an atlas on another grid.

One volume a match of `volume`; beside it either `labels` (codes named by a CSV table or by their number) or
`probability_maps` (the most probable map at or above the threshold). A label map on another grid is brought
over by the affines. Refused: a label the card does not know, left and right the wrong way round.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from components.data.card import Card
from components.data.reading import ReadContext, Rejection, parse_options, resolve_inside
from components.data.slices import SliceOptions
from components.data.volume_records import NamedCodes, place_labels, read_labelled
from components.data.volumes import Volume, read_nifti, to_lps
from components.errors import DataError, DatasetMissing
from components.records import Record
from components.settings import Frozen, Share

VERSION = 1
PORTIONS = True


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


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield the slices of every volume, with its labels as regions."""
    options = parse_options(Options, card)

    def load(path: Path) -> tuple[Volume, NamedCodes]:
        volume = to_lps(read_nifti(path)[0])
        return volume, _read_codes(root, path, options, volume)

    yield from read_labelled(root, options.volume, card, context, options=options, load=load)


def _read_codes(root: Path, path: Path, options: Options, target: Volume) -> NamedCodes:
    if options.probability_maps:
        maps = {name: _beside(root, path, file) for name, file in options.probability_maps.items()}
        return _most_probable(maps, options.probability_threshold, target)
    labels = to_lps(read_nifti(_beside(root, path, options.labels))[0])
    placed = place_labels(labels, target)
    names = _read_names(root, options.names) if options.names else {}
    return NamedCodes(Volume(_whole(placed.voxels), placed.affine), names)


def _most_probable(files: dict[str, Path], threshold: float, target: Volume) -> NamedCodes:
    best = np.zeros(target.voxels.shape, dtype=np.float32)
    codes = np.zeros(target.voxels.shape, dtype=np.uint8)
    for code, file in enumerate(files.values(), start=1):
        found = to_lps(read_nifti(file)[0])
        placed = place_labels(found, target)
        share = placed.voxels.astype(np.float32) / max(float(placed.voxels.max()), 1e-6)
        wins = (share >= threshold) & (share > best)
        codes[wins], best[wins] = code, share[wins]
    return NamedCodes(Volume(codes, target.affine), dict(enumerate(files, start=1)))


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
        raise DatasetMissing(
            "table_missing: name table is absent", where=str(path), fix="gmai sources; gmai sample-data"
        )
    with path.open(newline="", encoding="utf-8") as handle:
        rows = csv.DictReader(handle)
        missing = {table.code, table.name} - set(rows.fieldnames or ())
        if missing:
            told = f"table_columns_missing: no column {', '.join(sorted(missing))}"
            raise DataError(told, where=str(path), fix="mend the card's `names`")
        return {int(row[table.code]): row[table.name] for row in rows}
