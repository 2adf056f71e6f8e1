"""Named grey-value windows: how stored intensities become 8-bit pixels, and the name a record keeps of it.

CT presets are (level, width) in Hounsfield units; MR has no unit, so its presets are percentiles of the
volume's non-zero voxels; `full range` is everything. Level and width of the CT presets:
radiopaedia.org/articles/windowing-ct.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from components.errors import DataError

WindowName = Literal["soft tissue", "lung", "bone", "brain", "abdomen", "percentile 1-99", "full range", "stored"]
HOUNSFIELD: dict[str, tuple[float, float]] = {
    "soft tissue": (40, 400),
    "lung": (-600, 1500),
    "bone": (400, 1800),
    "brain": (40, 80),
    "abdomen": (50, 350),
}
PERCENTILES = {"percentile 1-99": (1.0, 99.0)}
SAMPLED_VOXELS = 500_000


def bounds(name: str, voxels: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Return the intensities shown as black and as white.

    Percentiles are taken over non-zero voxels (air in MR is zero), evenly thinned to at most 500,000.
    """
    if name in HOUNSFIELD:
        level, width = HOUNSFIELD[name]
        return level - width / 2, level + width / 2
    if name == "stored":
        return 0.0, 255.0
    if name == "full range":
        return float(voxels.min()), float(voxels.max())
    if name not in PERCENTILES:
        known = sorted((*HOUNSFIELD, *PERCENTILES, "full range", "stored"))
        raise DataError(f"no window named {name!r}", where="components/data/windows.py", fix=f"one of {known}")
    # The flat iterator thins in reading order without first copying a volume that was turned.
    flat = voxels.flat[:: max(1, voxels.size // SAMPLED_VOXELS)]
    filled = flat[flat != 0]
    low, high = np.percentile(filled if filled.size else flat, PERCENTILES[name])
    return (float(low), float(high)) if high > low else (float(flat.min()), float(high))


def to_grey(pixels: np.ndarray[Any, Any], low: float, high: float) -> np.ndarray[Any, Any]:
    """Map intensities to uint8, low to 0 and high to 255, clipped outside."""
    span = max(high - low, 1e-6)
    scaled = (pixels.astype(np.float32) - low) * (255.0 / span)
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
