"""DICOM files as series: headers read without their pixels, slices stacked into volumes, functional groups.

One series is in memory at a time, at two bytes a voxel where its values are whole. Refused, by name:
`no_pixels`, `series_not_one_volume` (sizes, orientations or spacings differ, or the positions do not repeat
evenly), `slices_missing` (uneven spacing where other planes than the stored one are asked for),
`instance_repeated` (a SOPInstanceUID seen before).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from components.data.dicom import decode_frames, open_dicom, orientation_of
from components.data.faults import Refused
from components.data.reading import Rejection
from components.data.volume_records import (
    attempt,
    check_unpacked,
)
from components.data.volumes import PLANES, Volume, affine_from_dicom
from components.records import Modality

Array = np.ndarray[Any, Any]
# Objects that are about images and are none themselves (PS3.3 C.7.3.1.1.1): another reader's, or nobody's.
NOT_IMAGES = frozenset(
    {"SEG", "RTSTRUCT", "RTPLAN", "RTDOSE", "RTRECORD", "SR", "PR", "KO", "REG", "FID", "DOC", "PLAN"}
)
# The same by SOP class, for headers without a modality: DICOMDIR, RTSTRUCT, SEG.
NOT_PICTURES = frozenset(
    {
        "1.2.840.10008.1.3.10",
        "1.2.840.10008.5.1.4.1.1.481.3",
        "1.2.840.10008.5.1.4.1.1.66.4",
        "1.2.840.10008.5.1.4.1.1.66.7",
    }
)
MODALITIES: dict[str, Modality] = {
    "CT": "CT", "MR": "MR", "PT": "PET", "US": "Ultrasound", "IVUS": "Ultrasound", "CR": "X-ray", "DX": "X-ray",
    "MG": "X-ray", "XA": "X-ray", "RF": "X-ray", "PX": "X-ray", "IO": "X-ray", "NM": "Nuclear medicine",
    "OP": "Fundus", "OPT": "OCT", "ES": "Endoscopy", "SM": "Pathology", "GM": "Microscopy", "DMS": "Dermoscopy",
}  # fmt: skip
UNEVEN = 0.5
PLACE_DIGITS = 2  # slices less than 0.01 mm apart are at one place


@dataclass(frozen=True, slots=True)
class FileKey:
    """What tells one DICOM file from another: its series, its instance, its SOP class (`kind`).

    `is_image` is false for plans, reports, contours, segmentations and directories.
    """

    file: str
    series: str
    instance: str
    kind: str
    is_image: bool


@dataclass(frozen=True, slots=True)
class Header:
    """One DICOM file without its pixels. `height` is its place along its normal in mm, None without geometry."""

    file: str
    tags: Any
    height: float | None
    num_frames: int


def read_key(path: Path, file: str) -> FileKey:
    """Read what tells a file from another. Raises OSError when it is no DICOM file, EOFError when cut short."""
    tags = _read_tags(path, specific_tags=["SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality"])
    series, instance, kind, modality = (
        str(tags.get(name, "") or "")
        for name in ("SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "Modality")
    )
    kind = kind or str(tags.file_meta.get("MediaStorageSOPClassUID", ""))
    return FileKey(file, series, instance, kind, modality not in NOT_IMAGES and kind not in NOT_PICTURES)


def read_header(path: Path, file: str) -> Header:
    """Read a file's header; raises as `read_key` does."""
    tags = _read_tags(path)
    return Header(file, tags, height_of(tags), max(1, int(tags.get("NumberOfFrames", 1) or 1)))


def _read_tags(path: Path, **options: Any) -> Any:
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        return pydicom.dcmread(path, stop_before_pixels=True, **options)
    except InvalidDicomError as error:
        raise OSError(str(error)) from error


def keys_of(files: Iterable[tuple[str, Path]]) -> Iterator[FileKey | Rejection]:
    """Read each file's key; a SOPInstanceUID that was seen before is a rejection (`instance_repeated`)."""
    seen: set[str] = set()
    for file, path in files:
        key = attempt(partial(read_key, path, file), file)
        if not isinstance(key, Rejection) and key.instance in seen:
            yield Rejection(file, "instance_repeated")
            continue
        if not isinstance(key, Rejection) and key.instance:
            seen.add(key.instance)
        yield key


def height_of(tags: Any) -> float | None:
    """Return a single frame's place along its slices' normal, in mm."""
    directions, position = orientation_of(tags), tags.get("ImagePositionPatient")
    if directions is None or position is None or len(position) != 3:
        return None
    return float(np.dot(np.cross(*directions), np.asarray(position, dtype=float)))


