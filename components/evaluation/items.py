"""What is asked and what comes back: items, answers, judgements, and the shape of a benchmark.

An item is one held-out question, whatever set it comes from: the sample's own pairs and the field's public
sets (ingested as sources, so that they pass through the same curation and firewall) look alike here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from components.records import Box, Pair

Answering = Literal["choice", "text"]
Budget = Literal["closed", "boxes", "captions"]


@dataclass(frozen=True, slots=True)
class Item:
    """One question with its gold answer.

    `question` is the human turn as the model was trained to read it, `<image>` placeholders included;
    `record_ids` are the images in their order. `gold` is the shortest form of the answer, `reference` the
    full assistant text. `boxes` is the gold geometry (0-1), `options` the choices of a closed question.
    """

    item_id: str
    question: str
    gold: str
    reference: str
    record_ids: tuple[str, ...]
    patient_key: str
    modality: str
    department: str
    language: str
    question_type: str
    kind: str
    source: str
    options: tuple[str, ...] = ()
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """A system's answer: text, and for a choice by likelihood the index chosen and its probability."""

    text: str
    choice: int | None = None
    confidence: float = -1.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """A scored answer: what was read out of it, whether anything was, and a number for each metric."""

    parsed: str
    is_parsed: bool
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class BenchmarkCard:
    """What a benchmark is: stated, so that a number can be read without its code."""

    title: str
    measures: str
    dataset: str
    citation: str
    licence: str
    known_limits: str


Responder = Callable[[Item], Answer]


@dataclass(frozen=True)
class Benchmark:
    """One benchmark: which items it takes, how it asks, how it scores.

    `version` rises whenever `prompt` or `score` changes what it gives. `answering` is "choice" (options
    ranked by likelihood) or "text" (greedy generation). `metrics[0]` is the headline; all lie in 0-1, more is
    better. `majority` learns a baseline from training items and answers without looking at an image.
    `budget` names the cap in the settings that bounds the number of items.
    """

    name: str
    version: int
    card: BenchmarkCard
    answering: Answering
    budget: Budget
    metrics: tuple[str, ...]
    takes: Callable[[Item], bool]
    prompt: Callable[[Item], str]
    score: Callable[[Answer, Item], Judgement]
    majority: Callable[[Iterable[Item]], Responder]
    file: str = field(default="")


def item_from_pair(pair: Pair) -> Item | None:
    """Turn a pair's first question and answer into an item; None when there is no image or no such turn."""
    turns = pair.conversations
    if not pair.record_ids or len(turns) < 2 or (turns[0].speaker, turns[1].speaker) != ("human", "gpt"):
        return None
    return Item(
        item_id=pair.pair_id, question=turns[0].value, gold=pair.answer or turns[1].value,
        reference=turns[1].value, record_ids=pair.record_ids, patient_key=pair.patient_key,
        modality=pair.modality, department=pair.department, language=pair.language,
        question_type=pair.question_type, kind=pair.kind, source=pair.source, options=pair.options,
        boxes=pair.boxes,
    )  # fmt: skip
