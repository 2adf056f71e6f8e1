"""DICOM SEG objects over the series they refer to: segments with coded names as regions.

A SEG is matched to its series by ReferencedSeriesSequence (or the source images of its frames) and its frames to
slices by their place in millimetres; all SEGs of one series are laid into one label volume, a smaller segment
over a larger. The series' files and the SEGs lie anywhere below the root. Read: BINARY, FRACTIONAL (at half of
the maximum) and LABELMAP. Refused, by name: `series_missing`, `mask_grid_differs`, `mask_size_differs`,
`label_not_in_vocabulary`, `side_contradicts_orientation`, and what `dicom_volumes` refuses. Source: DICOM PS3.3
section A.51 and C.8.20.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from components.data.card import Card
from components.data.case_paths import list_files
from components.data.deidentify import header_facts
from components.data.dicom import open_dicom
from components.data.dicom_references import SeriesFiles, match_references
from components.data.dicom_volumes import (
    Header,
    Stacked,
    group_of,
    keys_of,
    number_of,
    place_of_frame,
    read_header,
    stack_one,
)
from components.data.faults import Refused
from components.data.label_canvas import LabelCanvas
from components.data.reading import ReadContext, Rejection, finish_all, parse_options
from components.data.slices import LabelledVolume, SliceOptions, cut_slices
from components.data.volume_records import (
    Drafts,
    NamedCodes,
    attempt,
    labelled_drafts,
)
from components.data.volumes import Volume, to_lps
from components.errors import DatasetMissing
from components.records import Record

VERSION = 1
SEGS = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})
SAME_DIRECTION = 1e-3
OFF_BY = 0.5  # voxels


class Options(SliceOptions):
    """Which files, which of a segment's names is its label, and how the series are cut."""

    files: str = Field(description="template of the DICOM files, series and SEGs alike, such as **/*.dcm")
    name: Literal["meaning", "label", "code"] = Field(
        default="meaning",
        description=(
            "source label of a segment: CodeMeaning of its property type (with its modifier: Kidney, Left), "
            "SegmentLabel, or scheme and code (SCT:10200004)"
        ),
    )
    unlabelled: Literal["leave", "keep"] = Field(
        default="leave", description="series to which no SEG refers: left out, or kept without regions"
    )


