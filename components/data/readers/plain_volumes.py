"""Volumes without labels: NIfTI (each time point) and .npy arrays; the card says what they are.

A .npy file has no orientation, so its rows and columns are shown as stored and the card names the plane.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydantic import Field

from components.data.card import Card
from components.data.image import store
from components.data.reading import Draft, ReadContext, Rejection, parse_options
from components.data.slices import LabelledVolume, SliceOptions, cut_slices
from components.data.volume_records import Drafts, attempt, read_each, with_labels
from components.data.volumes import read_nifti, to_lps
from components.data.windows import bounds, to_grey
from components.records import Plane, Record
from components.settings import Frozen, Words

VERSION = 1
PORTIONS = True
Facts = tuple[tuple[str, str], ...]


class Group(SliceOptions):
    """Volumes of one kind."""

    files: str = Field(description="glob of NIfTI or .npy files")
    labels: Words = ()
    array_plane: Plane = Field(default="not stated", description="plane of a two-dimensional .npy file")
    turns: int = Field(default=0, ge=0, le=3, description="quarter turns to the left that set a .npy file upright")
    facts: dict[str, str] = Field(default_factory=dict)


class Options(Frozen):
    """The groups of volumes."""

    groups: tuple[Group, ...] = Field(min_length=1)


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield the slices of every volume."""
    for group in parse_options(Options, card).groups:
        drafts_of = functools.partial(_read_file, group=group, max_side=context.max_side)
        yield from read_each(root, group.files, card, context, drafts_of)


def _read_file(path: Path, relative: str, *, group: Group, max_side: int) -> Drafts:
    facts = tuple(sorted(group.facts.items()))
    if path.suffix == ".npy":
        yield attempt(lambda: _array_draft(path, relative, group, facts, max_side), relative)
        return
    series = attempt(lambda: read_nifti(path), relative)
    if isinstance(series, Rejection):
        yield series
        return
    for time, volume in enumerate(series):
        part = f"time/{time:03d}" if len(series) > 1 else ""
        labelled = LabelledVolume(path=relative, volume=to_lps(volume), facts=facts, part=part)
        yield from with_labels(cut_slices(labelled, group, max_side=max_side), labels=group.labels)


def _array_draft(path: Path, relative: str, group: Group, facts: Facts, max_side: int) -> Draft:
    array = np.load(path, allow_pickle=False)
    if array.ndim != 2:
        raise ValueError(f"{array.ndim} dimensions where 2 are read")
    upright = np.rot90(array, group.turns)
    window = group.windows[0]
    grey = to_grey(upright, *bounds(window, array))
    return Draft(
        path=relative, pixels=store(grey, max_side), labels=group.labels,
        plane=group.array_plane, window=window, facts=facts,
    )  # fmt: skip
