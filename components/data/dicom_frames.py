"""Stills and cines of DICOM files as they are looked at: turned by orientation, cropped, every n-th frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.data.dicom import is_mirrored, orientation_of
from components.data.image import store
from components.data.reading import Draft
from components.data.volumes import plane_of
from components.data.windows import bounds, to_grey
from components.records import NOT_STATED, Plane

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class FrameRules:
    """Window of grey frames, every how manieth one, the share kept (left, top, right, bottom), fall-back plane."""

    window: str
    every: int
    crop: tuple[float, float, float, float]
    plane: Plane | None = None


def frame_drafts(dataset: Any, frames: Array, path: str, rules: FrameRules, *, max_side: int) -> Iterator[Draft]:
    """Yield a draft a frame of `decode_frames`, with plane, window and the header's PatientID."""
    plane, turn = standing(dataset, rules.plane)
    is_colour = frames.ndim == 4
    low, high = (0.0, 255.0) if is_colour else bounds(rules.window, frames)
    for index in range(0, len(frames), rules.every):
        grey = frames[index] if is_colour else to_grey(frames[index], low, high)
        cut = crop(turn(grey), rules.crop)
        yield Draft(
            path=path, part=f"frame/{index:04d}" if len(frames) > 1 else "",
            pixels=store(cut, max_side),
            patient=str(dataset.get("PatientID", "") or ""), plane=plane,
            slice_index=index if len(frames) > 1 else -1, window="stored" if is_colour else rules.window,
        )  # fmt: skip


def crop(pixels: Array, kept: tuple[float, float, float, float]) -> Array:
    """Cut a picture to the shares (left, top, right, bottom) of its width and height."""
    height, width = pixels.shape[:2]
    left, top, right, bottom = kept
    return pixels[round(top * height) : round(bottom * height), round(left * width) : round(right * width)]


def standing(dataset: Any, fallback: Plane | None) -> tuple[Plane, Callable[[Array], Array]]:
    """Return the plane and the flip that puts the patient's right on the left and front or head up."""
    directions = orientation_of(dataset)
    if directions is None:
        mirrored = is_mirrored(dataset)
        return fallback or NOT_STATED, lambda pixels: pixels[:, :: -1 if mirrored else 1]
    along_row, down = directions
    plane = plane_of(np.cross(along_row, down))
    if plane == NOT_STATED:
        return plane, lambda pixels: pixels
    wanted_row = 1 if plane == "sagittal" else 0
    wanted_down, sign = (1, 1.0) if plane == "axial" else (2, -1.0)
    flip_columns, flip_rows = along_row[wanted_row] < 0, sign * down[wanted_down] < 0
    return plane, lambda pixels: pixels[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
