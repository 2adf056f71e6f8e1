"""Probes: what is not there, what is denied, the wrong side, and the image that is not shown.

Takes the items that `probes.make_probes` makes of held-out ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from components.evaluation.answers import is_abstention, parse_yes_no
from components.evaluation.items import Answer, Benchmark, BenchmarkCard, CorpusMetric, Item, Judged, Judgement
from components.evaluation.prior import most_frequent_answer
from components.evaluation.probes import ABSENT, KIND, LATERALITY, NEGATION, PRESENT, REMOVED

METRIC_OF = {
    ABSENT: "absent_object_accuracy", PRESENT: "present_object_accuracy", NEGATION: "negation_accuracy",
    LATERALITY: "laterality_accuracy", REMOVED: "abstention",
}  # fmt: skip


def _takes(item: Item) -> bool:
    return item.kind == KIND


def _prompt(item: Item) -> str:
    return item.question


def _score(answer: Answer, item: Item) -> Judgement:
    if item.question_type == REMOVED:
        right = is_abstention(answer.text)
        parsed = "abstains" if right else answer.text.strip()
    else:
        said = parse_yes_no(answer.text)
        right, parsed = said is not None and said == parse_yes_no(item.gold), said or ""
    value = float(right)
    return Judgement(parsed, bool(parsed), {"accuracy": value, METRIC_OF[item.question_type]: value})


def _share_yes(judged: Sequence[Judged], kinds: tuple[str, ...]) -> float:
    rows = [row for row in judged if row.item.question_type in kinds]
    return sum(row.judgement.parsed == "yes" for row in rows) / len(rows) if rows else math.nan


def _hallucination(judged: Sequence[Judged]) -> float:
    return _share_yes(judged, (ABSENT,))


def _yes(judged: Sequence[Judged]) -> float:
    return _share_yes(judged, (ABSENT, PRESENT))


BENCHMARK = Benchmark(
    name="hallucination",
    version=1,
    card=BenchmarkCard(
        title="Hallucination and abstention probes",
        measures="accuracy on each kind of probe; share of absent objects that the model says are there",
        dataset="made of held-out items whose gold answer says what is there",
        citation="this project; after POPE, Li et al., EMNLP 2023, arXiv 2305.10355",
        licence="that of each source",
        known_limits="an image-removed probe is right only when the answer says that it cannot tell",
    ),
    answering="text",
    budget="closed",
    metrics=("accuracy", *METRIC_OF.values()),
    corpus_metrics=(
        CorpusMetric("hallucination_rate", _hallucination, greater_is_better=False),
        CorpusMetric("share_answered_yes", _yes),
    ),
    takes=_takes,
    prompt=_prompt,
    score=_score,
    majority=most_frequent_answer,
)
