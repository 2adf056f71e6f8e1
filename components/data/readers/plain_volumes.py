"""Volumes without labels: NIfTI (each time point) and .npy arrays; the card says what they are.

A .npy file has no orientation, so its rows and columns are shown as stored and the card names the plane.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import Field

from components.data.card import Card
from components.data.image import resize, stored_size
from components.data.reading import (
    UNREADABLE,
    Draft,
    ReadContext,
    Rejection,
    find_files,
    finish_all,
    parse_options,
    reason_of,
)
from components.data.slices import LabelledVolume, SliceOptions, cut_slices
from components.data.volumes import read_nifti, to_lps
from components.data.windows import bounds, to_grey
from components.records import Plane, Record
from components.settings import Frozen

VERSION = 1
Facts = tuple[tuple[str, str], ...]


class Group(SliceOptions):
    """Volumes of one kind."""

    files: str = Field(description="glob of NIfTI or .npy files")
    labels: tuple[str, ...] = ()
    array_plane: Plane = Field(default="not stated", description="plane of a two-dimensional .npy file")
    turns: int = Field(default=0, ge=0, le=3, description="quarter turns to the left that set a .npy file upright")
    facts: dict[str, str] = Field(default_factory=dict)


class Options(Frozen):
    """The groups of volumes."""

    groups: tuple[Group, ...] = Field(min_length=1)


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield the slices of every volume."""
    for group in parse_options(Options, card).groups:
        for path in find_files(root, group.files):
            relative = path.relative_to(root).as_posix()
            yield from finish_all(_read_volume(path, relative, group, context.max_side), card, context)


def _read_volume(path: Path, relative: str, group: Group, max_side: int) -> Iterator[Draft | Rejection]:
    facts = tuple(sorted(group.facts.items()))
    try:
        if path.suffix == ".npy":
            yield _array_draft(path, relative, group, facts, max_side)
            return
        series = read_nifti(path)
    except UNREADABLE as error:
        yield Rejection(relative, reason_of(error))
        return
    for time, volume in enumerate(series):
        labelled = LabelledVolume(
            path=relative, volume=to_lps(volume), facts=facts, part=f"time/{time:03d}" if len(series) > 1 else ""
        )
        yield from (_labelled(draft, group) for draft in cut_slices(labelled, group, max_side=max_side))


def _labelled(draft: Draft, group: Group) -> Draft:
    return replace(draft, labels=group.labels)


def _array_draft(
    path: Path, relative: str, group: Group, facts: tuple[tuple[str, str], ...], max_side: int
) -> Draft:
    array = np.load(path, allow_pickle=False)
    if array.ndim != 2:
        raise ValueError(f"{array.ndim} dimensions where 2 are read")
    upright = np.rot90(array, group.turns)
    window = group.windows[0]
    grey = to_grey(upright, *bounds(window, array))
    return Draft(
        path=relative, pixels=resize(grey, stored_size(*grey.shape, max_side=max_side)), labels=group.labels,
        plane=group.array_plane, window=window, facts=facts,
    )  # fmt: skip