def decode_file(path: Path) -> tuple[Any, Array]:
    """Return a file's dataset and its frames (`decode_frames`); Refused("no_pixels") when it has none."""
    dataset = open_dicom(path)
    if not any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise Refused("no_pixels")
    sizes = [int(dataset.get(name, 1) or 1) for name in ("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel")]
    check_unpacked(float(np.prod(sizes, dtype=np.float64)), 4)
    return dataset, decode_frames(dataset)


@dataclass(frozen=True, slots=True)
class Plate:
    """One slice before it is stacked: where it lies, and how its intensities (rows, columns) are had."""

    file: str
    place: Array
    order: int
    load: Callable[[], Array]


@dataclass(frozen=True, slots=True)
class Grid:
    """What the slices of one volume share: rows and columns, directions (LPS), spacing, fall-back thickness."""

    shape: tuple[int, int]
    row: Array
    column: Array
    row_mm: float
    column_mm: float
    thickness_mm: float
    is_whole: bool

    def is_like(self, other: Grid) -> bool:
        """Tell whether slices of both may be stacked."""
        mine, its = (
            np.array([*g.row, *g.column, g.row_mm, g.column_mm], dtype=float) for g in (self, other)
        )  # fmt: skip
        return self.shape == other.shape and np.allclose(mine, its, atol=1e-3)


@dataclass(frozen=True, slots=True)
class Stacked:
    """A volume indexed (column, row, slice) from low to high along its normal, and each slice's file."""

    volume: Volume
    files: tuple[str, ...]
    is_even: bool

    def axial_files(self) -> tuple[str, ...]:
        """The slices' files from foot to head, when the slices are axial; else none."""
        upwards = float(self.volume.affine[2, 2])
        if abs(upwards) < 0.9 * self.volume.spacing_mm[2]:
            return ()
        return self.files if upwards > 0 else self.files[::-1]

    def can_show(self, planes: Collection[str]) -> bool:
        """Tell whether these planes may be cut: across uneven slices only the stored one is true to scale."""
        own = PLANES[int(np.abs(self.volume.affine[:3, 2]).argmax())]
        return self.is_even or set(planes) <= {own}


def stack_files(headers: Sequence[Header], root: Path) -> list[Stacked]:
    """Stack single-frame files into a volume, or into several when every place is filled several times."""
    grids = [_grid_of_file(header.tags) for header in headers]
    if any(not grids[0].is_like(grid) for grid in grids):
        raise Refused("series_not_one_volume")
    grid = replace(grids[0], is_whole=all(grid.is_whole for grid in grids))
    plates = [
        Plate(
            file=header.file, place=np.asarray(header.tags.ImagePositionPatient, dtype=float),
            order=int(header.tags.get("InstanceNumber") or 0), load=partial(_load_slice, root / header.file),
        )
        for header in headers
    ]  # fmt: skip
    return stack_plates(plates, grid)


def stack_one(headers: Sequence[Header], root: Path) -> Stacked:
    """Stack single-frame files that are one volume; Refused (`series_not_one_volume`) when they are not."""
    if not headers or any(header.height is None for header in headers):
        raise Refused("series_not_one_volume")
    stacks = stack_files(headers, root)
    if len(stacks) != 1:
        raise Refused("series_not_one_volume")
    return stacks[0]


def _load_slice(path: Path) -> Array:
    frames = decode_file(path)[1]
    if frames.ndim != 3 or len(frames) != 1:
        raise Refused("series_not_one_volume")
    return frames[0]


def _grid_of_file(tags: Any) -> Grid:
    directions = orientation_of(tags)
    if directions is None or not tags.get("PixelSpacing"):
        raise Refused("series_not_one_volume")
    slope, intercept = number_of(tags, "RescaleSlope", 1), number_of(tags, "RescaleIntercept", 0)
    fits = int(tags.get("BitsStored", 16)) < 16 or int(tags.get("PixelRepresentation", 0)) == 1
    row_mm, column_mm = map(float, tags.PixelSpacing)
    return Grid(
        shape=(int(tags.Rows), int(tags.Columns)), row=directions[0], column=directions[1], row_mm=row_mm,
        column_mm=column_mm, thickness_mm=number_of(tags, "SliceThickness", 1),
        is_whole=slope == 1 and intercept == round(intercept) and fits,
    )  # fmt: skip


