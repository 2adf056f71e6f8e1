"""Volumes in patient space: read, turned to one orientation, resampled, cut into slices as radiologists see them.

A Volume's array is (I, J, K) and its affine takes voxel indices to millimetres in RAS (x to the patient's
right is negative, as in NIfTI). After `to_lps` the axes run to the patient's left, back and head, so a slice
shows the patient's right on the image's left, whatever order the file stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.records import Plane

Array = np.ndarray[Any, Any]
AXIS_OF: dict[str, int] = {"sagittal": 0, "coronal": 1, "axial": 2}
RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
PLANES: tuple[Plane, ...] = ("sagittal", "coronal", "axial")
OBLIQUE_BELOW = 0.9
SLAB = 16


@dataclass(frozen=True, slots=True)
class Volume:
    """Voxels (I, J, K) and their affine (4, 4) to RAS millimetres."""

    voxels: Array
    affine: Array

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Millimetres between voxel centres along the three array axes."""
        i, j, k = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0)).tolist()
        return i, j, k


def read_nifti(path: Path) -> list[Volume]:
    """Read a NIfTI file: one Volume a time point. Raises OSError when it is no NIfTI
    or holds not one number, EOFError when cut short.

    Floating-point files of whole numbers (scaled CT) become int16, so that a chest CT stays at 70 MB.
    """
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    try:
        image = nibabel.load(path)
        voxels = np.asanyarray(image.dataobj)  # ty: ignore[missing-attribute]
        affine = np.asarray(image.affine, dtype=float)  # ty: ignore[missing-attribute]
    except ImageFileError as error:
        raise OSError(str(error)) from error
    if voxels.ndim not in (3, 4):
        raise OSError(f"{voxels.ndim} dimensions where 3 or 4 are read")
    series = [voxels] if voxels.ndim == 3 else [voxels[..., t] for t in range(voxels.shape[3])]
    return [Volume(_compact(one), affine) for one in series]


def _compact(voxels: Array) -> Array:
    if voxels.dtype.kind != "f":
        return voxels
    rounded = np.rint(voxels)
    if rounded.size and np.isnan(rounded.max()) and np.isnan(rounded).all():
        raise OSError("not one voxel is a number")
    is_whole = np.allclose(voxels[:: max(1, len(voxels) // 8)], rounded[:: max(1, len(voxels) // 8)], atol=1e-3)
    fits = rounded.size and rounded.min() >= -32768 and rounded.max() <= 32767
    return rounded.astype(np.int16) if is_whole and fits else voxels.astype(np.float32)


def to_lps(volume: Volume) -> Volume:
    """Flip and permute axes (no resampling) so that they run nearest to left, posterior and superior."""
    from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

    transform = ornt_transform(io_orientation(volume.affine), axcodes2ornt(("L", "P", "S")))
    affine = volume.affine @ inv_ornt_aff(transform, volume.voxels.shape)
    return Volume(apply_orientation(volume.voxels, transform), affine)


def is_same_grid(one: Volume, other: Volume) -> bool:
    """Tell whether two volumes share shape and affine (to 0.01 mm)."""
    return one.voxels.shape == other.voxels.shape and np.allclose(one.affine, other.affine, atol=1e-2)


def resample_labels(labels: Volume, target: Volume) -> Volume:
    """Put a label volume onto another's grid: the nearest label voxel in millimetres, 0 outside."""
    out = np.zeros(target.voxels.shape, dtype=labels.voxels.dtype)
    to_labels = np.linalg.inv(labels.affine) @ target.affine
    turn, shift = to_labels[:3, :3].astype(np.float32), to_labels[:3, 3:].astype(np.float32)
    ni, nj, nk = target.voxels.shape
    for start in range(0, nk, SLAB):
        stop = min(nk, start + SLAB)
        grid = np.indices((ni, nj, stop - start), dtype=np.float32).reshape(3, -1)
        grid[2] += start
        index = np.rint(turn @ grid + shift).astype(int)
        inside = ((index >= 0) & (index < np.array(labels.voxels.shape)[:, None])).all(axis=0)
        slab = np.zeros(inside.size, dtype=out.dtype)
        slab[inside] = labels.voxels[tuple(index[:, inside])]
        out[:, :, start:stop] = slab.reshape(ni, nj, stop - start)
    return Volume(out, target.affine)


def display(voxels: Array, plane: Plane, index: int) -> Array:
    """Cut one slice (rows, columns) out of an LPS array as it is looked at.

    axial: front up, patient's right on the left; coronal: head up, right on the left; sagittal: head up,
    front on the left.
    """
    # Plain indexing gives a view; np.take would first copy the whole volume to make it contiguous.
    cut = voxels[(slice(None),) * AXIS_OF[plane] + (index,)].T
    return cut if plane == "axial" else cut[::-1]


def display_spacing(volume: Volume, plane: Plane) -> tuple[float, float]:
    """Return (row, column) spacing in mm of `display`'s result."""
    across, back, up = volume.spacing_mm
    return {"axial": (back, across), "coronal": (up, across), "sagittal": (up, back)}[plane]


def plane_of(normal: Array) -> Plane:
    """Name the plane with this normal (LPS or RAS), or "not stated" when it is more than 26 degrees oblique."""
    axis = int(np.abs(normal).argmax())
    is_oblique = abs(normal[axis]) < OBLIQUE_BELOW * float(np.linalg.norm(normal))
    return "not stated" if is_oblique else PLANES[axis]


def stated_plane(volume: Volume, plane: Plane) -> Plane:
    """Name what a slice of an LPS volume truly is, by the two axes that lie in it."""
    in_plane = [axis for axis in range(3) if axis != AXIS_OF[plane]]
    first, second = (volume.affine[:3, axis] for axis in in_plane)
    return plane_of(np.cross(first, second))


def affine_from_dicom(origin: Array, row_direction: Array, column_direction: Array, spacing: Array) -> Array:
    """Return the RAS affine of an array indexed (column, row, slice) from DICOM's LPS fields.

    `spacing` is (between columns, between rows, between slices) in mm; slices follow row x column direction.
    Source: DICOM PS3.3 section C.7.6.2.1.1.
    """
    lps = np.eye(4)
    lps[:3, 0] = row_direction * spacing[0]
    lps[:3, 1] = column_direction * spacing[1]
    lps[:3, 2] = np.cross(row_direction, column_direction) * spacing[2]
    lps[:3, 3] = origin
    return RAS_FROM_LPS @ lps
