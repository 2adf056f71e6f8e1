"""Two pictures and what the source says of the two: folders of `…a` and `…b` files, a folder a class.

Both pictures become records; the first names the second in `compared_with` and carries the class in
`comparison`. A pair of which one picture is missing or does not decode is refused whole. `take` thins each
class to its first pairs in the order of a hash of their names, the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from components.data.card import Card
from components.data.faults import Refused
from components.data.image import open_pixels, store
from components.data.paths import locate
from components.data.reading import (
    UNREADABLE,
    Draft,
    ReadContext,
    Rejection,
    find_files,
    finish_all,
    parse_options,
    reason_of,
    record_id_of,
)
from components.records import Record, stable_id
from components.settings import Frozen

VERSION = 1
PORTIONS = True


class Options(Frozen):
    """The classes' folders and how a pair's files are named."""

    classes: dict[str, str] = Field(min_length=1, description="folder -> what is said of its pairs")
    first: str = Field(default="*a.bmp", description="glob of the first pictures")
    first_ending: str = "a.bmp"
    second_ending: str = "b.bmp"
    take: int = Field(default=0, ge=0, description="pairs of each class, 0 for all")


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield the two records of each pair, first and second."""
    options = parse_options(Options, card)
    for folder, said in options.classes.items():
        firsts = find_files(root, f"{folder}/{options.first}")
        names = sorted(firsts, key=lambda path: stable_id(card.name, path.relative_to(root).as_posix()))
        for first in sorted(names[: options.take] if options.take else names):
            second = first.with_name(first.name.removesuffix(options.first_ending) + options.second_ending)
            names_of_pair = [path.relative_to(root).as_posix() for path in (first, second)]
            if context.takes(names_of_pair[0], names_of_pair[1:]):
                yield from finish_all(_read_pair(root, first, second, said, card, context), card, context)


def _read_pair(
    root: Path, first: Path, second: Path, said: str, card: Card, context: ReadContext
) -> Iterator[Draft | Rejection]:
    paths = [path.relative_to(root).as_posix() for path in (first, second)]
    try:
        if not locate(root, "{second}", {"second": paths[1]}):
            raise Refused("second_image_missing", paths[1])
        pictures = [open_pixels(path) for path in (first, second)]
    except UNREADABLE as error:
        yield Rejection(paths[0], reason_of(error))
        return
    stored = [store(one, context.max_side) for one in pictures]
    other = record_id_of(card, paths[1], "", context.secret)
    yield Draft(paths[0], stored[0], study=paths[0], compared_with=other, comparison=said, window="stored")
    yield Draft(paths[1], stored[1], study=paths[0], window="stored")
