"""Pixels to stored images and back: sizes, PNG bytes, exact and perceptual hashes."""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from components.data.faults import Refused

Pixels = np.ndarray[Any, Any]  # (H, W) or (H, W, 3), uint8
Size = tuple[int, int]  # (height, width) in pixels
PNG_LEVEL = 6
# Photometric interpretations of TIFF that are no grey and no RGB: palette, inks (CMYK), CIELAB
NOT_GREY_OR_RGB = frozenset({3, 5, 8})
# What Pillow's plugins raise for damaged files, beside the OSError and ValueError that they promise.
DAMAGED = (SyntaxError, struct.error, IndexError, TypeError, OverflowError, AssertionError)


def stored_size(height: int, width: int, *, max_side: int, row_mm: float = 1.0, column_mm: float = 1.0) -> Size:
    """Return the (height, width) an image is stored at.

    Pixels become square (at the finer of the two spacings), and the longest side at most `max_side`; nothing
    is enlarged beyond that.
    """
    finest = min(row_mm, column_mm)
    tall, wide = height * row_mm / finest, width * column_mm / finest
    scale = min(1.0, max_side / max(tall, wide))
    return max(1, round(tall * scale)), max(1, round(wide * scale))


def resize(pixels: Pixels, size: Size) -> Pixels:
    """Resize 8-bit pixels with an antialiasing filter."""
    from PIL import Image

    if pixels.shape[:2] == tuple(size):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BOX))


def store(pixels: Pixels, max_side: int) -> Pixels:
    """Shrink 8-bit pixels of square millimetres to their stored size; smaller ones stay as they are."""
    return resize(np.ascontiguousarray(pixels), stored_size(*pixels.shape[:2], max_side=max_side))


def resize_labels(labels: np.ndarray[Any, Any], size: Size) -> np.ndarray[Any, Any]:
    """Resize a label image by taking the nearest source pixel, so that no new label arises."""
    rows = ((np.arange(size[0]) + 0.5) * labels.shape[0] / size[0]).astype(int)
    columns = ((np.arange(size[1]) + 0.5) * labels.shape[1] / size[1]).astype(int)
    return labels[rows[:, None], columns[None, :]]


def to_rgb(pixels: Pixels) -> Pixels:
    """Return (H, W, 3) uint8."""
    return np.repeat(pixels[:, :, None], 3, axis=2) if pixels.ndim == 2 else pixels


def encode_png(pixels: Pixels) -> bytes:
    """Encode 8-bit grey or RGB pixels; the same pixels give the same bytes."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", compress_level=PNG_LEVEL)
    return buffer.getvalue()


def decode(content: bytes) -> Pixels:
    """Decode stored image bytes into (H, W, 3) uint8."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGB"))


@contextmanager
def decoding(path: Path) -> Generator[None, None, None]:
    """Give what Pillow raises for a bad file one name each.

    Raises Refused: `file_empty`, `image_too_large` (twice Pillow's MAX_IMAGE_PIXELS), `file_unreadable`.
    """
    from PIL import Image

    if path.stat().st_size == 0:
        raise Refused("file_empty", path.name)
    try:
        yield
    except Image.DecompressionBombError as error:
        raise Refused("image_too_large", path.name) from error
    except DAMAGED as error:
        raise Refused("file_unreadable", f"{path.name}: {error}") from error


def open_pixels(path: Path) -> Pixels:
    """Read an 8-bit image file as grey (H, W) or RGB (H, W, 3).

    Raises OSError when it does not decode, Refused (an OSError) with the reasons of `decoding`, and
    `image_not_8_bit` for deeper grey, which Pillow would clip to white.
    """
    from PIL import Image

    with decoding(path), Image.open(path) as picture:
        if picture.mode.startswith(("I", "F")):
            raise Refused("image_not_8_bit", path.name)
        kept = picture if picture.mode in ("L", "RGB") else picture.convert("RGB")
        return np.asarray(kept)


def pixel_hash(pixels: Pixels) -> str:
    """Return the sha256 of the decoded RGB pixels, row by row."""
    return hashlib.sha256(np.ascontiguousarray(to_rgb(pixels)).tobytes()).hexdigest()


def difference_hash(pixels: Pixels) -> str:
    """Return the 64-bit difference hash as 16 hex digits (N. Krawetz, hackerfactor.com, 2013).

    Each bit says whether a cell of an 8 x 9 thumbnail is brighter than its left neighbour.
    """
    from PIL import Image

    grey = Image.fromarray(np.ascontiguousarray(pixels)).convert("L").resize((9, 8), Image.Resampling.BOX)
    cells = np.asarray(grey).astype(int)
    bits = (cells[:, 1:] > cells[:, :-1]).reshape(-1)
    return f"{int(''.join('1' if bit else '0' for bit in bits), 2):016x}"
