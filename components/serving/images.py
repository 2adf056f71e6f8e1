"""Image bytes from outside into RGB pixels: PNG, JPEG or DICOM by content, never by name; the rest is refused.

Bounds are checked before pixels are decoded. Only bytes are taken: a served model that opened paths would
let its callers read this machine's files.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from components.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

LARGEST_FILE_BYTES = 64 << 20
LARGEST_PIXELS = 64_000_000
DICOM_MARK = slice(128, 132)
PICTURES = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff"}
FIX = "give a PNG, JPEG or DICOM file"


def open_image(content: bytes) -> Image:
    """Decode bytes to an RGB picture (a multi-frame DICOM gives its middle frame).

    Raises:
        DataError: too large, of another format, or not to be decoded.
    """
    if len(content) > LARGEST_FILE_BYTES:
        raise DataError(f"the image has {len(content)} bytes, at most {LARGEST_FILE_BYTES} are read", fix=FIX)
    if content[DICOM_MARK] == b"DICM":
        return _open_dicom(content)
    kind = next((name for name, mark in PICTURES.items() if content.startswith(mark)), "")
    if not kind:
        raise DataError("neither PNG, JPEG nor DICOM", fix=FIX)
    return _open_picture(content, kind)


def _open_picture(content: bytes, kind: str) -> Image:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=[kind]) as picture:
            check_pixels(picture.width * picture.height)
            return picture.convert("RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"the {kind} does not decode: {error}", fix=FIX) from error


def _open_dicom(content: bytes) -> Image:
    import pydicom
    from PIL import Image

    from components.data.dicom import decode_frames, is_mirrored

    try:
        dataset = pydicom.dcmread(io.BytesIO(content))
        size = int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("NumberOfFrames") or 1)
        check_pixels(size)
        frames = decode_frames(dataset)
    except (OSError, EOFError, ValueError, AttributeError, KeyError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"the DICOM does not decode: {error}", fix=FIX) from error
    pixels = _shown(frames[len(frames) // 2], frames, str(dataset.get("Modality", "")))
    return Image.fromarray(pixels[:, :: -1 if is_mirrored(dataset) else 1].copy()).convert("RGB")


def _shown(frame: Any, frames: Any, modality: str) -> Any:
    """Window intensities to 8 bits: soft tissue for CT, percentiles for the rest; colours stay."""
    from components.data.windows import bounds, to_grey

    if frames.ndim == 4:
        return frame
    return to_grey(frame, *bounds("soft tissue" if modality == "CT" else "percentile 1-99", frames))


def check_pixels(count: int) -> None:
    """Raise DataError when an image would take more memory than one image should."""
    if count > LARGEST_PIXELS:
        raise DataError(f"the image has {count} pixels, at most {LARGEST_PIXELS} are decoded", fix=FIX)
