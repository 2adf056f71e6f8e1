"""Folders of DICOM series without contours: CT, MR and PET volumes, enhanced multi-frame, cines, X-ray stills.

A series is the files of one folder with one SeriesInstanceUID; a study may have many. Slices become a volume
and are cut by content; frames without a place in space are taken every n-th; stills are one record each. The
class comes from path or table, by captured names or by `series_uid`, `study_uid` and `patient_id` of the
header; a label volume beside the series (NIfTI, MetaImage, NRRD) gives regions. Compressed syntaxes are read as
pydicom's plug-ins read them. Refused, by name: what `dicom_volumes`, `case_tables` and `case_labels` refuse,
`series_too_short`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from components.data.card import Card
from components.data.case_labels import CaseImage, Labeller, LabelRules, read_codes
from components.data.case_paths import names_of
from components.data.case_source import CaseSource, open_cases
from components.data.case_tables import CaseRules, Said
from components.data.deidentify import header_facts
from components.data.dicom_frames import FrameRules, frame_drafts
from components.data.dicom_volumes import (
    MODALITIES,
    FileKey,
    Header,
    Stacked,
    decode_file,
    grid_of_frames,
    keys_of,
    read_header,
    stack_files,
    stack_frames,
)
from components.data.faults import Refused
from components.data.reading import ReadContext, Rejection, WholeOnly, finish_all, parse_options
from components.data.slices import LabelledVolume, SliceOptions
from components.data.volume_files import StoredVolume
from components.data.volume_records import (
    Drafts,
    attempt,
    with_labels,
)
from components.data.volumes import to_lps
from components.records import Record
from components.settings import Positive, Share, Words

VERSION = 1
PORTIONS = True


class Options(SliceOptions, LabelRules, CaseRules):
    """Which files, what is said of a series (CaseRules), labels beside it (LabelRules), how it is cut."""

    files: str = Field(description="template of the DICOM files, such as {patient}/**/*.dcm, or {patient}/**/*")
    min_slices: Positive = Field(default=1, description="series of fewer slices (localisers) are refused")
    every_frame: Positive = Field(default=1, description="of a cine, every how manieth frame")
    crop: tuple[Share, Share, Share, Share] = Field(
        default=(0, 0, 1, 1), description="of stills and cines: left, top, right, bottom kept"
    )
    modality_from_header: bool = Field(default=False, description="CT, MR, PET... by the Modality tag of a series")
    classes: Words = Field(default=(), description="canonical labels true of every series")


@dataclass(frozen=True, slots=True)
class _Series:
    """One series: its place among its folder's, its files' headers, and the names that say what it is."""

    number: int
    headers: tuple[Header, ...]
    names: Mapping[str, str]

    @property
    def where(self) -> str:
        """The folder, and which of its series."""
        return f"{self.names['folder'] or '.'}#series/{self.number:02d}"

    @property
    def is_stack(self) -> bool:
        """Tell whether the series is two single frames or more, each with a place in space."""
        placed = all(header.height is not None and header.num_frames == 1 for header in self.headers)
        return placed and len(self.headers) > 1


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield slices, frames and stills of every series, folder by folder."""
    options = parse_options(Options, card)
    source = open_cases(root, card, options, context)
    yield from source.refused
    yield from finish_all(_read_folders(source, context), card, context)


def _read_folders(source: CaseSource[Options], context: ReadContext) -> Drafts:
    captured = dict(source.find(source.options.files))
    keys = keys_of((file, source.tree.path(file)) for file in _taken(source, captured, context))
    for _, group in groupby(keys, key=lambda key: _folder(key.where if isinstance(key, Rejection) else key.file)):
        found = list(group)
        yield from (key for key in found if isinstance(key, Rejection))
        images = [key for key in found if isinstance(key, FileKey) and key.is_image]
        images.sort(key=lambda key: (key.series, key.file))
        for number, (_, members) in enumerate(groupby(images, key=lambda key: key.series)):
            yield from _open_series(source, number, [key.file for key in members], captured)


def _taken(source: CaseSource[Options], captured: Iterable[str], context: ReadContext) -> list[str]:
    """Return the files of the folders that this reading takes, folder by folder.

    While units are listed every header is looked at: an instance that is there twice counts once, whichever of
    two folders it is in, so that the folders hang together.
    """
    files = sorted(captured, key=_folder)
    if context.is_listing:
        keys = keys_of((file, source.tree.path(file)) for file in files)
        if any(isinstance(key, Rejection) and key.reason == "instance_repeated" for key in keys):
            raise WholeOnly
    folders = ((folder, list(group)) for folder, group in groupby(files, key=_folder))
    return [file for folder, group in folders if context.takes(folder or ".", group) for file in group]


