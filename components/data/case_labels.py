"""The labels of a case: a label volume, or one mask file a label, found by template and put on the image's grid.

Refused, by name: `label_file_missing`, `label_file_ambiguous` (a template with wildcards fits several),
`mask_size_differs`, `mask_grid_differs` (same size, another affine).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from components.data.card import Card, parse_term
from components.data.case_paths import SourceTree
from components.data.faults import Refused
from components.data.label_canvas import LabelCanvas
from components.data.reading import Rejection
from components.data.slices import LabelledVolume, SliceOptions, cut_slices
from components.data.volume_files import StoredVolume, read_stored, stand, whole_codes, without_trailing_ones
from components.data.volume_records import (
    Drafts,
    NamedCodes,
    attempt,
    labelled_drafts,
    place_labels,
)
from components.data.volumes import Volume, is_same_grid
from components.settings import Frozen

Array = np.ndarray[Any, Any]
MASK_THRESHOLD = 0.5


class LabelRules(Frozen):
    """Where the labels of an image lie and what the numbers in them mean.

    Templates may use the names that the image's template captures, and `folder` and `stem` of the image.
    """

    labels: str = Field(default="", description="label volume of an image, such as labelsTr/{case}.nii.gz")
    label_names: dict[int, str] = Field(
        default_factory=dict,
        description="code in the label volume -> source label; a code not named goes by its number in label_map",
    )
    label_threshold: float | None = Field(
        default=None, description="for binary and probability maps: voxels above it are code 1 (of masks: 0.5)"
    )
    masks: str = Field(
        default="",
        description="one mask file a label, {label} its source label: {folder}/segmentations/{label}.nii.gz",
    )
    label_grid: Literal["same", "voxels", "resample"] = Field(
        default="same",
        description="a label volume with another affine: refused, taken voxel by voxel, or brought over by it",
    )
    label_orientation: str = Field(
        default="", pattern=r"^(|header|stored|[RLAPSI]{3})$", description="defaults to `orientation`"
    )
    unlabelled: Literal["reject", "keep"] = Field(
        default="reject", description="an image without its label file: refused, or kept without regions"
    )

    @model_validator(mode="after")
    def _one_kind_of_labels(self) -> LabelRules:
        if self.labels and self.masks:
            raise ValueError("give `labels` or `masks`, not both")
        if self.masks and "{label" not in self.masks:
            raise ValueError("`masks` must capture {label}")
        return self


@dataclass(frozen=True, slots=True)
class CaseLabels:
    """The labels of one image as codes, the labels they speak for, and the mask files refused."""

    codes: NamedCodes | None
    vocabulary: tuple[str, ...]
    refused: tuple[Rejection, ...]


@dataclass(frozen=True, slots=True)
class CaseImage:
    """One image volume as stored and in LPS (`base`), and what its path captured; `time` is its frame."""

    file: str
    names: Mapping[str, str]
    stored: StoredVolume
    base: LabelledVolume
    time: int = 0


@dataclass(frozen=True, slots=True)
class Labeller:
    """Finds, places and cuts the labels of a source's images; `orientation` is the images'."""

    tree: SourceTree
    card: Card
    rules: LabelRules
    cut: SliceOptions
    orientation: str
    max_side: int

    def drafts(self, image: CaseImage, read: Callable[[str], StoredVolume]) -> Drafts:
        """Yield an image's slices with its regions; `read` opens a label volume's codes by its file."""
        if not (self.rules.labels or self.rules.masks):
            yield from self._plain(image)
            return
        found = attempt(
            lambda: self._masks(image) if self.rules.masks else self._label_map(image, read), image.file
        )
        if isinstance(found, Rejection):
            is_kept = found.reason == "label_file_missing" and self.rules.unlabelled == "keep"
            yield from self._plain(image) if is_kept else (found,)
            return
        yield from found.refused
        if found.codes is None:
            yield from self._plain(image)
            return
        base = replace(image.base, vocabulary=found.vocabulary)
        yield from labelled_drafts(base, found.codes, self.card, self.cut, max_side=self.max_side)

    def _plain(self, image: CaseImage) -> Drafts:
        return cut_slices(image.base, self.cut, max_side=self.max_side)

    def _label_map(self, image: CaseImage, read: Callable[[str], StoredVolume]) -> CaseLabels:
        stored = read(find_label_file(self.tree, self.rules.labels, image.names, image.file))
        if stored.voxels.ndim > 3:  # a label volume of a series in time has its frames
            stored = replace(stored, voxels=_frame(stored.voxels, image.time))
        codes = NamedCodes(self._place(stored, image), self.rules.label_names)
        return CaseLabels(codes, vocabulary_of(self.card, self.rules), ())

    def _masks(self, image: CaseImage) -> CaseLabels:
        place = functools.partial(self._place, image=image)
        return read_masks(self.tree, self.rules, image.names, self.card, place)

    def _place(self, stored: StoredVolume, image: CaseImage) -> Volume:
        return codes_on_grid(
            stored, image.stored, image.base.volume, orientation=self.orientation,
            label_orientation=self.rules.label_orientation or self.orientation, grid=self.rules.label_grid,
        )  # fmt: skip


def _frame(voxels: Array, time: int) -> Array:
    if voxels.ndim != 4 or time >= voxels.shape[3]:
        raise Refused("mask_size_differs")
    return voxels[..., time]


def vocabulary_of(card: Card, rules: LabelRules) -> tuple[str, ...]:
    """The canonical labels whose every object a label volume of this source shows."""
    codes = [key for key in card.label_map if key.isdecimal()]
    named = rules.label_names.values() or codes
    return _labels(card, named if named else card.label_map)


def _labels(card: Card, source_labels: Any) -> tuple[str, ...]:
    terms = (card.label_map.get(name, "") for name in source_labels)
    return tuple(sorted({parse_term(term).label for term in terms if term}))


def find_label_file(tree: SourceTree, template: str, names: Mapping[str, str], image: str) -> str:
    """Return the one file that a label template names for an image."""
    found = [file for file, _ in tree.match(template, names) if file != image]
    if len(found) != 1:
        raise Refused("label_file_ambiguous" if found else "label_file_missing")
    return found[0]


def read_codes(path: Path, threshold: float | None) -> StoredVolume:
    """Read a label volume as whole codes (`whole_codes`), with as many dimensions as it has."""
    stored = without_trailing_ones(read_stored(path))
    return replace(stored, voxels=whole_codes(stored.voxels, threshold))


def codes_on_grid(
    codes: StoredVolume,
    image: StoredVolume,
    target: Volume,
    *,
    orientation: str,
    label_orientation: str,
    grid: str,
) -> Volume:
    """Turn stored codes to LPS and put them on the grid of `target`, which is `image` turned to LPS."""
    if grid == "voxels":
        if codes.voxels.shape != image.voxels.shape:
            raise Refused("mask_size_differs")
        return stand(replace(image, voxels=codes.voxels), orientation)
    standing = stand(codes, label_orientation)
    if grid == "resample":
        return place_labels(standing, target)
    if standing.voxels.shape != target.voxels.shape:
        raise Refused("mask_size_differs")
    states_place = orientation == label_orientation == "header"
    if states_place and not is_same_grid(standing, target):
        raise Refused("mask_grid_differs")
    return standing


def read_masks(
    tree: SourceTree,
    rules: LabelRules,
    names: Mapping[str, str],
    card: Card,
    place: Callable[[StoredVolume], Volume],
) -> CaseLabels:
    """Lay the masks of one image into one code volume, one at a time; a smaller structure lies over a larger.

    `place` puts stored codes on the image's grid. A mask that is refused is named with its reason, and its
    label leaves the vocabulary; Refused("label_file_missing") when there is no mask at all.
    """
    files = [(file, found["label"]) for file, found in tree.match(rules.masks, names)]
    if not files:
        raise Refused("label_file_missing")
    threshold = MASK_THRESHOLD if rules.label_threshold is None else rules.label_threshold
    canvas, refused, read = LabelCanvas.empty(), [], []
    for file, label in files:
        mask = attempt(functools.partial(_read_mask, tree.path(file), label, card, threshold, place), file)
        if isinstance(mask, Rejection):
            refused.append(mask)
        elif mask is not None:
            canvas = canvas.with_mask(mask, label)
            read.append(label)
    lost = set(_labels(card, [label for _, label in files if label not in read]))
    vocabulary = tuple(label for label in _labels(card, read) if label not in lost)
    return CaseLabels(canvas.codes(), vocabulary, tuple(refused))


def _read_mask(
    path: Path, label: str, card: Card, threshold: float, place: Callable[[StoredVolume], Volume]
) -> Volume | None:
    """One mask on the image's grid; None for a label that the card drops, whose file is not opened."""
    term = card.term(label)
    if term is None:
        raise Refused("label_not_in_vocabulary")
    return place(read_codes(path, threshold)) if term.label else None
