"""A DICOM series with an RTSTRUCT: closed planar contours in millimetres drawn into the slices' masks.

A folder is one series and one study, or (`match: reference`, as TCIA hands them out) a series is where its
RTSTRUCT's header says. Contours are matched to the slice at their height (within half the
slice spacing) and filled by the even-odd rule, so that a contour inside another cuts a hole. Refused: an ROI
name the card does not know, a series whose slices disagree in size or orientation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from components.data.card import Card, Term
from components.data.deidentify import header_facts
from components.data.dicom import open_dicom, orientation_of
from components.data.dicom_volumes import keys_of
from components.data.faults import Refused
from components.data.reading import (
    UNREADABLE,
    Draft,
    ReadContext,
    Rejection,
    find_files,
    finish_all,
    parse_options,
    reason_of,
)
from components.data.slices import LabelledVolume, SliceOptions, cut_slices, side_contradicts
from components.data.volume_records import (
    attempt,
)
from components.data.volumes import Volume, affine_from_dicom, to_lps
from components.records import Record

VERSION = 1
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
    folders: dict[Path, list[Path]] = {}
    for path in find_files(root, options.series):
        folders.setdefault(path.parent, []).append(path)
    for folder, files in folders.items():
        yield from finish_all(_read_series(root, folder, files, card, options, context.max_side), card, context)


def _read_by_reference(
    root: Path, card: Card, options: Options, context: ReadContext
) -> Iterator[Record | Rejection]:
    """Match every RTSTRUCT below the root to the series it refers to, wherever either lies."""
    paths = {path.relative_to(root).as_posix(): path for path in find_files(root, options.series)}
    series: dict[str, list[Path]] = {}
    structures: dict[str, list[Path]] = {}
    for key in keys_of(paths.items()):
        if isinstance(key, Rejection):
            yield key
        elif key.is_image:
            series.setdefault(key.series, []).append(paths[key.file])
        elif key.kind == RTSTRUCT:
            uid = attempt(partial(_referenced_series, paths[key.file]), key.file)
            if isinstance(uid, Rejection):
                yield uid
            else:
                structures.setdefault(uid, []).append(paths[key.file])
    for uid, files in structures.items():
        if uid not in series:
            yield from (Rejection(path.relative_to(root).as_posix(), "series_missing") for path in files)
    yield from finish_all(_read_matched(root, card, options, context.max_side, series, structures), card, context)


def _read_matched(
    root: Path, card: Card, options: Options, max_side: int,
    series: Mapping[str, Sequence[Path]], structures: Mapping[str, Sequence[Path]],
) -> Iterator[Draft | Rejection]:  # fmt: skip
    numbers: dict[Path, int] = {}
    for uid, images in series.items():
        folder = images[0].parent
        numbers[folder] = numbers.get(folder, -1) + 1
        if uid in structures or options.unlabelled == "keep":
            files = [*images, *structures.get(uid, ())]
            part = f"series/{numbers[folder]:02d}"
            yield from _read_series(root, folder, files, card, options, max_side, part=part)


def _referenced_series(path: Path) -> str:
    """Return the SeriesInstanceUID that an RTSTRUCT refers to (PS3.3 C.8.8.5)."""
    for frame in open_dicom(path).get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            for referred in study.get("RTReferencedSeriesSequence") or ():
                return str(referred.SeriesInstanceUID)
    raise Refused("series_missing")


def _read_series(
    root: Path, folder: Path, files: Sequence[Path], card: Card, options: Options, max_side: int,
    *, part: str = "",
) -> Iterator[Draft | Rejection]:  # fmt: skip
    relative = folder.relative_to(root).as_posix()
    datasets, refused = _open_all(root, files)
    yield from refused
    images = sorted((d for d in datasets if str(d.SOPClassUID) != RTSTRUCT), key=_height)
    structures = [d for d in datasets if str(d.SOPClassUID) == RTSTRUCT]
    try:
        volume = _stack(images)
    except UNREADABLE:
        yield Rejection(relative, "series_not_one_volume")
        return
    codes, terms = np.zeros(volume.voxels.shape, dtype=np.uint8), {}
    for name, polygons in _contours(structures):
        term = card.term(name)
        if term is None:
            yield Rejection(f"{relative}#{name}", "label_not_in_vocabulary")
        elif term.label:
            code = _code_of(terms, term)
            _draw(codes, code, polygons, volume)
    standing = to_lps(Volume(codes, volume.affine))
    if side_contradicts(standing.voxels, terms):
        yield Rejection(relative, "side_contradicts_orientation")
        return
    labelled = LabelledVolume(
        path=relative, volume=to_lps(volume), codes=standing.voxels if structures else None, terms=terms,
        vocabulary=card.labels if structures else (), patient=str(images[0].get("PatientID", "") or ""),
        facts=tuple(sorted(header_facts(images[0]).items())), study=relative, part=part,
        axial_paths=_axial_paths(images, volume, root),
    )  # fmt: skip
    yield from cut_slices(labelled, options, max_side=max_side)


def _axial_paths(images: Sequence[Any], volume: Volume, root: Path) -> tuple[str, ...]:
    """Name the slices' files from foot to head, when the slices are axial."""
    upwards = float(volume.affine[2, 2])
    if abs(upwards) < 0.9 * volume.spacing_mm[2]:
        return ()
    paths = tuple(Path(image.filename).relative_to(root).as_posix() for image in images)
    return paths if upwards > 0 else paths[::-1]


def _open_all(root: Path, files: Sequence[Path]) -> tuple[list[Any], list[Rejection]]:
    datasets, refused = [], []
    for path in files:
        try:
            dataset = open_dicom(path)
            if str(dataset.SOPClassUID) != RTSTRUCT:
                _ = dataset.pixel_array
            datasets.append(dataset)
        except UNREADABLE as error:
            refused.append(Rejection(path.relative_to(root).as_posix(), reason_of(error)))
    return datasets, refused


def _height(dataset: Any) -> float:
    """Position along the slices' normal, in mm."""
    directions = orientation_of(dataset)
    if directions is None:
        return 0.0
    return float(np.dot(np.cross(*directions), np.asarray(dataset.ImagePositionPatient, dtype=float)))


def _stack(images: Sequence[Any]) -> Volume:
    """Stack slices into a Volume indexed (column, row, slice), in Hounsfield units."""
    first = images[0] if images else None
    directions = orientation_of(first) if first is not None else None
    if first is None or directions is None:
        raise ValueError("no oriented slices")
    slices = [image.pixel_array.astype(np.float32) * _number(image, "RescaleSlope", 1) for image in images]
    voxels = np.stack(slices, axis=-1) + _number(first, "RescaleIntercept", 0)
    heights = [_height(image) for image in images]
    between = float(np.median(np.diff(heights))) if len(heights) > 1 else _number(first, "SliceThickness", 1)
    rows_mm, columns_mm = map(float, first.PixelSpacing)
    origin = np.asarray(first.ImagePositionPatient, dtype=float)
    affine = affine_from_dicom(origin, *directions, np.array([columns_mm, rows_mm, between]))
    return Volume(voxels.transpose(1, 0, 2).astype(np.int16), affine)


def _number(dataset: Any, keyword: str, default: float) -> float:
    value = dataset.get(keyword)
    return default if value in (None, "") else float(value)


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