@dataclass(frozen=True, slots=True)
class _Segment:
    """One segment: its source label and its voxels on the series' stored grid (column, row, slice)."""

    label: str
    mask: Volume


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield the slices of every series to which a SEG refers, with its segments as regions."""
    options = parse_options(Options, card)
    tree = list_files(root)
    found = list(keys_of((file, tree.path(file)) for file, _ in tree.match(options.files)))
    if not found:
        raise DatasetMissing(
            f"file_missing: no file matches {options.files!r}", where=str(root), fix="gmai sources"
        )
    references = match_references(found, SEGS, lambda file: _series_of_seg(root / file))
    yield from (*tree.refused, *references.refused)
    for series in references.series:
        if series.referring or options.unlabelled == "keep":
            yield from finish_all(_read_series(series, root, card, options, context.max_side), card, context)


def _series_of_seg(path: Path) -> str:
    """Return the SeriesInstanceUID that a SEG refers to."""
    tags = read_header(path, path.name).tags
    for item in tags.get("ReferencedSeriesSequence") or ():
        return str(item.SeriesInstanceUID)
    raise Refused("series_missing")


def _read_series(series: SeriesFiles, root: Path, card: Card, options: Options, max_side: int) -> Drafts:
    opened = [attempt(partial(read_header, root / file, file), file) for file in series.files]
    yield from (header for header in opened if isinstance(header, Rejection))
    headers = [header for header in opened if isinstance(header, Header)]
    stacked = attempt(lambda: stack_one(headers, root), f"{series.folder}#{series.part}")
    if isinstance(stacked, Rejection):
        yield stacked
        return
    canvas = LabelCanvas.empty()
    for file in series.referring:
        segments = attempt(partial(_segments, root / file, stacked, options.name), file)
        if isinstance(segments, Rejection):
            yield segments
            continue
        for segment in segments:
            canvas = canvas.with_mask(segment.mask, segment.label)
    codes = canvas.codes()
    base = _base(stacked, headers[0], series.part, series.folder)
    if codes is None:
        yield from cut_slices(base, options, max_side=max_side) if not series.referring else ()
        return
    named = NamedCodes(to_lps(codes.volume), codes.names)
    terms = [card.term(label) for label in codes.names.values()]
    base = replace(base, vocabulary=tuple(sorted({term.label for term in terms if term and term.label})))
    yield from labelled_drafts(base, named, card, options, max_side=max_side)


def _base(stacked: Stacked, first: Header, part: str, folder: str) -> LabelledVolume:
    return LabelledVolume(
        path=folder, volume=to_lps(stacked.volume), part=part, patient=str(first.tags.get("PatientID", "") or ""),
        study=str(first.tags.get("StudyInstanceUID", "") or folder),
        facts=tuple(sorted(header_facts(first.tags).items())), axial_paths=stacked.axial_files(),
    )  # fmt: skip


def _segments(path: Path, stacked: Stacked, name: str) -> list[_Segment]:
    """Read a SEG's segments onto a series' grid, in the order of their numbers."""
    dataset = open_dicom(path)
    if "PixelData" not in dataset:
        raise Refused("no_pixels")
    frames = dataset.pixel_array
    frames = frames if frames.ndim == 3 else frames[None]
    shape = stacked.volume.voxels.shape
    if frames.shape[1:] != (shape[1], shape[0]):
        raise Refused("mask_size_differs")
    slices = [_slice_of_frame(dataset, n, stacked.volume) for n in range(len(frames))]
    kind = str(dataset.SegmentationType)
    least = number_of(dataset, "MaximumFractionalValue", 255) / 2 if kind == "FRACTIONAL" else 0
    segments = []
    for item in dataset.SegmentSequence:
        number = int(item.SegmentNumber)
        mask = np.zeros(shape, dtype=bool)
        for n, k in enumerate(slices):
            if kind == "LABELMAP":
                mask[:, :, k] |= (frames[n] == number).T
            elif _segment_of_frame(dataset, n) == number:
                mask[:, :, k] |= (frames[n] > least).T
        segments.append(_Segment(segment_name(item, name), Volume(mask, stacked.volume.affine)))
    return segments


def _segment_of_frame(dataset: Any, frame: int) -> int:
    item = group_of(dataset, "SegmentIdentificationSequence", frame)
    if item is None:
        raise Refused("mask_grid_differs")
    return int(item.ReferencedSegmentNumber)


def _slice_of_frame(dataset: Any, frame: int, volume: Volume) -> int:
    """Return the slice on which a frame lies; Refused when it lies on none, or turned or shifted."""
    place, standing = place_of_frame(dataset, frame), group_of(dataset, "PlaneOrientationSequence", frame)
    if place is None or standing is None:
        raise Refused("mask_grid_differs")
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine
    across, down, index = np.linalg.solve(lps, [*place, 1.0])[:3]
    axes = lps[:3, :2] / np.linalg.norm(lps[:3, :2], axis=0)
    turned = np.abs(np.asarray(standing.ImageOrientationPatient, dtype=float) - axes.T.reshape(-1)).max()
    k = round(index)
    is_on = max(abs(across), abs(down), abs(index - k)) < OFF_BY and 0 <= k < volume.voxels.shape[2]
    if turned > SAME_DIRECTION or not is_on:
        raise Refused("mask_grid_differs")
    return k


def segment_name(item: Any, name: str) -> str:
    """Return a segment's source label: its coded meaning with modifiers, its own label, or scheme and code."""
    if name == "label":
        return str(item.get("SegmentLabel", "not stated"))
    codes = item.get("SegmentedPropertyTypeCodeSequence") or ()
    if not codes:
        return "not stated"
    if name == "code":
        return f"{codes[0].CodingSchemeDesignator}:{codes[0].CodeValue}"
    modifiers = codes[0].get("SegmentedPropertyTypeModifierCodeSequence") or ()
    return ", ".join(str(code.CodeMeaning) for code in (codes[0], *modifiers))
