"""What is asked and what comes back: items, answers, judgements, and the shape of a benchmark.

An item is one held-out question, whatever set it comes from: the sample's own pairs (`item_from_pair`) and
the field's public sets, read from their published files (`published.py`), look alike here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from components.errors import BenchmarkError
from components.records import NOT_STATED, Box, Pair

Answering = Literal["choice", "text", "likelihood", "mixed"]
Budget = Literal["closed", "boxes", "captions"]


@dataclass(frozen=True, slots=True)
class Item:
    """One question with its gold answer.

    `question` is the human turn as the model was trained to read it, `<image>` placeholders included;
    `record_ids` are the images in their order. `gold` is the shortest form of the answer, `reference` the
    full assistant text. `boxes` is the gold geometry (0-1), `options` the choices of a closed question.
    `gold_index` is the gold option's place when the source gives it (two options may read alike), else -1;
    `accepted` are further gold answers as good as `gold`. `facts` are what breakdowns ask for, where the
    source states it: task, organ, sex, age_band, answer_type, content_type, subset, label, …; sorted by name.
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
    gold_index: int = -1
    accepted: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()

    def fact(self, name: str) -> str:
        """Return the source's statement under this name, or NOT_STATED."""
        return dict(self.facts).get(name, NOT_STATED)


@dataclass(frozen=True, slots=True)
class Answer:
    """A system's answer: text, and for a choice by likelihood the index chosen and its probability.

    `shares` are the options' probabilities in their order (they sum to 1), when the system knows them.
    Under "likelihood" nothing is chosen: `log_probability` is the mean over the reference's `num_tokens`
    tokens, in nats.
    """

    text: str
    choice: int | None = None
    confidence: float = -1.0
    shares: tuple[float, ...] = ()
    log_probability: float = 0.0
    num_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Judgement:
    """A scored answer: what was read out of it, whether anything was, and a number for each metric.

    A metric that is not among `scores` does not apply to the item (closed accuracy of an open question).
    """

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


@dataclass(frozen=True, slots=True)
class Judged:
    """An item, one system's answer to it, and the judgement: what a corpus metric is computed from."""

    item: Item
    answer: Answer
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class CorpusMetric:
    """A number that exists over many items only (mAP, CIDEr, AUROC, perplexity).

    `compute` takes the judged items of one system and returns nan where the number is not defined (an AUROC
    of one class). Its interval comes from resampling patients and computing again.
    """

    name: str
    compute: Callable[[Sequence[Judged]], float]
    low: float = 0.0
    high: float = 1.0
    greater_is_better: bool = True


@dataclass(frozen=True, slots=True)
class Refused:
    """A published row that is not asked: where it lies, and a snake_case reason."""

    where: str
    reason: str


@dataclass(frozen=True, slots=True)
class Question:
    """A published row as read: its item, and each of its pictures as a path or as encoded bytes, by name."""

    item: Item
    pictures: Mapping[str, Path | bytes]


@dataclass(frozen=True, slots=True)
class Publication:
    """How a benchmark is read from its own published files.

    `splits` maps each name to what it is; the first is the default, and "train" is what baselines learn from.
    `files` are glob patterns of the annotation files a split needs (any one of "a|b" will do); they are
    hashed, and compared with `checksums` ({file name: "sha256:…" or "md5:…"}) and with a SHA256SUMS file beside
    them. `read` yields a question or a refusal a row, in the order of the files. `obtain` is a sentence.
    """

    splits: Mapping[str, str]
    files: Mapping[str, tuple[str, ...]]
    read: Callable[[Path, str], Iterator[Question | Refused]]
    obtain: str
    checksums: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Benchmark:
    """One benchmark: which items it takes, how it asks, how it scores.

    `version` rises whenever `prompt` or `score` changes what it gives. `answering` is "choice" (options
    ranked by likelihood), "text" (greedy generation), "mixed" (by options where an item has them, else in
    words) or "likelihood" (of the reference); `also_answering` are other ways that `answering_by` may switch to.
    `metrics[0]` is the headline and applies to every item; all lie in 0-1, more is better. `corpus_metrics` need
    many items. `majority` learns a baseline from training items and answers without looking at an image.
    `budget` names the cap in the settings that bounds the number of items. `publication` is the second way in,
    from the benchmark's own files; `submission` writes into a folder what a hidden-answer test wants.
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
    also_answering: tuple[Answering, ...] = ()
    corpus_metrics: tuple[CorpusMetric, ...] = ()
    publication: Publication | None = None
    submission: Callable[[Sequence[Judged], Path], None] | None = None


def of_source(name: str) -> Callable[[Item], bool]:
    """Return the rule of a benchmark that takes the items of its own files alone."""
    return lambda item: item.source == name


def as_asked(item: Item) -> str:
    """Return the question as it stands: the prompt of a benchmark that adds nothing."""
    return item.question


def answering_by(benchmark: Benchmark, answering: Answering) -> Benchmark:
    """Return the benchmark answered another way; by "choice" it takes only items with options.

    Raises:
        BenchmarkError: the benchmark does not offer this way.
    """
    if answering == benchmark.answering:
        return benchmark
    if answering not in benchmark.also_answering:
        offered = ", ".join((benchmark.answering, *benchmark.also_answering))
        raise BenchmarkError(f"{benchmark.name} is not answered by {answering!r}; it offers: {offered}")
    takes = benchmark.takes
    if answering == "choice":
        return replace(benchmark, answering=answering, takes=lambda item: len(item.options) > 1 and takes(item))
    return replace(benchmark, answering=answering)


def item_from_pair(pair: Pair) -> Item | None:
    """Turn a pair's first question and answer into an item; None when there is no image or no such turn."""
    turns = pair.conversations
    if not pair.record_ids or len(turns) < 2 or (turns[0].speaker, turns[1].speaker) != ("human", "gpt"):
        return None
    facts = {"task": pair.task, "label": pair.labels[0] if len(pair.labels) == 1 else ""}
    return Item(
        item_id=pair.pair_id, question=turns[0].value, gold=pair.answer or turns[1].value,
        reference=turns[1].value, record_ids=pair.record_ids, patient_key=pair.patient_key,
        modality=pair.modality, department=pair.department, language=pair.language,
        question_type=pair.question_type, kind=pair.kind, source=pair.source, options=pair.options,
        boxes=pair.boxes, facts=tuple(sorted((name, value) for name, value in facts.items() if value)),
    )  # fmt: skip
