"""Named grey-value windows: how stored intensities become 8-bit pixels, and the name a record keeps of it.

CT presets are (level, width) in Hounsfield units; MR has no unit, so its presets are percentiles of the volume's
non-zero voxels, or so many standard deviations about their mean; `full range` is everything. A preset that is
here never changes, since records name it: another level or width is another name. Level and width of the CT
presets: radiopaedia.org/articles/windowing-ct, where a range is given its middle; angiography: Hounsfield units
0 to 600, contrast-filled vessels.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np

from components.errors import DataError

WindowName = Literal[
    "soft tissue", "lung", "mediastinum", "bone", "temporal bone", "brain", "subdural", "stroke", "abdomen",
    "liver", "angiography", "percentile 0.5-99.5", "percentile 1-99", "percentile 2-98", "percentile 5-95",
    "mean and 2 deviations", "mean and 3 deviations", "full range", "stored",
]  # fmt: skip
HOUNSFIELD: dict[str, tuple[float, float]] = {
    "soft tissue": (40, 400),
    "lung": (-600, 1500),
    "mediastinum": (50, 350),
    "bone": (400, 1800),
    "temporal bone": (600, 2800),
    "brain": (40, 80),
    "subdural": (75, 215),
    "stroke": (40, 40),
    "abdomen": (50, 350),
    "liver": (30, 150),
    "angiography": (300, 600),
}
PERCENTILES = {
    "percentile 0.5-99.5": (0.5, 99.5),
    "percentile 1-99": (1.0, 99.0),
    "percentile 2-98": (2.0, 98.0),
    "percentile 5-95": (5.0, 95.0),
}
DEVIATIONS = {"mean and 2 deviations": 2.0, "mean and 3 deviations": 3.0}
SAMPLED_VOXELS = 500_000


def bounds(name: str, voxels: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Return the intensities shown as black and as white.

    Percentiles and deviations are taken over non-zero voxels (air in MR is zero), evenly thinned to at most
    500,000.
    """
    if name in HOUNSFIELD:
        level, width = HOUNSFIELD[name]
        return level - width / 2, level + width / 2
    if name == "stored":
        return 0.0, 255.0
    if name == "full range":
        return float(voxels.min()), float(voxels.max())
    if name not in PERCENTILES and name not in DEVIATIONS:
        known = sorted(get_args(WindowName))
        raise DataError(f"no window named {name!r}", where="components/data/windows.py", fix=f"one of {known}")
    # The flat iterator thins in reading order without first copying a volume that was turned.
    flat = voxels.flat[:: max(1, voxels.size // SAMPLED_VOXELS)]
    filled = flat[flat != 0]
    low, high = _spread(name, filled if filled.size else flat)
    return (low, high) if high > low else (float(flat.min()), high)


def _spread(name: str, values: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Return what a percentile or deviation preset leaves between black and white."""
    if name in PERCENTILES:
        low, high = np.percentile(values, PERCENTILES[name])
        return float(low), float(high)
    middle, deviation = float(np.mean(values, dtype=np.float64)), float(np.std(values, dtype=np.float64))
    return middle - DEVIATIONS[name] * deviation, middle + DEVIATIONS[name] * deviation


def to_grey(pixels: np.ndarray[Any, Any], low: float, high: float) -> np.ndarray[Any, Any]:
    """Map intensities to uint8, low to 0 and high to 255, clipped outside."""
    span = max(high - low, 1e-6)
    scaled = (pixels.astype(np.float32) - low) * (255.0 / span)
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
