"""What the makers of pairs share: the scene they look at and the draft they return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from components.pairs.facts import Fact, facts_of
from components.pairs.surroundings import Surroundings
from components.pairs.wording.language import Wording
from components.records import Box, Record, Turn

FactKind = TypeVar("FactKind")


@dataclass(frozen=True, slots=True)
class Scene:
    """One record, the facts its annotation supports, and what its source says around it."""

    record: Record
    facts: tuple[Fact, ...]
    around: Surroundings

    def all(self, kind: type[FactKind]) -> tuple[FactKind, ...]:
        """Return the facts of one kind, in order."""
        return tuple(fact for fact in self.facts if isinstance(fact, kind))


@dataclass(frozen=True, slots=True)
class Draft:
    """A question and its answer, before the record's own columns are put beside it.

    `text` is what the assistant says, `answer` the gold answer in its shortest form. `record_ids` are the
    images in order, empty for the scene's own. `is_source_text` marks the source's own words. `further` are
    the turns that follow the first two. Without `has_images` nothing is shown: the words alone are the pair.
    """

    kind: str
    question_type: str
    question: str
    text: str
    answer: str
    language: str
    options: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    boxes: tuple[Box, ...] = ()
    record_ids: tuple[str, ...] = ()
    is_source_text: bool = False
    further: tuple[Turn, ...] = ()
    has_images: bool = True


def make_scene(record: Record, around: Surroundings) -> Scene:
    """Look at a record."""
    return Scene(record, facts_of(record), around)


def choice(
    question_type: str, question: str, options: Sequence[str], answer: str, *,
    wording: Wording, rng: Random, labels: Sequence[str] = (), kind: str = "percept",
) -> Draft:  # fmt: skip
    """Draft a closed question: the options are shuffled and end the question; the answer is one of them."""
    shuffled = list(options)
    rng.shuffle(shuffled)
    ending = wording.say("choices", rng, options=wording.listed(shuffled))
    return Draft(
        kind, question_type, question + wording.separator + ending, answer, answer, wording.language,
        options=tuple(shuffled), labels=tuple(labels),
    )  # fmt: skip


def yes_no(
    question_type: str, question: str, is_yes: bool, *,
    wording: Wording, rng: Random, labels: Sequence[str] = (), kind: str = "percept",
) -> Draft:  # fmt: skip
    """Draft a yes-or-no question."""
    answer = wording.yes if is_yes else wording.no
    return Draft(
        kind, question_type, question + wording.separator + wording.say("yes_no", rng), answer, answer,
        wording.language, options=(wording.yes, wording.no), labels=tuple(labels),
    )  # fmt: skip
