"""A labelled volume becomes slices with regions: the part that every volumetric format shares.

Slices are taken at a fixed step in each asked plane and kept only if they show enough; labels travel with
them at the stored resolution. A volume whose left and right labels lie on the wrong sides of each other is
refused: its orientation cannot be trusted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydantic import Field

from components.data.card import Card, Term
from components.data.image import resize, resize_labels, stored_size
from components.data.masks import find_regions
from components.data.reading import Draft
from components.data.volumes import AXIS_OF, Volume, display, display_spacing, stated_plane
from components.data.windows import WindowName, bounds, to_grey
from components.records import NOT_STATED, Plane, Region
from components.settings import Frozen, Share

CUTTING_PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")


class SliceOptions(Frozen):
    """How a volume is cut; part of every volumetric reader's options."""

    planes: dict[Plane, int] = Field(min_length=1, description="plane -> every how manieth slice")
    windows: tuple[WindowName, ...] = Field(min_length=1, description="taken in turn over the kept slices")
    min_content: Share = Field(default=0.02, description="share of the slice that must not be background")
    background: float = Field(default=0.0, description="intensity at or below which a voxel is background")
    min_area: Share = Field(default=0.0005, description="smaller regions, as a share of the slice, are not listed")
    level_pattern: str = Field(default="", description="source label -> vertebral level, by its one group")
    min_labelled: Share = Field(
        default=0.0, description="share of the slice that labels must cover; 0 keeps slices without a label too"
    )
    complete: bool = Field(
        default=True, description="every object of the labels is drawn; false: that one is not says nothing"
    )


@dataclass(frozen=True, slots=True)
class LabelledVolume:
    """An LPS volume, its label codes on the same grid (or None), and what the codes mean.

    `terms` has every code to be listed, codes of one term merged beforehand. `vocabulary` are the labels whose
    every object is annotated in this volume. `levels` maps codes of `level_codes` to a vertebral level.
    `axial_paths` names the file of each axial slice, where a slice is a file. A volume that is not `is_oriented`
    is shown as it lies and its slices' plane is not stated.
    """

    path: str
    volume: Volume
    codes: np.ndarray[Any, Any] | None = None
    terms: Mapping[int, Term] = field(default_factory=dict)
    vocabulary: tuple[str, ...] = ()
    level_codes: np.ndarray[Any, Any] | None = None
    levels: Mapping[int, str] = field(default_factory=dict)
    part: str = ""
    patient: str = ""
    study: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    axial_paths: tuple[str, ...] = ()
    is_oriented: bool = True


def merge_codes(
    codes: np.ndarray[Any, Any], names: Mapping[int, str], card: Card
) -> tuple[np.ndarray[Any, Any], dict[int, Term], tuple[str, ...]]:
    """Give codes of one canonical term one code: (codes as uint8 or uint16, code -> term, unknown names).

    Unknown are the names that occur in the volume and are not in the card's label map. Dropped terms ("")
    become background.
    """
    present = [int(code) for code in np.unique(codes) if int(code)]
    unknown = tuple(
        names.get(code, str(code)) for code in present if card.term(names.get(code, str(code))) is None
    )
    wanted = {code: term for code in present if (term := card.term(names.get(code, str(code)))) and term.label}
    distinct = sorted(set(wanted.values()), key=lambda term: (term.label, term.side))
    number = {term: place + 1 for place, term in enumerate(distinct)}
    table = np.zeros(int(codes.max(initial=0)) + 1, dtype=np.uint8 if len(distinct) < 256 else np.uint16)
    for code, term in wanted.items():
        table[code] = number[term]
    return table[codes], {number[term]: term for term in distinct}, unknown


def side_contradicts(codes: np.ndarray[Any, Any], terms: Mapping[int, Term]) -> bool:
    """Tell whether most left-right pairs of an LPS label volume lie the wrong way round."""
    num_codes = max(terms, default=0) + 1
    profile = np.stack([np.bincount(layer.reshape(-1), minlength=num_codes)[:num_codes] for layer in codes])
    place = np.arange(len(codes))
    pairs: dict[str, dict[str, float]] = {}
    for code, term in terms.items():
        if term.side != NOT_STATED and profile[:, code].any():
            centre = float((profile[:, code] * place).sum() / profile[:, code].sum())
            pairs.setdefault(term.label, {})[term.side] = centre
    wrong = [p["left"] < p["right"] for p in pairs.values() if {"left", "right"} <= p.keys()]
    return bool(wrong) and sum(wrong) * 2 > len(wrong)


