"""Small pictures of an image, by which its altered copies are known: a 16 x 16 thumbnail and a 48 x 48 base.

Every image has a thumbnail. A held-out image has a base too, from which the thumbnails of its flipped and cropped
copies are made. Two thumbnails are compared by their correlation, which a change of window or of JPEG quality
hardly moves.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

THUMBNAIL, BASE = 16, 48
CELLS = THUMBNAIL * THUMBNAIL
LEAST_CONTRAST = 1.5  # grey levels of standard deviation; a flatter thumbnail is like every other flat one
Thumbnails = np.ndarray[Any, np.dtype[np.uint8]]  # (N, CELLS)
Crop = tuple[float, float, float, float]
# (share of the side kept, places a side): few to look with, many to verify with
SEARCHED, VERIFIED = ((1.0, 1), (0.95, 2), (0.9, 3)), ((1.0, 1), (0.95, 5), (0.9, 5), (0.875, 5))


def thumbnail_of(grey: Any) -> bytes:
    """Return the 16 x 16 thumbnail of a grey PIL picture."""
    return _shrunk(grey, THUMBNAIL)


def base_of(grey: Any) -> bytes:
    """Return the 48 x 48 picture that variants are made from."""
    return _shrunk(grey, BASE)


def _shrunk(grey: Any, side: int) -> bytes:
    from PIL import Image

    return grey.resize((side, side), Image.Resampling.BOX).tobytes()


@cache
def crops(scheme: tuple[tuple[float, int], ...]) -> tuple[Crop, ...]:
    """List the boxes (left, top, right, bottom, 0-1) of a scheme."""
    return tuple(
        (x, y, x + share, y + share)
        for share, places in scheme
        for x in np.linspace(0, 1 - share, places).tolist()
        for y in np.linspace(0, 1 - share, places).tolist()
    )


@cache
def _weights(scheme: tuple[tuple[float, int], ...]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return (crops, 2, THUMBNAIL, BASE): how much each base row and column counts in each thumbnail row."""
    return np.stack(
        [np.stack([_overlap(box[1], box[3]), _overlap(box[0], box[2])]) for box in crops(scheme)]
    ).astype(np.float32)


def _overlap(low: float, high: float) -> np.ndarray[Any, Any]:
    """Return (THUMBNAIL, BASE) shares of base cells in the cells of an interval, each row summing to 1."""
    edges = np.linspace(low * BASE, high * BASE, THUMBNAIL + 1)
    cells = np.arange(BASE)
    shared = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    kept = np.clip(shared, 0, None)
    return kept / kept.sum(1, keepdims=True)


def variants(bases: np.ndarray[Any, Any], scheme: tuple[tuple[float, int], ...]) -> np.ndarray[Any, Any]:
    """Return (N, 4 x crops, CELLS) float32 thumbnails of the cropped and flipped images of (N, BASE * BASE)."""
    whole = bases.reshape(-1, BASE, BASE).astype(np.float32)
    weights = _weights(scheme)
    rows = np.einsum("ctb,nbk->nctk", weights[:, 0], whole, optimize=True)
    cut = np.matmul(rows, weights[:, 1].transpose(0, 2, 1)[None])
    turned = np.concatenate([cut, cut[..., ::-1], cut[..., ::-1, :], cut[..., ::-1, ::-1]], axis=1)
    return turned.reshape(len(whole), -1, CELLS)


def normalised(thumbnails: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Centre and scale (..., CELLS), so that a product is a correlation; a flat thumbnail becomes zeros."""
    centred = thumbnails.astype(np.float32) - thumbnails.mean(axis=-1, keepdims=True, dtype=np.float32)
    length = np.linalg.norm(centred, axis=-1, keepdims=True)
    is_flat = length < LEAST_CONTRAST * np.sqrt(CELLS)
    return np.where(is_flat, 0, centred / np.where(is_flat, 1, length)).astype(np.float32)


def bright_cells(thumbnails: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Tell which cells of (N, CELLS) are brighter than their thumbnail's mean."""
    return thumbnails > thumbnails.mean(axis=-1, keepdims=True, dtype=np.float32)


def in_blocks(number: int, size: int) -> Iterator[slice]:
    """Yield slices that cover a number of rows."""
    yield from (slice(start, min(number, start + size)) for start in range(0, number, size))
