"""A DICOM series with an RTSTRUCT: closed planar contours in millimetres drawn into the slices' masks.

A folder is one series and one study, or (`match: reference`, as TCIA hands them out) a series is where its
RTSTRUCT's header says. Contours are matched to the slice at their height (within half the
slice spacing) and filled by the even-odd rule, so that a contour inside another cuts a hole. Refused: an ROI
name the card does not know, a series with a gap (`slices_missing`), and what `dicom_volumes` refuses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from components.data.card import Card, Term
from components.data.deidentify import header_facts
from components.data.dicom import open_dicom
from components.data.dicom_references import match_references
from components.data.dicom_volumes import Header, Stacked, decode_file, keys_of, read_header, stack_one
from components.data.faults import Refused
from components.data.reading import ReadContext, Rejection, find_files, finish_all, parse_options
from components.data.slices import LabelledVolume, SliceOptions, cut_slices, side_contradicts
from components.data.volume_records import Drafts, attempt
from components.data.volumes import Volume, to_lps
from components.records import Record

VERSION = 2
RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
Array = np.ndarray[Any, Any]


class Options(SliceOptions):
    """Which folders; files in one are told apart by their SOP class."""

    series: str = Field(description="glob of the series folders' files, such as */*.dcm")
    match: Literal["folder", "reference"] = Field(
        default="folder",
        description="an RTSTRUCT belongs to its folder's slices, or (TCIA) to the series its header refers to",
    )
    unlabelled: Literal["keep", "leave"] = Field(
        default="keep",
        description="with match: reference, a series without contours is kept without regions, or left",
    )


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield the slices of every series, with its contours as regions."""
    options = parse_options(Options, card)
    if options.match == "reference":
        yield from _read_by_reference(root, card, options, context)
        return
    folders: dict[str, list[str]] = {}
    for path in find_files(root, options.series):
        file = path.relative_to(root).as_posix()
        folders.setdefault(file.rpartition("/")[0] or ".", []).append(file)
    for folder, files in folders.items():
        drafts = _read_series(root, folder, files, card, options, context.max_side)
        yield from finish_all(drafts, card, context)


def _read_by_reference(
    root: Path, card: Card, options: Options, context: ReadContext
) -> Iterator[Record | Rejection]:
    """Match every RTSTRUCT below the root to the series it refers to, wherever either lies."""
    paths = {path.relative_to(root).as_posix(): path for path in find_files(root, options.series)}
    references = match_references(
        keys_of(paths.items()), (RTSTRUCT,), lambda file: _referenced_series(paths[file])
    )
    yield from references.refused
    for series in references.series:
        if series.referring or options.unlabelled == "keep":
            files = (*series.files, *series.referring)
            drafts = _read_series(root, series.folder, files, card, options, context.max_side, part=series.part)
            yield from finish_all(drafts, card, context)


def _referenced_series(path: Path) -> str:
    """Return the SeriesInstanceUID that an RTSTRUCT refers to (PS3.3 C.8.8.5)."""
    for frame in open_dicom(path).get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            for referred in study.get("RTReferencedSeriesSequence") or ():
                return str(referred.SeriesInstanceUID)
    raise Refused("series_missing")


def _read_series(
    root: Path, folder: str, files: Sequence[str], card: Card, options: Options, max_side: int,
    *, part: str = "",
) -> Drafts:  # fmt: skip
    opened = [attempt(partial(read_header, root / file, file), file) for file in files]
    yield from (header for header in opened if isinstance(header, Rejection))
    headers = [header for header in opened if isinstance(header, Header)]
    structures = [header.tags for header in headers if str(header.tags.get("SOPClassUID", "")) == RTSTRUCT]
    images = [header for header in headers if str(header.tags.get("SOPClassUID", "")) != RTSTRUCT]
    stacked, refused = _stack(images, root, folder)
    yield from refused
    if stacked is None:
        return
    # Contours are drawn by their height over even slices: past a gap they would lie on the wrong ones.
    if (structures and not stacked.is_even) or not stacked.can_show(options.planes):
        yield Rejection(folder, "slices_missing")
        return
    drawn = attempt(lambda: _draw_all(structures, stacked.volume, card), folder)
    if isinstance(drawn, Rejection):
        yield drawn
        return
    yield from (Rejection(f"{folder}#{name}", "label_not_in_vocabulary") for name in drawn.unknown)
    if side_contradicts(drawn.codes, drawn.terms):
        yield Rejection(folder, "side_contradicts_orientation")
        return
    first = next(header.tags for header in images if header.file == stacked.files[0])
    labelled = LabelledVolume(
        path=folder, volume=to_lps(stacked.volume), codes=drawn.codes if structures else None, terms=drawn.terms,
        vocabulary=card.labels if structures else (), patient=str(first.get("PatientID", "") or ""),
        facts=tuple(sorted(header_facts(first).items())), study=folder, part=part,
        axial_paths=stacked.axial_files(),
    )  # fmt: skip
    yield from cut_slices(labelled, options, max_side=max_side)


