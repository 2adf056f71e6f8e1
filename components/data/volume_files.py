"""Volume files of every pure format as one thing: NIfTI (and Analyze, MGH), MetaImage, NRRD, plain .npy arrays.

Memory is bounded by one volume at its stored width: uncompressed files are mapped and only the slices that
are looked at are read; compressed and rescaled ones are unpacked slab by slab. Refused, by name:
`volume_not_finite`, `volume_not_grey`, `volume_not_3d`, `orientation_missing`, `affine_singular`, and for label
maps `label_not_whole`, `label_negative`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from components.data.faults import Refused
from components.data.metaimage import file_beside, read_metaimage
from components.data.volume_records import (
    check_unpacked,
)
from components.data.volumes import RAS_FROM_LPS, Volume, to_lps

Array = np.ndarray[Any, Any]
SLAB_VOXELS = 1 << 22
SPACES = {
    "left-posterior-superior": RAS_FROM_LPS, "lps": RAS_FROM_LPS,
    "right-anterior-superior": np.eye(4), "ras": np.eye(4),
}  # fmt: skip
TOWARDS = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
NOT_WHOLE = 1e-3


@dataclass(frozen=True, slots=True)
class StoredVolume:
    """Voxels (I, J[, K[, T]]) as stored, their RAS affine (4, 4), and whether the file states an orientation."""

    voxels: Array
    affine: Array
    is_oriented: bool


def read_stored(path: Path) -> StoredVolume:
    """Read a volume file by its suffix.

    Raises OSError when it is none, EOFError when it is cut short, Refused when its voxels are colours,
    complex, NaN or infinite.
    """
    name = path.name.lower()
    if name.endswith((".mha", ".mhd")):
        found = read_metaimage(path)
        stored = StoredVolume(found.voxels, found.affine, found.is_oriented)
    elif name.endswith((".nrrd", ".nhdr")):
        stored = _read_stored_nrrd(path)
    elif name.endswith(".npy"):
        stored = _read_array(path)
    else:
        stored = read_nifti_mapped(path)
    check_finite(stored.voxels)
    return stored


def read_nifti_mapped(path: Path) -> StoredVolume:
    """Read a NIfTI, Analyze or MGH file: mapped when uncompressed and unscaled, else as stored or float32."""
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    try:
        image: Any = nibabel.load(path, keep_file_open=True)
        proxy = image.dataobj
    except (ImageFileError, HeaderDataError, WrapStructError) as error:
        raise OSError(str(error)) from error
    if proxy.dtype.fields is not None or proxy.dtype.kind not in "iuf":
        raise Refused("volume_not_grey")
    is_packed = not path.name.lower().endswith((".nii", ".img", ".hdr", ".mgh"))
    is_plain = (proxy.slope, proxy.inter) == (1.0, 0.0) and proxy.dtype.itemsize <= 4
    if is_packed or not is_plain:
        check_unpacked(float(np.prod(proxy.shape, dtype=np.float64)), max(4, proxy.dtype.itemsize))
    voxels = proxy.get_unscaled() if is_plain else _unpack(proxy)
    return StoredVolume(voxels, np.asarray(image.affine, dtype=float), _states_orientation(image.header))


def _states_orientation(header: Any) -> bool:
    """NIfTI says so by a code, MGH by a flag, Analyze not at all."""
    keys = [key for key in ("sform_code", "qform_code", "goodRASFlag") if key in header]
    return any(int(header[key]) for key in keys)


def _unpack(proxy: Any) -> Array:
    """Apply slope and intercept slab by slab along the slowest axis."""
    out = np.empty(proxy.shape, dtype=np.float32, order="F")
    for slab in slabs(out):
        out[slab] = proxy[slab]
    return out


def slabs(voxels: Array) -> Iterator[tuple[slice, ...]]:
    """Yield indices that cut the last axis of an array into slabs of about four million voxels."""
    step = max(1, SLAB_VOXELS // max(1, voxels[..., :1].size))
    for start in range(0, voxels.shape[-1], step):
        yield (*(slice(None),) * (voxels.ndim - 1), slice(start, start + step))


def read_nrrd(path: Path) -> tuple[Volume, Mapping[str, Any]]:
    """Read a NRRD file and its header; the layers of a 3D Slicer segmentation are laid over each other.

    Raises OSError when it is none or states no anatomical space.
    """
    voxels, header = _open_nrrd(path)
    to_ras = SPACES.get(str(header.get("space", "")).lower())
    if to_ras is None:
        raise OSError(f"no known anatomical space: {header.get('space')!r}")
    directions = np.asarray(header["space directions"], dtype=float)
    if voxels.ndim == 4:
        voxels, directions = _flatten_layers(voxels), directions[-3:]
    affine = np.eye(4)
    affine[:3, :3] = directions.T
    affine[:3, 3] = header["space origin"]
    return Volume(voxels, to_ras @ affine), header


def _open_nrrd(path: Path) -> tuple[Array, Mapping[str, Any]]:
    import nrrd

    try:
        header = nrrd.read_header(str(path))
        beside = str(header.get("data file", header.get("datafile", "")))
        if PurePosixPath(beside).name != beside or beside.upper().startswith("LIST"):
            raise OSError(f"NRRD data file {beside!r} is not one file beside its header")
        if beside:
            file_beside(path, beside)
        check_unpacked(float(np.prod(np.asarray(header["sizes"], dtype=np.float64))), 2)
        return nrrd.read(str(path))
    except nrrd.NRRDError as error:
        raise OSError(str(error)) from error


def _read_stored_nrrd(path: Path) -> StoredVolume:
    voxels, header = _open_nrrd(path)
    if voxels.dtype.kind not in "iuf":
        raise Refused("volume_not_grey")
    if str(header.get("space", "")).lower() in SPACES and "space directions" in header:
        volume, _ = read_nrrd(path)
        return StoredVolume(volume.voxels, volume.affine, is_oriented=True)
    spacing = [*map(float, header.get("spacings", ())), 1.0, 1.0, 1.0][:3]
    return StoredVolume(voxels, np.diag([*np.nan_to_num(spacing, nan=1.0), 1.0]), is_oriented=False)


def _read_array(path: Path) -> StoredVolume:
    """Map a .npy file, never a pickle; it states neither spacing nor orientation."""
    voxels = np.load(path, mmap_mode="r", allow_pickle=False)
    if voxels.dtype.kind not in "iufb":
        raise Refused("volume_not_grey")
    if voxels.ndim not in (2, 3, 4):
        raise Refused("volume_not_3d")
    return StoredVolume(
        voxels.view(np.uint8) if voxels.dtype.kind == "b" else voxels, np.eye(4), is_oriented=False
    )


def _flatten_layers(voxels: Array) -> Array:
    out = voxels[0].copy()
    for layer in voxels[1:]:
        out[layer > 0] = layer[layer > 0]
    return out


def check_finite(voxels: Array) -> None:
    """Raise Refused for a NaN or an infinity, looking at a slab at a time."""
    if 0 in voxels.shape:
        raise Refused("volume_empty")
    if voxels.dtype.kind == "f" and not all(np.isfinite(voxels[slab]).all() for slab in slabs(voxels)):
        raise Refused("volume_not_finite")


def without_trailing_ones(stored: StoredVolume) -> StoredVolume:
    """Drop axes of length one beyond the third."""
    voxels = stored.voxels
    while voxels.ndim > 3 and voxels.shape[-1] == 1:
        voxels = voxels[..., 0]
    return StoredVolume(voxels, stored.affine, stored.is_oriented)


def stand(stored: StoredVolume, orientation: str) -> Volume:
    """Turn three-dimensional voxels to LPS.

    `orientation` is "header" (the file's affine), "stored" (the array's axes are taken for left, back and head
    as they lie), or three letters such as "RAS" that state where the axes run, whatever the header says.
    """
    voxels = stored.voxels[:, :, None] if stored.voxels.ndim == 2 else stored.voxels
    if voxels.ndim != 3:
        raise Refused("volume_not_3d")
    spacing = np.sqrt((stored.affine[:3, :3] ** 2).sum(axis=0))
    if not np.isfinite(stored.affine).all() or (spacing < 1e-9).any():
        raise Refused("affine_singular")
    if orientation == "header":
        if not stored.is_oriented:
            raise Refused("orientation_missing")
        if abs(np.linalg.det(stored.affine[:3, :3] / spacing)) < 1e-3:
            raise Refused("affine_singular")
        return to_lps(Volume(voxels, stored.affine))
    return to_lps(Volume(voxels, _stated_affine("LPS" if orientation == "stored" else orientation, spacing)))


def _stated_affine(axes: str, spacing: Array) -> Array:
    """RAS affine, up to its origin, of an array whose axes run towards these letters."""
    affine = np.eye(4)
    affine[:3, :3] = np.array([TOWARDS[letter] for letter in axes], dtype=float).T * spacing
    return affine


def whole_codes(voxels: Array, threshold: float | None = None) -> Array:
    """Return a label map as uint8 or uint16 codes; with a threshold, code 1 where the voxel is above it.

    Raises Refused for values that are negative or no whole numbers.
    """
    if threshold is not None:
        return (voxels > threshold).astype(np.uint8)
    low, high = float(voxels.min()), float(voxels.max())
    if low < 0:
        raise Refused("label_negative")
    if high > np.iinfo(np.uint16).max:
        raise Refused("label_not_in_vocabulary")
    out = np.empty(voxels.shape, dtype=np.uint8 if high < 256 else np.uint16, order="F")
    for slab in slabs(voxels):
        part = voxels[slab]
        rounded = np.rint(part) if part.dtype.kind == "f" else part
        if part.dtype.kind == "f" and np.abs(part - rounded).max(initial=0) > NOT_WHOLE:
            raise Refused("label_not_whole")
        out[slab] = rounded
    return out
