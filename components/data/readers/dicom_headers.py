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
from components.data.dicom import decode_frames, open_dicom
from components.data.dicom_frames import FrameRules, frame_drafts
from components.data.reading import ReadContext, Rejection, parse_options
from components.data.volume_records import Drafts, attempt, read_each, with_labels
from components.data.windows import WindowName
from components.records import Department, Modality, Plane, Record, Task
from components.settings import Frozen, Positive, Share, Words

VERSION = 1
PORTIONS = True
Array = np.ndarray[Any, Any]


class Row(Frozen):
    """What the card says of one file (or glob) beyond its header."""

    file: str = Field(description="glob inside the source")
    modality: Modality | None = None
    department: Department | None = None
    task: Task | None = None
    body_part: str = ""
    labels: Words = ()
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
    rules = FrameRules(row.window, row.every, row.crop, row.plane)
    facts = {**header_facts(dataset), **row.facts}
    yield from with_labels(
        frame_drafts(dataset, frames, relative, rules, max_side=max_side),
        modality=row.modality or "", department=row.department or "", task=row.task or "",
        body_part=row.body_part, labels=row.labels, facts=tuple(sorted(facts.items())),
    )  # fmt: skip


def _open(path: Path) -> tuple[Any, Array]:
    dataset = open_dicom(path)
    return dataset, decode_frames(dataset)
