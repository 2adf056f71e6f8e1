"""Many cases of volumes (NIfTI, Analyze, MGH, MetaImage, NRRD, .npy) and their labels, paired by path templates.

One record a kept slice. A case's sequences are records of one study, each with the fact `sequence`. Labels are
one volume of codes, or one mask file a label (TotalSegmentator, AbdomenAtlas); a BIDS tree is a template and a
table. One case is in memory at a time, uncompressed files only by the slices looked at. Refused, by name:
`label_file_missing`, `label_file_ambiguous`, `mask_size_differs`, `mask_grid_differs`, `label_not_in_vocabulary`,
`class_not_in_vocabulary`, `row_missing`, `channels_differ`, and what `volume_files` and `case_paths` refuse.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from pydantic import Field, model_validator

from components.data.card import Card
from components.data.case_labels import CaseImage, Labeller, LabelRules, read_codes
from components.data.case_paths import names_of
from components.data.case_source import CaseSource, open_cases
from components.data.case_tables import CaseRules
from components.data.faults import Refused
from components.data.reading import ReadContext, Rejection, finish_all, parse_options
from components.data.slices import LabelledVolume, SliceOptions
from components.data.volume_files import StoredVolume, read_stored, stand, without_trailing_ones
from components.data.volume_records import (
    Drafts,
    attempt,
    with_labels,
)
from components.data.windows import WindowName
from components.records import Modality, Record
from components.settings import Frozen, Positive, Words

VERSION = 1
PORTIONS = True
LabelFile = Callable[[str], StoredVolume]


class Images(Frozen):
    """The image files of one kind: one sequence, one modality."""

    path: str = Field(description="template of the files, such as imagesTr/{case}_0000.nii.gz (case_paths.py)")
    exclude: Words = Field(default=(), description="globs of files that `path` must not take")
    optional: bool = Field(default=False, description="no error when no file matches")
    sequence: str = Field(default="", description="the fact `sequence`, such as T1-weighted, FLAIR")
    channels: Words = Field(default=(), description="sequences along the fourth axis, in order; '' leaves one out")
    every_frame: Positive | None = Field(
        default=None, description="the fourth axis is time: every how manieth frame is read"
    )
    labels: str | None = Field(default=None, description="its own label template; '' is none")
    classes: Words = Field(default=(), description="canonical labels true of every image")
    modality: Modality | None = Field(default=None, description="defaults to the card's")
    windows: tuple[WindowName, ...] = Field(default=(), description="defaults to the options'")
    background: float | None = Field(default=None, description="defaults to the options'")
    facts: dict[str, str] = Field(default_factory=dict, description="statements true of every image")


class Options(SliceOptions, LabelRules, CaseRules):
    """Which files are images, their labels (LabelRules), what is said of them (CaseRules), how they are cut."""

    images: tuple[Images, ...] = Field(min_length=1, description="the kinds of image files, one entry each")
    orientation: str = Field(
        default="header",
        pattern=r"^(header|stored|[RLAPSI]{3})$",
        description=(
            "header: the file's affine; RAS, LPS...: where the axes run, for files that state no orientation; "
            "stored: pictures and cines in a volume file, shown as they lie (column, row, frame), `planes` axial"
        ),
    )

    @model_validator(mode="after")
    def _stored_has_one_plane(self) -> Options:
        if self.orientation == "stored" and set(self.planes) != {"axial"}:
            raise ValueError("orientation: stored is cut along its third axis alone: planes: {axial: N}")
        return self


@dataclass(frozen=True, slots=True)
class _Image:
    """One image file, its kind, and what its path says."""

    file: str
    kind: Images
    names: Mapping[str, str]

    @property
    def study(self) -> str:
        return "/".join(value for name, value in self.names.items() if name not in ("folder", "stem")) or self.file


@dataclass(frozen=True, slots=True)
class _Part:
    """A three-dimensional piece of an image file: all of it, one channel or one point in time."""

    name: str
    sequence: str
    time: int
    stored: StoredVolume


@dataclass(frozen=True, slots=True)
class _Opened:
    """An image file's pieces, and what path, table and card say of all of them."""

    parts: tuple[_Part, ...]
    classes: tuple[str, ...]
    facts: Mapping[str, str]


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield the slices of every image file, case by case."""
    options = parse_options(Options, card)
    source = open_cases(root, card, options, context)
    yield from source.refused
    for _, case in groupby(_find_images(source), key=lambda image: image.study):
        images = list(case)
        if context.takes(images[0].file, (image.file for image in images)):
            yield from finish_all(_read_case(source, images), card, context)


def _find_images(source: CaseSource[Options]) -> list[_Image]:
    """Every image file, those of one case together; DatasetMissing for a kind of which there is none."""
    found: dict[str, _Image] = {}
    for kind in source.options.images:
        for file, names in source.find(kind.path, exclude=kind.exclude, optional=kind.optional):
            found.setdefault(file, _Image(file, kind, names_of(file, names)))
    kinds = source.options.images
    return sorted(found.values(), key=lambda image: (image.study, kinds.index(image.kind), image.file))


def _read_case(source: CaseSource[Options], images: Iterable[_Image]) -> Drafts:
    # A case's sequences share its label file: it is read once, and let go with the case.
    label_file: LabelFile = functools.cache(
        lambda file: read_codes(source.tree.path(file), source.options.label_threshold)
    )
    for image in images:
        opened = attempt(functools.partial(_open, source, image), image.file)
        if isinstance(opened, Rejection):
            yield opened
            continue
        for part in opened.parts:
            drafts = _read_part(source, image, part, opened.facts, label_file)
            yield from with_labels(drafts, labels=opened.classes, modality=image.kind.modality or "")


def _open(source: CaseSource[Options], image: _Image) -> _Opened:
    said = source.said_of(image.names, image.kind.classes)
    stored = read_stored(source.tree.path(image.file))
    return _Opened(_cut_parts(stored, image.kind), said.classes, {**said.facts, **image.kind.facts})


def _cut_parts(stored: StoredVolume, kind: Images) -> tuple[_Part, ...]:
    whole = without_trailing_ones(stored)
    if whole.voxels.ndim <= 3:
        return (_Part("", kind.sequence, 0, whole),)
    num_parts = whole.voxels.shape[3]
    if whole.voxels.ndim > 4 or not (kind.channels or kind.every_frame):
        raise Refused("volume_not_3d")
    if kind.channels and len(kind.channels) != num_parts:
        raise Refused("channels_differ")
    pieces = {time: replace(whole, voxels=whole.voxels[..., time]) for time in range(num_parts)}
    if kind.channels:
        named = {time: sequence for time, sequence in enumerate(kind.channels) if sequence}
        return tuple(_Part(f"channel/{time:02d}", name, 0, pieces[time]) for time, name in named.items())
    times = range(0, num_parts, kind.every_frame or 1)
    return tuple(_Part(f"time/{time:03d}", kind.sequence, time, pieces[time]) for time in times)


def _read_part(
    source: CaseSource[Options], image: _Image, part: _Part, facts: Mapping[str, str], label_file: LabelFile
) -> Drafts:
    options, kind = source.options, image.kind
    volume = attempt(lambda: stand(part.stored, options.orientation), image.file)
    if isinstance(volume, Rejection):
        yield volume
        return
    stated = {**facts, "sequence": part.sequence} if part.sequence else facts
    base = LabelledVolume(
        path=image.file, part=part.name, volume=volume, study=image.study, facts=tuple(sorted(stated.items())),
        is_oriented=options.orientation != "stored",
    )  # fmt: skip
    background = options.background if kind.background is None else kind.background
    labels = options.labels if kind.labels is None else kind.labels
    own = {"windows": kind.windows or options.windows, "background": background, "labels": labels}
    cut = options.model_copy(update=own)
    labeller = Labeller(source.tree, source.card, cut, cut, options.orientation, source.max_side)
    yield from labeller.drafts(CaseImage(image.file, image.names, part.stored, base, part.time), label_file)
