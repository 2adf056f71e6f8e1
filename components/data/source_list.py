"""The list of every dataset card: is it here, what is it, under what terms, how is it obtained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from components.data.card import Card, load_card
from components.data.catalog import CARDS, card_files
from components.data.terms import USES
from components.errors import ConfigError
from components.records import MODALITIES, NOT_STATED
from components.settings import Settings

Status = Literal["present", "missing"]
STATUSES: tuple[Status, ...] = ("present", "missing")
ALL_STATED = {"yes": "yes to all", "no": "no to all", NOT_STATED: NOT_STATED}


@dataclass(frozen=True, slots=True)
class Listed:
    """One card, whether its folder lies below the data root, and whether the corpus selects it."""

    card: Card
    status: Status
    is_selected: bool


def list_sources(
    data_root: Path, selected: Sequence[str], *, folder: Path = CARDS, modality: str = "", status: str = ""
) -> list[Listed]:
    """Return the cards in name order, all of them or those of one modality or status.

    Raises:
        CardInvalid: a card does not fit its schema.
        ConfigError: the modality or the status is none, listing those there are.
    """
    known = {"--modality": (modality, (*MODALITIES, NOT_STATED)), "--status": (status, STATUSES)}
    for option, (asked, words) in known.items():
        if asked and asked not in words:
            raise ConfigError(f"no such value: {asked!r}", where=option, fix=f"one of: {', '.join(words)}")
    cards = (load_card(path) for path in card_files(folder).values())
    listed = (Listed(card, status_of(card, data_root), card.name in selected) for card in cards)
    return [one for one in listed if (modality or one.card.modality, status or one.status) == _kind(one)]


def _kind(one: Listed) -> tuple[str, str]:
    return one.card.modality, one.status


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
    """Print the cards: present or missing, modality, reader, licence, terms, how to obtain the files."""
    from rich.console import Console
    from rich.table import Table

    corpus = settings.corpus
    listed = list_sources(corpus.data_root, corpus.sources, modality=modality, status=status)
    table = Table("source", "here", "modality", "reader", "licence", "terms", "how to obtain")
    table.columns[0].no_wrap = True
    for one in listed:
        card, name = one.card, one.card.name
        here = "[green]present[/]" if one.status == "present" else "[yellow]missing[/]"
        table.add_row(
            name if one.is_selected else f"[dim]{name}[/]", here, card.modality, card.reader, card.licence,
            terms_in_words(card), card.obtain,
        )  # fmt: skip
    Console().print(table)
    num_here = sum(one.status == "present" for one in listed)
    Console().print(f"{len(listed)} cards, {num_here} present; dim: not selected by this corpus (conf/corpus/)")
