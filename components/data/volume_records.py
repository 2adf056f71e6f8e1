"""The part that every reader of volumes and DICOM shares: files one by one, labelled volumes into slices.

A reader says how one file (or case) is loaded; what is wrong with it is raised as Refused or as one of
the errors of the imaging libraries, and `attempt` turns either into a counted rejection.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from components.data.card import Card
from components.data.faults import Refused
from components.data.reading import (
    UNREADABLE,
    Draft,
    ReadContext,
    Rejection,
    find_files,
    finish_all,
    reason_of,
)
from components.data.slices import (
    LabelledVolume,
    SliceOptions,
    cut_slices,
    find_levels,
    merge_codes,
    side_contradicts,
)
from components.data.volumes import Volume, is_same_grid, resample_labels
from components.records import Record

Loaded = TypeVar("Loaded")
# What a header whose values have another shape than the standard's raises, beside UNREADABLE.
MALFORMED = (TypeError, IndexError, OverflowError, StopIteration, struct.error)
# What is unpacked into memory at most; files that are mapped may be larger.
MAX_BYTES = 1 << 32
Drafts = Iterator[Draft | Rejection]


@dataclass(frozen=True, slots=True)
class NamedCodes:
    """A label volume in LPS, whole numbers, and the source label of each code ("5" when it has no name)."""

    volume: Volume
    names: Mapping[int, str]


def read_each(
    root: Path, pattern: str, card: Card, context: ReadContext, drafts_of: Callable[[Path, str], Drafts]
) -> Iterator[Record | Rejection]:
    """Finish what `drafts_of(path, path inside the source)` says of every file that matches a glob."""
    for path in find_files(root, pattern):
        relative = path.relative_to(root).as_posix()
        if context.takes(relative):
            yield from finish_all(drafts_of(path, relative), card, context)


def read_labelled(
    root: Path,
    pattern: str,
    card: Card,
    context: ReadContext,
    *,
    options: SliceOptions,
    load: Callable[[Path], tuple[Volume, NamedCodes]],
) -> Iterator[Record | Rejection]:
    """Finish the slices of every volume that matches a glob, with its labels as regions.

    `load(path)` reads a volume and its label codes, both in LPS and on one grid; what it raises refuses the file.
    """

    def drafts_of(path: Path, relative: str) -> Drafts:
        loaded = attempt(lambda: load(path), relative)
        if isinstance(loaded, Rejection):
            yield loaded
            return
        base = LabelledVolume(path=relative, volume=loaded[0], vocabulary=card.labels)
        yield from labelled_drafts(base, loaded[1], card, options, max_side=context.max_side)

    yield from read_each(root, pattern, card, context, drafts_of)


def attempt(load: Callable[[], Loaded], where: str) -> Loaded | Rejection:
    """Load something of a file, or say why it could not be."""
    try:
        return load()
    except (*UNREADABLE, *MALFORMED) as error:
        return Rejection(where, reason_of(error))


def check_unpacked(num_values: float, itemsize: int) -> None:
    """Raise Refused("volume_too_large") for a header that claims more than may be unpacked."""
    if num_values * itemsize > MAX_BYTES:
        raise Refused("volume_too_large")


def place_labels(labels: Volume, target: Volume) -> Volume:
    """Put an LPS label volume onto the grid of an LPS volume by the affines, unless it is on it."""
    return labels if is_same_grid(labels, target) else resample_labels(labels, target)


def labelled_drafts(
    base: LabelledVolume, codes: NamedCodes, card: Card, options: SliceOptions, *, max_side: int
) -> Drafts:
    """Yield the slices of a volume with the regions of its label codes.

    Unknown labels are rejections (`label_not_in_vocabulary`) and the rest stays; left and right the wrong way
    round refuse the volume (`side_contradicts_orientation`).
    """
    merged, terms, unknown = merge_codes(codes.volume.voxels, codes.names, card)
    yield from (Rejection(f"{base.path}#{name}", "label_not_in_vocabulary") for name in unknown)
    if side_contradicts(merged, terms):
        yield Rejection(base.path, "side_contradicts_orientation")
        return
    levels = find_levels(codes.names, options.level_pattern)
    labelled = replace(
        base, codes=merged, terms=terms, level_codes=codes.volume.voxels if levels else None, levels=levels
    )
    yield from cut_slices(labelled, options, max_side=max_side)


def with_labels(drafts: Drafts, **changes: Any) -> Drafts:
    """Say the same of every slice: whole-image labels, modality, text."""
    for draft in drafts:
        yield draft if isinstance(draft, Rejection) else replace(draft, **changes)