def _folder(file: str) -> str:
    return file.rpartition("/")[0]


def _open_series(
    source: CaseSource[Options], number: int, files: Iterable[str], captured: Mapping[str, Mapping[str, str]]
) -> Drafts:
    opened = [attempt(partial(read_header, source.tree.path(file), file), file) for file in files]
    yield from (header for header in opened if isinstance(header, Rejection))
    headers = tuple(header for header in opened if isinstance(header, Header))
    if not headers:
        return
    first = headers[0]
    keywords = {"series_uid": "SeriesInstanceUID", "study_uid": "StudyInstanceUID", "patient_id": "PatientID"}
    told = {name: str(first.tags.get(keyword, "") or "") for name, keyword in keywords.items()}
    series = _Series(number, headers, {**told, **names_of(first.file, captured[first.file])})
    said = attempt(lambda: _said(source, series), series.where)
    if isinstance(said, Rejection):
        yield said
        return
    modality = (
        MODALITIES.get(str(first.tags.get("Modality", "")), "") if source.options.modality_from_header else ""
    )
    yield from with_labels(
        _read_stack(source, series, said) if series.is_stack else _read_frames(source, series, said),
        labels=said.classes, modality=modality, study=series.names["study_uid"] or series.names["folder"],
    )  # fmt: skip


def _said(source: CaseSource[Options], series: _Series) -> Said:
    if sum(header.num_frames for header in series.headers) < source.options.min_slices:
        raise Refused("series_too_short")
    said = source.said_of(series.names, source.options.classes)
    return Said(said.classes, {**header_facts(series.headers[0].tags), **said.facts})


def _read_stack(source: CaseSource[Options], series: _Series, said: Said) -> Drafts:
    stacks = attempt(lambda: stack_files(series.headers, source.tree.root), series.where)
    if isinstance(stacks, Rejection):
        yield stacks
        return
    for number, stack in enumerate(stacks):
        part = _part(f"series/{series.number:02d}", number, stacks)
        yield from _cut(source, series, stack, _base(series, stack, said, part=part, path=series.names["folder"]))


def _part(name: str, number: int, stacks: list[Stacked]) -> str:
    return f"{name}/phase/{number:02d}".lstrip("/") if len(stacks) > 1 else name


def _base(series: _Series, stack: Stacked, said: Said, *, part: str, path: str) -> LabelledVolume:
    return LabelledVolume(
        path=path or ".", volume=to_lps(stack.volume), part=part, patient=series.names["patient_id"],
        facts=tuple(sorted(said.facts.items())), axial_paths=stack.axial_files(),
    )  # fmt: skip


def _cut(source: CaseSource[Options], series: _Series, stack: Stacked, base: LabelledVolume) -> Drafts:
    options = source.options
    if not stack.can_show(options.planes):
        yield Rejection(series.where, "slices_missing")
        return
    labeller = Labeller(source.tree, source.card, options, options, "header", source.max_side)
    stored = StoredVolume(stack.volume.voxels, stack.volume.affine, is_oriented=True)
    image = CaseImage(series.where, series.names, stored, base)
    yield from labeller.drafts(image, lambda file: read_codes(source.tree.path(file), options.label_threshold))


def _read_frames(source: CaseSource[Options], series: _Series, said: Said) -> Drafts:
    """Stills, cines, and enhanced objects whose frames are a volume in one file."""
    rules = FrameRules(source.options.windows[0], source.options.every_frame, source.options.crop)
    facts = tuple(sorted(said.facts.items()))
    for header in series.headers:
        opened = attempt(partial(_decode, source.tree.path(header.file), header.file), header.file)
        if isinstance(opened, Rejection):
            yield opened
        elif opened.stacks:
            for number, stack in enumerate(opened.stacks):
                part = _part("", number, opened.stacks)
                yield from _cut(source, series, stack, _base(series, stack, said, part=part, path=header.file))
        else:
            drafts = frame_drafts(opened.dataset, opened.frames, header.file, rules, max_side=source.max_side)
            yield from with_labels(drafts, facts=facts)


@dataclass(frozen=True, slots=True)
class _Decoded:
    """A file's frames, and the volumes they make when they have places in space."""

    dataset: Any
    frames: np.ndarray[Any, Any]
    stacks: list[Stacked]


def _decode(path: Path, file: str) -> _Decoded:
    dataset, frames = decode_file(path)
    is_volume = len(frames) > 1 and grid_of_frames(dataset) is not None
    return _Decoded(dataset, frames, stack_frames(dataset, frames, file) if is_volume else [])
