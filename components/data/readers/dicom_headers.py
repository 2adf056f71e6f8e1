"""DICOM images without a drawn annotation: the header's closed tags and the card's words per file are all.

Stills, every n-th frame of a cine, MONOCHROME1, PALETTE COLOR and YBR. Axial CT and MR are turned to the
radiological display by their orientation. A row may cut away burned-in text (`crop`). Nothing free-text of a
header is read: what a file shows is stated in the card, file by file.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from components.data.card import Card
from components.data.deidentify import header_facts
from components.data.dicom import decode_frames, is_mirrored, open_dicom, orientation_of
from components.data.image import resize, stored_size
from components.data.reading import Draft, ReadContext, Rejection, parse_options
from components.data.volume_records import Drafts, attempt, read_each
from components.data.volumes import plane_of
from components.data.windows import WindowName, bounds, to_grey
from components.records import NOT_STATED, Department, Modality, Plane, Record, Task
from components.settings import Frozen, Positive, Share

VERSION = 1
Array = np.ndarray[Any, Any]


class Row(Frozen):
    """What the card says of one file (or glob) beyond its header."""

    file: str = Field(description="glob inside the source")
    modality: Modality | None = None
    department: Department | None = None
    task: Task | None = None
    body_part: str = ""
    labels: tuple[str, ...] = ()
    window: WindowName = "percentile 1-99"
    every: Positive = Field(default=1, description="every how manieth frame")
    crop: tuple[Share, Share, Share, Share] = Field(
        default=(0, 0, 1, 1), description="left, top, right, bottom kept"
    )
    plane: Plane | None = Field(default=None, description="where the header has no orientation")
    facts: dict[str, str] = Field(default_factory=dict)


class Options(Frozen):
    """The files, one row each."""

    files: tuple[Row, ...] = Field(min_length=1)


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield the frames of every file the card lists, in the card's order."""
    for row in parse_options(Options, card).files:
        drafts_of = functools.partial(_read_file, row=row, max_side=context.max_side)
        yield from read_each(root, row.file, card, context, drafts_of)


def _read_file(path: Path, relative: str, *, row: Row, max_side: int) -> Drafts:
    opened = attempt(lambda: _open(path), relative)
    if isinstance(opened, Rejection):
        yield opened
        return
    dataset, frames = opened
    plane, turn = _standing(dataset, row)
    is_colour = frames.ndim == 4
    low, high = (0.0, 255.0) if is_colour else bounds(row.window, frames)
    facts = {**header_facts(dataset), **row.facts}
    for index in range(0, len(frames), row.every):
        grey = frames[index] if is_colour else to_grey(frames[index], low, high)
        cut = _crop(turn(grey), row.crop)
        yield Draft(
            path=relative, part=f"frame/{index:04d}" if len(frames) > 1 else "",
            pixels=resize(np.ascontiguousarray(cut), stored_size(*cut.shape[:2], max_side=max_side)),
            patient=str(dataset.get("PatientID", "") or ""), modality=row.modality or "",
            department=row.department or "", task=row.task or "", body_part=row.body_part, labels=row.labels,
            plane=plane, slice_index=index if len(frames) > 1 else -1,
            window="stored" if is_colour else row.window, facts=tuple(sorted(facts.items())),
        )  # fmt: skip


def _open(path: Path) -> tuple[Any, Array]:
    dataset = open_dicom(path)
    return dataset, decode_frames(dataset)


def _crop(pixels: Array, crop: tuple[float, float, float, float]) -> Array:
    height, width = pixels.shape[:2]
    left, top, right, bottom = crop
    return pixels[round(top * height) : round(bottom * height), round(left * width) : round(right * width)]


def _standing(dataset: Any, row: Row) -> tuple[Plane, Any]:
    """Return the plane and the flip that puts the patient's right on the left and front or head up."""
    directions = orientation_of(dataset)
    if directions is None:
        mirrored = is_mirrored(dataset)
        return row.plane or NOT_STATED, lambda pixels: pixels[:, :: -1 if mirrored else 1]
    along_row, down = directions
    plane = plane_of(np.cross(along_row, down))
    if plane == NOT_STATED:
        return plane, lambda pixels: pixels
    wanted_row = 1 if plane == "sagittal" else 0
    wanted_down, sign = (1, 1.0) if plane == "axial" else (2, -1.0)
    flip_columns, flip_rows = along_row[wanted_row] < 0, sign * down[wanted_down] < 0
    return plane, lambda pixels: pixels[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
