"""The model answers exams: in blocks, each image encoded once, every finished block kept on disk.

Blocks are cut from the whole list of questions before anything is asked, so that a run that goes on after a
kill asks the same blocks and gives the same bytes as one that was left alone. Closed questions are laid
together by their images (their prompts share them), open ones by length (padding costs time).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.evaluation.answer_journal import AnswerJournal, Key
from components.evaluation.exams import BLIND, MODEL, TEXT_ONLY, Exam
from components.evaluation.items import Answer
from components.quality.pictures import open_rgb

if TYPE_CHECKING:
    import torch

    from components.evaluation.engine import Ask
    from components.model.vlm import VLM

GENERATED_AT_ONCE = 48
CLOSED_AT_ONCE = 256
FEATURE_BYTES = 2 << 30
Steps = Callable[[str, int], Callable[[int], None]]


@dataclass(frozen=True)
class Pace:
    """How many rows go through the model at once, and the longest answer in tokens."""

    batch_size: int
    max_new_tokens: int


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


def answer_all(
    model: Path,
    exams: Sequence[Exam],
    images: Mapping[str, bytes],
    *,
    pace: Pace,
    threads: int,
    journals: Mapping[str, AnswerJournal],
    steps: Steps,
) -> VLM:
    """Let the model answer every exam: with its own images, with another patient's, and with none; return it."""
    import torch

    from components.evaluation import engine
    from components.model.machine import prepare_machine
    from components.model.vlm import load_vlm

    prepare_machine(threads)
    vlm = load_vlm(model, dtype=torch.bfloat16)
    with engine.inference():
        features = ImageFeatures(vlm, images)
        for exam in exams:
            answer_exam(vlm, exam, features, pace=pace, journal=journals[exam.benchmark.name], steps=steps)
    return vlm


def answer_exam(
    vlm: VLM, exam: Exam, features: ImageFeatures, *, pace: Pace, journal: AnswerJournal, steps: Steps
) -> None:
    """Fill in the answers of the model's systems; blocks that the journal holds are not asked again."""
    asked = [(system, item.item_id) for system in model_systems(exam) for item in exam.items]
    asks = [ask for system in model_systems(exam) for ask in exam.asks(system)]
    answering, advance = exam.benchmark.answering, steps(exam.benchmark.name, len(asks))
    for block in blocks_of(vlm, asks, is_closed=answering == "choice"):
        keys = [asked[index] for index in block]
        if any(key not in journal.answers for key in keys):
            part = [asks[index] for index in block]
            found = features.of(name for ask in part for name in ask.images)
            journal.add(
                dict(zip(keys, answer_block(vlm, part, found, answering=answering, pace=pace), strict=True))
            )
        advance(len(block))
    _hand_out(exam, asked, journal.answers)


def _hand_out(exam: Exam, asked: Sequence[Key], answers: Mapping[Key, Answer]) -> None:
    for system, item_id in asked:
        exam.answers.setdefault(system, []).append(answers[system, item_id])


def model_systems(exam: Exam) -> list[str]:
    """Name the ways the model itself is asked."""
    pictured = any(item.record_ids for item in exam.items)
    return [MODEL, *([] if exam.no_blind else [BLIND]), *([TEXT_ONLY] if pictured else [])]


def blocks_of(vlm: VLM, asks: Sequence[Ask], *, is_closed: bool) -> Iterator[list[int]]:
    """Cut the questions into blocks of places; the same list gives the same blocks."""
    if is_closed:
        order, size = sorted(range(len(asks)), key=lambda place: asks[place].images), CLOSED_AT_ONCE
    else:
        lengths = [len(vlm.prompt_ids(ask.prompt, len(ask.images))) for ask in asks]
        order, size = sorted(range(len(asks)), key=lambda place: -lengths[place]), GENERATED_AT_ONCE
    yield from (order[start : start + size] for start in range(0, len(order), size))


def answer_block(
    vlm: VLM, asks: Sequence[Ask], features: Mapping[str, torch.Tensor], *, answering: str, pace: Pace
) -> list[Answer]:
    """Answer questions of one kind: by option, in words, or by the likelihood of the reference."""
    from components.evaluation import engine

    def advance(_: int) -> None:
        """Progress is told by block."""

    if answering == "choice":
        return engine.answer_closed(vlm, asks, features, batch_size=pace.batch_size, advance=advance)
    if answering == "likelihood":
        return engine.measure_references(vlm, asks, features, batch_size=pace.batch_size)
    return engine.generate_texts(
        vlm, asks, features, max_new_tokens=pace.max_new_tokens, batch_size=GENERATED_AT_ONCE, advance=advance
    )
