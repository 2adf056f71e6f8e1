"""The model answers exams: in blocks, each image encoded once, every finished block kept on disk.

Blocks are cut from the whole list of questions before anything is asked, so that a run that goes on after a
kill asks the same blocks and gives the same bytes as one that was left alone, and so does a run whose blocks are
shared out to several processes. Closed questions are laid together by their images (their prompts share them),
open ones by length (padding costs time).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.evaluation.answer_journal import AnswerJournal, Key
from components.evaluation.exams import BLIND, MODEL, TEXT_ONLY, Exam
from components.evaluation.items import Answer
from components.evaluation.placement import DeviceKind
from components.quality.pictures import open_rgb

if TYPE_CHECKING:
    import torch

    from components.evaluation.engine import Ask
    from components.model.vlm import VLM

GENERATED_AT_ONCE = 48
CLOSED_AT_ONCE = 256
FEATURE_BYTES = 2 << 30
MIXED, CHOICE, TEXT = "mixed", "choice", "text"
Steps = Callable[[str, int], Callable[[int], None]]


@dataclass(frozen=True)
class Pace:
    """How many rows go through the model at once, and the longest answer in tokens.

    `batch_size` is of rows of closed questions, `generation_batch` of open questions.
    """

    batch_size: int
    max_new_tokens: int
    generation_batch: int = GENERATED_AT_ONCE

    @property
    def open_block(self) -> int:
        """How many open questions are kept on disk together: a batch at least."""
        return max(GENERATED_AT_ONCE, self.generation_batch)


@dataclass(frozen=True)
class Machine:
    """What answers: CPU threads in all, processes that share the questions, and the kind of device."""

    threads: int
    processes: int = 1
    device: DeviceKind = "auto"


@dataclass(frozen=True)
class Questions:
    """One exam as put to the model: plain values, so that another process can be handed them."""

    name: str
    answering: str
    keys: tuple[Key, ...]
    asks: tuple[Ask, ...]


class ImageFeatures:
    """Projected features (T, D) of images, encoded when first needed; the oldest go when memory is full."""

    def __init__(self, vlm: VLM, images: Mapping[str, bytes], *, limit_bytes: int = FEATURE_BYTES) -> None:
        self.vlm, self.images, self.limit_bytes = vlm, images, limit_bytes
        self._known: dict[str, torch.Tensor] = {}

    def of(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """Return the features of these images, each encoded at most once while it is held."""
        from components.evaluation import engine

        wanted = sorted(set(names))
        absent = [name for name in wanted if name not in self._known]
        pictures = ((name, open_rgb(self.images[name])) for name in absent)
        self._known |= engine.encode_images(self.vlm, pictures, advance=lambda _: None)
        found = {name: self._known[name] for name in wanted}
        self._forget(set(wanted))
        return found

    def _forget(self, kept: set[str]) -> None:
        held = sum(value.nbytes for value in self._known.values())
        for name in list(self._known):
            if held <= self.limit_bytes:
                return
            if name not in kept:
                held -= self._known.pop(name).nbytes


def questions_of(exam: Exam) -> Questions:
    """Put every item to every one of the model's systems."""
    systems = model_systems(exam)
    keys = tuple((system, item.item_id) for system in systems for item in exam.items)
    asks = tuple(ask for system in systems for ask in exam.asks(system))
    return Questions(exam.benchmark.name, exam.benchmark.answering, keys, asks)


def answer_exam(
    vlm: VLM, exam: Exam, features: ImageFeatures, *, pace: Pace, journal: AnswerJournal, steps: Steps
) -> None:
    """Fill in the answers of the model's systems; blocks that the journal holds are not asked again."""
    asked = questions_of(exam)
    advance = steps(asked.name, len(asked.asks))
    for block in blocks_by_kind(vlm, asked, pace):
        answer_places(vlm, asked, block, features, pace=pace, journal=journal)
        advance(len(block))
    for system, item_id in asked.keys:
        exam.answers.setdefault(system, []).append(journal.answers[system, item_id])


def answer_places(
    vlm: VLM,
    asked: Questions,
    block: Sequence[int],
    features: ImageFeatures,
    *,
    pace: Pace,
    journal: AnswerJournal,
) -> None:
    """Answer one block of places (all of one kind) unless the journal holds it whole, and keep it there."""
    keys = [asked.keys[place] for place in block]
    if all(key in journal.answers for key in keys):
        return
    part = [asked.asks[place] for place in block]
    found = features.of(name for ask in part for name in ask.images)
    kind = kind_of(asked.answering, part[0])
    journal.add(dict(zip(keys, answer_block(vlm, part, found, answering=kind, pace=pace), strict=True)))


def model_systems(exam: Exam) -> list[str]:
    """Name the ways the model itself is asked."""
    pictured = any(item.record_ids for item in exam.items)
    return [MODEL, *([] if exam.no_blind else [BLIND]), *([TEXT_ONLY] if pictured else [])]


def kind_of(answering: str, ask: Ask) -> str:
    """Return how one question is answered: in a mixed exam by its options, if it has any, else in words."""
    if answering != MIXED:
        return answering
    return CHOICE if ask.options else TEXT


def blocks_by_kind(vlm: VLM, asked: Questions, pace: Pace) -> Iterator[list[int]]:
    """Cut an exam's questions into blocks of places, each of one kind; the same exam gives the same blocks."""
    kinds = [kind_of(asked.answering, ask) for ask in asked.asks]
    for kind in sorted(set(kinds)):
        places = [place for place, own in enumerate(kinds) if own == kind]
        asks = [asked.asks[place] for place in places]
        for block in blocks_of(vlm, asks, is_closed=kind == CHOICE, open_block=pace.open_block):
            yield [places[place] for place in block]


def blocks_of(
    vlm: VLM, asks: Sequence[Ask], *, is_closed: bool, open_block: int = GENERATED_AT_ONCE
) -> Iterator[list[int]]:
    """Cut questions of one kind into blocks of places; the same list gives the same blocks."""
    if is_closed:
        order, size = sorted(range(len(asks)), key=lambda place: asks[place].images), CLOSED_AT_ONCE
    else:
        lengths = [len(vlm.prompt_ids(ask.prompt, len(ask.images))) for ask in asks]
        order, size = sorted(range(len(asks)), key=lambda place: -lengths[place]), open_block
    yield from (order[start : start + size] for start in range(0, len(order), size))


def answer_block(
    vlm: VLM, asks: Sequence[Ask], features: Mapping[str, torch.Tensor], *, answering: str, pace: Pace
) -> list[Answer]:
    """Answer questions of one kind: by option, in words, or by the likelihood of the reference."""
    from components.evaluation import engine

    def advance(_: int) -> None:
        """Progress is told by block."""

    if answering == CHOICE:
        return engine.answer_closed(vlm, asks, features, batch_size=pace.batch_size, advance=advance)
    if answering == "likelihood":
        return engine.measure_references(vlm, asks, features, batch_size=pace.batch_size)
    return engine.generate_texts(
        vlm, asks, features, max_new_tokens=pace.max_new_tokens, batch_size=pace.generation_batch, advance=advance
    )
