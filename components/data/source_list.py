"""The list of every dataset card: is it here, what is it, under what terms, how is it obtained."""

from __future__ import annotations

import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from components.data.card import Card
from components.data.catalog import CARDS, Found, survey_cards
from components.data.terms import USES
from components.errors import ConfigError
from components.records import MODALITIES, NOT_STATED
from components.settings import Settings

if TYPE_CHECKING:
    from rich.text import Text

Status = Literal["present", "missing", "unfinished"]
STATUSES: tuple[Status, ...] = ("present", "missing", "unfinished")
COLOURS: dict[Status, str] = {"present": "green", "missing": "yellow", "unfinished": "red"}
HEADER = ("source", "here", "selected", "modality", "reader", "licence", "terms", "how to obtain")
ALL_STATED = {"yes": "yes to all", "no": "no to all", NOT_STATED: NOT_STATED}


@dataclass(frozen=True, slots=True)
class Listed:
    """One card, whether its folder lies below the data root, and whether the corpus selects it.

    An unfinished one has no card, but a fault: in one line, what is wrong with its file.
    """

    name: str
    card: Card | None
    status: Status
    is_selected: bool
    fault: str = ""


def list_sources(
    data_root: Path, selected: Sequence[str], *, folder: Path = CARDS, modality: str = "", status: str = ""
) -> list[Listed]:
    """Return the cards in name order, all of them or those of one modality or status.

    A card that does not fit its schema is listed as unfinished; it has no modality.

    Raises:
        ConfigError: the modality or the status is none, listing those there are.
    """
    known = {"--modality": (modality, (*MODALITIES, NOT_STATED)), "--status": (status, STATUSES)}
    for option, (asked, words) in known.items():
        if asked and asked not in words:
            raise ConfigError(f"no such value: {asked!r}", where=option, fix=f"one of: {', '.join(words)}")
    listed = (_listed(found, data_root, selected) for found in survey_cards(folder))
    return [one for one in listed if (modality or _modality(one), status or one.status) == _kind(one)]


def _listed(found: Found, data_root: Path, selected: Sequence[str]) -> Listed:
    status = status_of(found.card, data_root) if found.card else "unfinished"
    return Listed(found.name, found.card, status, found.name in selected, found.fault)


def _modality(one: Listed) -> str:
    return one.card.modality if one.card else ""


def _kind(one: Listed) -> tuple[str, str]:
    return _modality(one), one.status


def status_of(card: Card, data_root: Path) -> Status:
    """Tell whether a source's folder is there; its files are looked at by ingest alone."""
    return "present" if (data_root / card.name).is_dir() else "missing"


def terms_in_words(card: Card) -> str:
    """The four answers in a few words: one when they agree, else those that are stated."""
    answers = {use: getattr(card.terms, use) for use in USES}
    if len(set(answers.values())) == 1:
        return ALL_STATED[answers[USES[0]]]
    names = ("leave machine", "third-party model", "redistribute", "commercial")
    stated = zip(names, answers.values(), strict=True)
    return ", ".join(f"{name}: {answer}" for name, answer in stated if answer != NOT_STATED)


def print_sources(settings: Settings, *, modality: str = "", status: str = "") -> None:
    """Print the cards: a table on a terminal, one line of tab-separated cells a card to a pipe or a file."""
    corpus = settings.corpus
    listed = list_sources(corpus.data_root, corpus.sources, modality=modality, status=status)
    counts = Counter(one.status for one in listed)
    unfinished = f", {counts['unfinished']} unfinished" if counts["unfinished"] else ""
    summary = f"{len(listed)} cards, {counts['present']} present{unfinished}"
    if not sys.stdout.isatty():
        print(tab_separated(listed), end="")
        print(summary, file=sys.stderr)
        return
    from rich.console import Console

    console = Console()
    for line in terminal_lines(listed, console.width):
        console.print(line, soft_wrap=True)
    console.print(f"{summary}; dim: not selected by this corpus (conf/corpus/)")


def tab_separated(listed: Sequence[Listed]) -> str:
    """A header and one line a card, whatever its length; of an unfinished card the fault stands last."""
    lines = [HEADER, *(_cells(one) for one in listed)]
    return "".join("\t".join(" ".join(cell.split()) for cell in line) + "\n" for line in lines)


def _cells(one: Listed) -> tuple[str, ...]:
    card, selected = one.card, "yes" if one.is_selected else "no"
    if card is None:
        return (one.name, one.status, selected, "", "", "", "", one.fault)
    terms = terms_in_words(card)
    return (one.name, one.status, selected, card.modality, card.reader, card.licence, terms, card.obtain)


def terminal_lines(listed: Sequence[Listed], width: int) -> list[Text]:
    """The cards for a terminal of `width` characters: name, here, modality and terms; below, how to obtain.

    Words are folded, never cut: an address longer than the line goes over its end.
    """
    from rich.text import Text

    rows = [("source", "here", "modality", "terms"), *((*_cells(one)[:2], _modality(one), "") for one in listed)]
    wide = [max(len(row[column]) for row in rows) + 2 for column in range(3)]
    lines = [Text("".join(cell.ljust(size) for cell, size in zip(rows[0], (*wide, 0), strict=True)), style="bold")]
    for one in listed:
        terms = _folded(terms_in_words(one.card) if one.card else "", max(16, width - sum(wide)))
        name = Text(one.name.ljust(wide[0]), style="" if one.is_selected else "dim")
        here = Text(one.status.ljust(wide[1]), style=COLOURS[one.status])
        lines.append(Text.assemble(name, here, _modality(one).ljust(wide[2]), terms[0]))
        lines += [Text(" " * sum(wide) + line) for line in terms[1:]]
        lines += [Text(f"  {line}") for line in _folded(_below(one), width - 2)]
    return lines


def _below(one: Listed) -> str:
    if one.card is None:
        return one.fault
    return one.card.obtain if one.card.licence == NOT_STATED else f"{one.card.obtain}. Licence: {one.card.licence}"


def _folded(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]