def cut_slices(labelled: LabelledVolume, options: SliceOptions, *, max_side: int) -> Iterator[Draft]:
    """Yield the kept slices of a volume, plane by plane."""
    voxels = labelled.volume.voxels
    window_bounds = {name: bounds(name, voxels) for name in options.windows}
    for plane in CUTTING_PLANES:
        step = options.planes.get(plane, 0)
        kept = 0
        for index in range(0, voxels.shape[AXIS_OF[plane]] if step else 0, step or 1):
            if not _shows_enough(labelled, options, plane, index):
                continue
            window = options.windows[kept % len(options.windows)]
            kept += 1
            yield _cut(labelled, options, plane, index, (window, *window_bounds[window]), max_side)


def _shows_enough(labelled: LabelledVolume, options: SliceOptions, plane: Plane, index: int) -> bool:
    if np.mean(display(labelled.volume.voxels, plane, index) > options.background) < options.min_content:
        return False
    if labelled.codes is None or not options.min_labelled:
        return True
    return bool(np.mean(display(labelled.codes, plane, index) > 0) >= options.min_labelled)


def _cut(
    labelled: LabelledVolume, options: SliceOptions, plane: Plane, index: int,
    window: tuple[str, float, float], max_side: int,
) -> Draft:  # fmt: skip
    row_mm, column_mm = display_spacing(labelled.volume, plane)
    raw = display(labelled.volume.voxels, plane, index)
    size = stored_size(*raw.shape, max_side=max_side, row_mm=row_mm, column_mm=column_mm)
    regions, vocabulary = _regions(labelled, options, plane, index, size)
    place = f"{plane}/{index:04d}"
    has_own_file = plane == "axial" and labelled.axial_paths
    return Draft(
        path=labelled.axial_paths[index] if has_own_file else labelled.path,
        part=f"{labelled.part}/{place}" if labelled.part else place,
        pixels=resize(to_grey(raw, *window[1:]), size),
        patient=labelled.patient, study=labelled.study or labelled.path,
        regions=regions, regions_complete=labelled.codes is not None and options.complete,
        region_vocabulary=vocabulary if options.complete else (),
        plane=stated_plane(labelled.volume, plane) if labelled.is_oriented else NOT_STATED,
        slice_index=index, window=window[0],
        facts=(*labelled.facts, *_level(labelled, plane, index)),
    )  # fmt: skip


def _regions(
    labelled: LabelledVolume, options: SliceOptions, plane: Plane, index: int, size: tuple[int, int]
) -> tuple[tuple[Region, ...], tuple[str, ...]]:
    if labelled.codes is None:
        return (), ()
    raw = display(labelled.codes, plane, index)
    row_mm, column_mm = display_spacing(labelled.volume, plane)
    pixel_mm2 = row_mm * column_mm * raw.size / (size[0] * size[1])
    found = find_regions(resize_labels(raw, size), labelled.terms, min_area=options.min_area, pixel_mm2=pixel_mm2)
    shown = {labelled.terms[int(code)].label for code in np.unique(raw) if int(code) in labelled.terms}
    unlisted = found.too_small | (shown - {region.label for region in found.regions})
    vocabulary = tuple(label for label in labelled.vocabulary if label not in unlisted)
    return found.regions, vocabulary


def _level(labelled: LabelledVolume, plane: Plane, index: int) -> tuple[tuple[str, str], ...]:
    """The vertebra that fills most of an axial slice."""
    if plane != "axial" or labelled.level_codes is None:
        return ()
    codes, counts = np.unique(display(labelled.level_codes, plane, index), return_counts=True)
    seen = {int(c): int(n) for c, n in zip(codes, counts, strict=True) if int(c) in labelled.levels}
    return (("level", labelled.levels[max(seen, key=lambda code: seen[code])]),) if seen else ()


def find_levels(names: Mapping[int, str], pattern: str) -> dict[int, str]:
    """Map codes to the vertebral level their source label states, by the pattern's one group."""
    if not pattern:
        return {}
    matches = {code: re.fullmatch(pattern, name) for code, name in names.items()}
    return {code: match[1] for code, match in matches.items() if match}
