"""Diagnosis on any classification source: which label an image has, and whether it has one that it may lack.

A record with one label is a question over the source's labels (ten at most: the gold one and others drawn by
hash). Labels that the source rules out become yes-or-no questions, with those that it states.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from components.evaluation.answers import LETTERS
from components.evaluation.ingested import NAMES, OBTAIN, PARTS, labels_by_source, questions_of, record_item
from components.evaluation.items import (
    Benchmark,
    BenchmarkCard,
    CorpusMetric,
    Item,
    Judged,
    Publication,
    Question,
    Refused,
    of_source,
)
from components.evaluation.metrics_choice import auroc, sensitivity, specificity
from components.evaluation.multiple_choice import CALIBRATION, choice_prompt, judge_choice
from components.evaluation.prior import most_frequent_answer
from components.records import Record, stable_id

NAME = "diagnosis"
WHICH, WHETHER = "which_label", "presence"
YES_NO = ("yes", "no")


def _read(folder: Path, split: str) -> Iterator[Question | Refused]:
    vocabulary = labels_by_source(folder)
    yield from questions_of(folder, split, lambda record: _items(record, vocabulary[record.source]))


def _items(record: Record, vocabulary: Sequence[str]) -> Iterator[Item]:
    if record.absent_labels:
        for label in sorted((*record.labels, *record.absent_labels)):
            yield _presence(record, label)
    elif len(record.labels) == 1 and len(vocabulary) > 1:
        yield _which(record, vocabulary)


def _which(record: Record, vocabulary: Sequence[str]) -> Item:
    gold = record.labels[0]
    others = sorted(set(vocabulary) - {gold}, key=lambda name: stable_id("option", record.record_id, name))
    options = tuple(sorted((gold, *others[: len(LETTERS) - 1])))
    return record_item(
        record, record.record_id, "Which of these does the image show?", benchmark=NAME, gold=gold, kind="percept",
        facts={"label": gold}, question_type=WHICH, options=options, gold_index=options.index(gold),
    )  # fmt: skip


def _presence(record: Record, label: str) -> Item:
    gold = YES_NO[label in record.absent_labels]
    return record_item(
        record, stable_id(record.record_id, label), f"Does the image show {label}?", benchmark=NAME, gold=gold,
        kind="percept", facts={"label": label}, question_type=WHETHER, options=YES_NO,
        gold_index=YES_NO.index(gold),
    )  # fmt: skip


def _shares(row: Judged) -> tuple[float, ...] | None:
    """Return the options' probabilities; of two options one probability gives both, otherwise none are known."""
    answer, options = row.answer, row.item.options
    if len(answer.shares) == len(options):
        return answer.shares
    if answer.choice is None or answer.confidence < 0 or len(options) != 2:
        return None
    other = 1.0 - answer.confidence
    return (answer.confidence, other) if answer.choice == 0 else (other, answer.confidence)


def _auroc(judged: Sequence[Judged]) -> float:
    """Mean over labels of one-vs-rest AUROC; nan when an answer has no probability."""
    by_label: dict[str, list[tuple[float, bool]]] = {}
    for row in judged:
        shares = _shares(row)
        if shares is None:
            return math.nan
        for name, share, truth in _claims(row, shares):
            by_label.setdefault(name, []).append((share, truth))
    values = [auroc([s for s, _ in rows], [t for _, t in rows]) for rows in by_label.values()]
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _claims(row: Judged, shares: Sequence[float]) -> list[tuple[str, float, bool]]:
    if row.item.question_type == WHETHER:
        return [(row.item.fact("label"), shares[0], row.item.gold == YES_NO[0])]
    return [(name, share, name == row.item.gold) for name, share in zip(row.item.options, shares, strict=True)]


def _whether(judged: Sequence[Judged]) -> tuple[list[bool | None], list[bool]]:
    rows = [row for row in judged if row.item.question_type == WHETHER]
    said = [row.judgement.parsed == YES_NO[0] if row.judgement.is_parsed else None for row in rows]
    return said, [row.item.gold == YES_NO[0] for row in rows]


def _sensitivity(judged: Sequence[Judged]) -> float:
    return sensitivity(*_whether(judged))


def _specificity(judged: Sequence[Judged]) -> float:
    return specificity(*_whether(judged))


BENCHMARK = Benchmark(
    name=NAME,
    version=1,
    card=BenchmarkCard(
        title="Diagnosis on a classification source",
        measures="accuracy; AUROC, sensitivity and specificity of stated labels; calibration of the choice",
        dataset="any ingested source with labels of whole images",
        citation="AUROC: scikit-learn; calibration error: Naeini et al., AAAI 2015",
        licence="that of the source",
        known_limits="ten options at most; labels are the source's, with its errors",
    ),
    answering="choice",
    also_answering=("text",),
    budget="closed",
    metrics=("accuracy",),
    corpus_metrics=(
        CorpusMetric("auroc", _auroc),
        CorpusMetric("sensitivity", _sensitivity),
        CorpusMetric("specificity", _specificity),
        CALIBRATION,
    ),
    takes=of_source(NAME),
    prompt=choice_prompt,
    score=judge_choice,
    majority=most_frequent_answer,
    publication=Publication(splits=NAMES, files=PARTS, read=_read, obtain=OBTAIN),
)