def number_of(tags: Any, keyword: str, default: float) -> float:
    """Return a numeric tag, or the default where it is absent or empty."""
    value = tags.get(keyword)
    return default if value in (None, "") else float(value)


def stack_plates(plates: Sequence[Plate], grid: Grid) -> list[Stacked]:
    """Stack slices by their place along the normal; the n-th slice at every place makes the n-th volume."""
    normal = np.cross(grid.row, grid.column)

    def height(plate: Plate) -> float:
        return round(float(plate.place @ normal), PLACE_DIGITS)

    ordered = sorted(plates, key=lambda plate: (height(plate), plate.order, plate.file))
    places = [list(group) for _, group in groupby(ordered, key=height)]
    if not places or len({len(group) for group in places}) != 1:
        raise Refused("series_not_one_volume")
    return [_stack([group[n] for group in places], grid, normal) for n in range(len(places[0]))]


def _stack(plates: Sequence[Plate], grid: Grid, normal: Array) -> Stacked:
    rows, columns = grid.shape
    voxels = np.empty((columns, rows, len(plates)), dtype=np.int16 if grid.is_whole else np.float32, order="F")
    limits = np.iinfo(np.int16)
    for k, plate in enumerate(plates):
        loaded = plate.load()
        if loaded.shape != grid.shape:
            raise Refused("series_not_one_volume")
        voxels[:, :, k] = np.clip(np.rint(loaded), limits.min, limits.max).T if grid.is_whole else loaded.T
    heights = np.array([float(plate.place @ normal) for plate in plates])
    steps = np.diff(heights)
    between = float(np.median(steps)) if len(steps) else grid.thickness_mm
    affine = affine_from_dicom(
        plates[0].place, grid.row, grid.column, np.array([grid.column_mm, grid.row_mm, between or 1.0])
    )
    is_even = not len(steps) or float(np.abs(steps - between).max()) <= UNEVEN * between
    return Stacked(Volume(voxels, affine), tuple(plate.file for plate in plates), is_even)


def group_of(dataset: Any, name: str, frame: int) -> Any | None:
    """Return a functional group's item for a frame: its own, else the one all frames share, else None."""
    own = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    shared = dataset.get("SharedFunctionalGroupsSequence") or ()
    for holder in (*own[frame : frame + 1], *shared):
        items = holder.get(name)
        if items:
            return items[0]
    return None


def grid_of_frames(dataset: Any) -> Grid | None:
    """Return the grid of an enhanced multi-frame object, None when its frames have no place in space."""
    measures, standing = (
        group_of(dataset, "PixelMeasuresSequence", 0),
        group_of(dataset, "PlaneOrientationSequence", 0),
    )
    if measures is None or standing is None or place_of_frame(dataset, 0) is None:
        return None
    values = np.asarray(standing.ImageOrientationPatient, dtype=float)
    row_mm, column_mm = map(float, measures.PixelSpacing)
    return Grid(
        shape=(int(dataset.Rows), int(dataset.Columns)), row=values[:3], column=values[3:], row_mm=row_mm,
        column_mm=column_mm, thickness_mm=number_of(measures, "SliceThickness", 1), is_whole=False,
    )  # fmt: skip


def place_of_frame(dataset: Any, frame: int) -> Array | None:
    """Return the LPS position (mm) of a frame's first pixel, or None."""
    item = group_of(dataset, "PlanePositionSequence", frame)
    return None if item is None else np.asarray(item.ImagePositionPatient, dtype=float)


def stack_frames(dataset: Any, frames: Array, file: str) -> list[Stacked]:
    """Stack the frames of an enhanced CT or MR; Refused when they are no volume."""
    grid = grid_of_frames(dataset)
    places = [place_of_frame(dataset, n) for n in range(len(frames))]
    plates = [
        Plate(file, place, n, partial(_rescaled, dataset, frames, n))
        for n, place in enumerate(places)
        if place is not None
    ]
    if grid is None or len(plates) != len(frames) or frames.ndim != 3:
        raise Refused("series_not_one_volume")
    return stack_plates(plates, grid)


def _rescaled(dataset: Any, frames: Array, frame: int) -> Array:
    """Apply the frame's own rescale (PS3.3 C.7.6.16.2.9); one at the top level is in `frames` already."""
    item = None if "RescaleSlope" in dataset else group_of(dataset, "PixelValueTransformationSequence", frame)
    if item is None:
        return frames[frame]
    return frames[frame] * number_of(item, "RescaleSlope", 1) + number_of(item, "RescaleIntercept", 0)