def _stack(images: Sequence[Header], root: Path, folder: str) -> tuple[Stacked | None, list[Rejection]]:
    """Stack a series; where that fails, the files that do not decode are named and the others are stacked."""
    stacked = attempt(lambda: stack_one(images, root), folder)
    if isinstance(stacked, Stacked):
        return stacked, []
    tried = {image.file: attempt(partial(_check_decodes, root / image.file), image.file) for image in images}
    bad = [fault for fault in tried.values() if isinstance(fault, Rejection)]
    good = [image for image in images if not isinstance(tried[image.file], Rejection)]
    stacked = attempt(lambda: stack_one(good, root), folder) if bad else stacked
    return (stacked, bad) if isinstance(stacked, Stacked) else (None, [*bad, stacked])


def _check_decodes(path: Path) -> None:
    """Raise what is wrong with a file's pixels, which are let go again."""
    decode_file(path)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The contours of a series in LPS, the term of each code, and the ROI names that the card lacks."""

    codes: Array
    terms: dict[int, Term]
    unknown: tuple[str, ...]


def _draw_all(structures: Sequence[Any], volume: Volume, card: Card) -> _Drawn:
    codes, terms, unknown = np.zeros(volume.voxels.shape, dtype=np.uint8), dict[int, Term](), []
    for name, polygons in _contours(structures):
        term = card.term(name)
        if term is None:
            unknown.append(name)
        elif term.label:
            _draw(codes, _code_of(terms, term), polygons, volume)
    return _Drawn(to_lps(Volume(codes, volume.affine)).voxels, terms, tuple(unknown))


def _contours(structures: Sequence[Any]) -> Iterator[tuple[str, list[Array]]]:
    """Yield each region of interest's name and its polygons (N, 3) in LPS millimetres."""
    for structure in structures:
        names = {int(roi.ROINumber): str(roi.ROIName) for roi in structure.StructureSetROISequence}
        for roi in structure.ROIContourSequence:
            polygons = [
                np.asarray(contour.ContourData, dtype=float).reshape(-1, 3)
                for contour in roi.get("ContourSequence", [])
                if str(contour.get("ContourGeometricType", "")) == "CLOSED_PLANAR"
            ]
            yield names.get(int(roi.ReferencedROINumber), "not stated"), polygons


def _code_of(terms: dict[int, Term], term: Term) -> int:
    for code, known in terms.items():
        if known == term:
            return code
    terms[len(terms) + 1] = term
    return len(terms)


def _draw(codes: Array, code: int, polygons: Sequence[Array], volume: Volume) -> None:
    """Fill polygons into the code volume (columns, rows, slices), which is this function's to write."""
    to_index = np.linalg.inv(volume.affine) @ np.diag([-1.0, -1.0, 1.0, 1.0])
    layers: dict[int, Array] = {}
    for polygon in polygons:
        index = (to_index[:3, :3] @ polygon.T + to_index[:3, 3:]).T
        k = round(float(index[:, 2].mean()))
        if abs(float(index[:, 2].mean()) - k) <= 0.5 and 0 <= k < codes.shape[2]:
            mask = _fill(index[:, :2], codes.shape[:2])
            layers[k] = layers[k] ^ mask if k in layers else mask
    for k, mask in layers.items():
        codes[:, :, k][mask] = code


def _fill(points: Array, shape: tuple[int, ...]) -> Array:
    """Rasterise one polygon given as (column, row) indices into a mask (columns, rows)."""
    from PIL import Image, ImageDraw

    canvas = Image.new("1", (shape[0], shape[1]))
    ImageDraw.Draw(canvas).polygon([(float(x), float(y)) for x, y in points], fill=1)
    return np.asarray(canvas).T
