"""MedMNIST: one .npz a data set, arrays of images and labels a split, read member by member without pickle.

Pictures are streamed out of the archive, so the 224-pixel sets do not fill the memory. A volume is shown by
slices at chosen shares of its depth. Every picture is a patient of its own: the source tells no more, and the
card's patient rule is `column`.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from pydantic import Field

from components.data.card import Card
from components.data.faults import Refused
from components.data.image import store
from components.data.paths import find_all
from components.data.pictures import MAX_PIXELS, canonical_labels
from components.data.reading import UNREADABLE, Draft, ReadContext, Rejection, finish_all, parse_options, reason_of
from components.records import Plane, Record, Split
from components.settings import Frozen, Positive, Share, Words

VERSION = 1
LARGEST_LABELS = 1 << 28  # bytes
Array = np.ndarray[Any, Any]


class Options(Frozen):
    """The archives and what their numbers mean."""

    files: Words = Field(min_length=1, description="globs of the .npz files")
    label_names: Words = Field(min_length=1, description="source label of class 0, 1, …")
    kind: Literal["one of", "any of"] = Field(
        default="one of", description="`one of`: a class number a picture; `any of`: a column of 0 and 1 a label"
    )
    exclusive: bool = Field(default=True, description="a picture's class rules out the others")
    splits: dict[str, Split] = Field(
        default={"train": "train", "val": "validation", "test": "test"},
        description="prefix of an archive's arrays -> split; arrays of other prefixes are not read",
    )
    slices: tuple[Share, ...] = Field(default=(0.5,), description="of a volume: at which shares of its depth")
    slice_axis: int = Field(default=0, ge=0, le=2, description="of a volume: the axis to cut")
    plane: Plane = Field(default="not stated", description="of a volume: what such a cut shows")
    every: Positive = Field(default=1, description="take every n-th picture of a split")


@dataclass(frozen=True, slots=True)
class Part:
    """One split of one archive: (N, …) images as they lie in it and their labels (N, columns)."""

    name: str
    split: str
    shape: tuple[int, ...]
    labels: Array


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield the pictures of every archive, split by split."""
    options = parse_options(Options, card)
    yield from finish_all(_drafts(root, card, options, context.max_side), card, context)


def _drafts(root: Path, card: Card, options: Options, max_side: int) -> Iterator[Draft | Rejection]:
    for path, relative in find_all(root, options.files):
        try:
            with zipfile.ZipFile(path) as archive:
                for prefix, split in options.splits.items():
                    yield from _read_part(archive, relative, (prefix, split), card, options, max_side)
        except (*UNREADABLE, zipfile.BadZipFile) as error:
            yield Rejection(
                relative, "file_unreadable" if isinstance(error, zipfile.BadZipFile) else reason_of(error)
            )


def _read_part(
    archive: zipfile.ZipFile, relative: str, part: tuple[str, str], card: Card, options: Options, max_side: int
) -> Iterator[Draft | Rejection]:
    prefix, split = part
    names = (f"{prefix}_labels.npy", f"{prefix}_images.npy")
    if not set(names) <= set(archive.namelist()):
        raise Refused("array_missing", prefix)
    with archive.open(names[0]) as stream:
        labels = _read_labels(stream)
    with archive.open(names[1]) as stream:
        for number, picture in enumerate(_pictures(stream, len(labels))):
            if number % options.every:
                continue
            where = f"{prefix}/{number:06d}"
            try:
                present, absent = _labels_of(labels[number], card, options)
            except Refused as error:
                yield Rejection(f"{relative}#{where}", error.reason)
                continue
            for place, plane, pixels in _shown(picture, options):
                yield Draft(
                    path=relative, part=f"{where}{place}", pixels=store(pixels, max_side), labels=present,
                    absent_labels=absent, patient=where, study=where, split=split, window="stored", plane=plane,
                    slice_index=int(place.removeprefix("/") or -1),
                )  # fmt: skip


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], Any]:
    """Read an array's shape and number type; Refused (`array_not_plain`) for objects or Fortran order."""
    version = np.lib.format.read_magic(stream)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = reader(stream)
    if is_fortran or dtype.hasobject or dtype.kind not in "biu":
        raise Refused("array_not_plain", str(dtype))
    return shape, dtype


def _read_labels(stream: IO[bytes]) -> Array:
    shape, dtype = _header(stream)
    size = math.prod(shape) * dtype.itemsize
    if len(shape) not in (1, 2) or size > LARGEST_LABELS:
        raise Refused("labels_do_not_fit", f"labels of shape {shape}")
    content = stream.read(size + 1)
    if len(content) != size:
        raise Refused("file_truncated", f"labels of shape {shape}")
    return np.frombuffer(content, dtype).reshape(shape[0], -1)


def _pictures(stream: IO[bytes], num_labels: int) -> Iterator[Array]:
    """Yield one picture or volume at a time; Refused: `labels_do_not_fit`, `array_not_plain`, `file_truncated`."""
    shape, dtype = _header(stream)
    if shape[0] != num_labels:
        raise Refused("labels_do_not_fit", f"{shape[0]} pictures, {num_labels} labels")
    if dtype != np.uint8 or len(shape) not in (3, 4):
        raise Refused("array_not_plain", f"{dtype} {shape}")
    size = math.prod(shape[1:])
    if size > 3 * MAX_PIXELS:
        raise Refused("image_too_large", str(shape))
    for _ in range(shape[0]):
        content = stream.read(size)
        if len(content) != size:
            raise Refused("file_truncated", "the images end early")
        yield np.frombuffer(content, dtype).reshape(shape[1:])


def _labels_of(row: Array, card: Card, options: Options) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the canonical labels of one row that are present, and those ruled out."""
    names = options.label_names
    if options.kind == "one of":
        if row.size != 1 or not 0 <= int(row[0]) < len(names):
            raise Refused("class_not_named", str(row.tolist()))
        chosen, others = [names[int(row[0])]], [name for name in names if options.exclusive]
    else:
        if row.size != len(names) or not set(row.tolist()) <= {0, 1}:
            raise Refused("class_not_named", f"{row.size} columns for {len(names)} names")
        chosen = [name for name, value in zip(names, row.tolist(), strict=True) if value]
        others = [name for name in names if name not in chosen]
    present = canonical_labels(chosen, card)
    return present, tuple(term for term in canonical_labels(others, card) if term not in present)


def _shown(picture: Array, options: Options) -> Iterator[tuple[str, Plane, Array]]:
    """Yield (part, plane, pixels): the picture itself, or the chosen slices of a volume."""
    if picture.ndim == 2 or picture.shape[2] == 3:
        yield "", "not stated", picture
        return
    depth = picture.shape[options.slice_axis]
    for index in dict.fromkeys(min(depth - 1, int(share * depth)) for share in options.slices):
        yield f"/{index}", options.plane, np.take(picture, index, axis=options.slice_axis)
