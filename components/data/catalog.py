"""What sources and readers there are, found by walking folders, never by a list; names are exact.

A duplicate name raises and names both files; an unknown one raises and lists near matches.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel

from components.data import readers
from components.data.card import Card, load_card
from components.data.reading import ReadContext, Rejection, parse_options
from components.errors import CardInvalid, DuplicateDataset
from components.records import Record

CARDS = Path("conf/sources")
MOST_NAMES = 40  # that an error lists


class Reader(Protocol):
    """What every module in `components/data/readers/` has."""

    VERSION: int
    Options: type[BaseModel]

    def read(self, root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
        """Yield a Record or a Rejection a sample, in an order that depends on the files alone."""
        ...


def reader_names() -> list[str]:
    """List the readers, in name order."""
    return sorted(module.name for module in pkgutil.iter_modules(readers.__path__))


def find_reader(name: str) -> Reader:
    """Return a reader by its exact name; CardInvalid lists near matches for an unknown one."""
    known = reader_names()
    if name not in known:
        raise CardInvalid(f"no reader named {name!r}{_near(name, known)}", where="components/data/readers")
    return importlib.import_module(f"{readers.__name__}.{name}")  # ty: ignore[invalid-explicit-return]


def card_files(folder: Path = CARDS) -> dict[str, Path]:
    """Map each card's name to its file, in name order.

    Raises DuplicateDataset when two files (in sub-folders, or .yaml beside .yml) claim one name.
    """
    found: dict[str, Path] = {}
    for path in sorted([*folder.rglob("*.yaml"), *folder.rglob("*.yml")]):
        if not path.is_file():
            continue
        if path.stem in found:
            raise DuplicateDataset(
                f"two cards are named {path.stem!r}", where=f"{found[path.stem]} and {path}", fix="rename one"
            )
        found[path.stem] = path
    return dict(sorted(found.items()))


@dataclass(frozen=True, slots=True)
class Found:
    """A card's file and what it holds: the card, or None and in one line why it is none yet."""

    name: str
    card: Card | None
    fault: str = ""


def survey_cards(folder: Path = CARDS) -> list[Found]:
    """Read every card, in name order, and pass over none: one that does not fit is listed with its fault.

    What a run selects is read by `load_cards`, which raises. Raises DuplicateDataset as `card_files` does.
    """
    return [_found(name, path) for name, path in card_files(folder).items()]


def _found(name: str, path: Path) -> Found:
    try:
        return Found(name, load_card(path))
    except CardInvalid as error:
        return Found(name, None, " ".join(error.what.split()))


def load_cards(folder: Path = CARDS, names: Sequence[str] | None = None) -> list[Card]:
    """Read cards by exact name, in the asked order (all of them in name order when none is asked).

    A card's options are checked by its reader here, before any file is read.
    """
    files = card_files(folder)
    for name in names or ():
        if name not in files:
            told = f"no card named {name!r}{_near(name, list(files))}"
            raise CardInvalid(told, where=str(folder), fix="gmai sources")
    cards = [load_card(files[name]) for name in (names if names is not None else files)]
    for card in cards:
        parse_options(find_reader(card.reader).Options, card)
    return cards


def _near(name: str, known: Sequence[str]) -> str:
    matches = difflib.get_close_matches(name, known, n=3)
    if matches or len(known) > MOST_NAMES:
        return f"; near matches: {', '.join(matches)}" if matches else f", nor any like it, among {len(known)}"
    return f"; known: {', '.join(known)}"
