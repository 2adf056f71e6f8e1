"""Pictures sorted into a folder a class, at any depth; the class is a folder's name or found by a pattern.

Several labels may share one name ("mass_nodule" cut at "_"). A class may rule others out, because the source
says so (`rules_out`) or because its classes exclude each other (`exclusive`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from components.data.card import Card
from components.data.image import store
from components.data.path_classes import PathClasses, labels_of_path
from components.data.paths import find_all
from components.data.pictures import PictureOptions, finish_pictures, open_picture
from components.data.reading import UNREADABLE, Draft, ReadContext, Rejection, parse_options, reason_of
from components.records import Record
from components.settings import Words

VERSION = 1
PORTIONS = True


class Options(PictureOptions, PathClasses):
    """Where the pictures lie and how a path tells the class."""

    images: Words = Field(min_length=1, description="globs of the pictures; `**` is any depth")
    class_depth: int | None = Field(
        default=-1,
        description="which folder of the path is the class: 0 the first, -1 the one that holds the file",
    )


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield every picture with its class as a label."""
    options = parse_options(Options, card)
    drafts = _drafts(root, card, options, context)
    yield from finish_pictures(drafts, root, card, options, context)


def _drafts(root: Path, card: Card, options: Options, context: ReadContext) -> Iterator[Draft | Rejection]:
    for path, relative in find_all(root, options.images, options.skip):
        if not context.takes(relative):
            continue
        try:
            labels, absent = labels_of_path(relative, card, options)
            pixels, window = open_picture(path, options.deep_window)
        except UNREADABLE as error:
            yield Rejection(relative, reason_of(error))
            continue
        yield Draft(relative, store(pixels, context.max_side), labels=labels, absent_labels=absent, window=window)
