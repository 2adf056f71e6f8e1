"""DICOM pixels: stored values to intensities or colours, whatever the photometric interpretation.

Supports MONOCHROME1 (inverted), MONOCHROME2, PALETTE COLOR, RGB and every YBR that pydicom converts, single
and multi-frame. pydicom applies the modality rescale for CT; nothing here reads who the patient is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def open_dicom(path: Path) -> Any:
    """Read one DICOM file as a pydicom Dataset; OSError when it is none, EOFError when cut short."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        return pydicom.dcmread(path)
    except InvalidDicomError as error:
        raise OSError(str(error)) from error


def decode_frames(dataset: Any) -> Array:
    """Return (N, H, W) intensities (Hounsfield units for CT) or (N, H, W, 3) uint8 colours.

    MONOCHROME1 is inverted, so that high is bright. Raises ValueError for an interpretation not known.
    """
    pixels = dataset.pixel_array
    kind = str(dataset.PhotometricInterpretation)
    if kind == "PALETTE COLOR":
        pixels = _palette(pixels, dataset)
    is_colour = pixels.ndim >= 3 and pixels.shape[-1] == 3
    frames = pixels if pixels.ndim == (4 if is_colour else 3) else pixels[None]
    if is_colour:
        return _eight_bit(frames)
    if kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise ValueError(f"photometric interpretation {kind!r} is not read")
    return _rescale(frames, dataset, inverted=kind == "MONOCHROME1")


def _palette(pixels: Array, dataset: Any) -> Array:
    from pydicom.pixels import apply_color_lut

    return apply_color_lut(pixels, dataset)


def _eight_bit(frames: Array) -> Array:
    if frames.dtype == np.uint8:
        return frames
    # 16-bit palettes use the upper byte (PS3.3 C.7.9.2); narrower ones fit as they are.
    return (frames >> 8).astype(np.uint8) if frames.max(initial=0) > 255 else frames.astype(np.uint8)


def _rescale(frames: Array, dataset: Any, *, inverted: bool) -> Array:
    slope, intercept = float(dataset.get("RescaleSlope", 1) or 1), float(dataset.get("RescaleIntercept", 0) or 0)
    values = frames.astype(np.float32) * slope + intercept
    return values.max() + values.min() - values if inverted else values


def orientation_of(dataset: Any) -> tuple[Array, Array] | None:
    """Return the unit vectors (LPS) along a row and down a column, or None when the header has none.

    Enhanced objects keep them in the functional groups that all frames share.
    """
    holder = dataset
    for shared in dataset.get("SharedFunctionalGroupsSequence") or ():
        for group in shared.get("PlaneOrientationSequence") or ():
            holder = group
    values = holder.get("ImageOrientationPatient")
    if values is None or len(values) != 6:
        return None
    row, column = np.asarray(values[:3], dtype=float), np.asarray(values[3:], dtype=float)
    return row, column


def is_mirrored(dataset: Any) -> bool:
    """Tell whether a projection image runs towards the patient's right (PatientOrientation "R\\…").

    Radiological display has the patient's right on the image's left, so rows run towards the left.
    """
    return str((dataset.get("PatientOrientation") or [""])[0]).startswith("R")
