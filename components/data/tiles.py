"""Large pictures cut into square tiles, in reading order, and the measure of tissue in a stained one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from pydantic import Field

from components.settings import Frozen, Positive, Share

Array = np.ndarray[Any, Any]
TISSUE_SATURATION = 0.08
TISSUE_BRIGHTNESS = 0.94


class TileOptions(Frozen):
    """How a picture is cut."""

    side: Positive = Field(description="tile side, in source pixels")
    stride: Positive = Field(description="step between tiles, in source pixels")
    min_tissue: Share = Field(default=0.0, description="tiles with a smaller share of stained tissue are left out")


def cut_tiles(pixels: Array, options: TileOptions) -> Iterator[tuple[int, int, Array]]:
    """Yield (top, left, tile) in reading order; partial tiles at the edges are left out."""
    height, width = pixels.shape[:2]
    for top in range(0, height - options.side + 1, options.stride):
        for left in range(0, width - options.side + 1, options.stride):
            tile = pixels[top : top + options.side, left : left + options.side]
            if options.min_tissue and tissue_share(tile) < options.min_tissue:
                continue
            yield top, left, tile


def tissue_share(tile: Array) -> float:
    """Share of an RGB tile (H, W, 3) that is stained: coloured, and not the white of the glass."""
    scaled = tile.astype(np.float32) / 255
    brightest, darkest = scaled.max(axis=2), scaled.min(axis=2)
    saturation = (brightest - darkest) / np.maximum(brightest, 1e-6)
    return float(np.mean((saturation > TISSUE_SATURATION) & (darkest < TISSUE_BRIGHTNESS)))
