"""Probes: what is not there, what is denied, the wrong side, and the image that is not shown.

Takes the items that `probes.make_probes` makes of held-out ones; its files are the corpus itself, the folder that
holds curated/ and records/.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from components.evaluation.answers import is_abstention, parse_yes_no
from components.evaluation.items import (
    Answer,
    Benchmark,
    BenchmarkCard,
    CorpusMetric,
    Item,
    Judged,
    Judgement,
    Publication,
    Question,
    Refused,
    as_asked,
    item_from_pair,
)
from components.evaluation.multiple_choice import macro_accuracy
from components.evaluation.prior import most_frequent_answer
from components.evaluation.probes import ABSENT, KIND, LATERALITY, NEGATION, PRESENT, REMOVED, make_probes
from components.records import pair_from_row
from components.tracking.lookup import rows_by_id
from components.tracking.tables import iterate_rows

METRIC_OF = {
    ABSENT: "absent_object_accuracy", PRESENT: "present_object_accuracy", NEGATION: "negation_accuracy",
    LATERALITY: "laterality_accuracy", REMOVED: "abstention",
}  # fmt: skip


def _read(folder: Path, split: str) -> Iterator[Question | Refused]:
    rows = (row for row in iterate_rows(folder / "curated") if row["split"] == split)
    items = [item for row in rows if (item := item_from_pair(pair_from_row(row))) is not None]
    probes = make_probes(items)
    images = rows_by_id(folder / "records", {name for probe in probes for name in probe.record_ids}, ["image"])
    for probe in probes:
        if images.keys() >= set(probe.record_ids):
            yield Question(probe, {name: images[name]["image"] for name in probe.record_ids})
        else:
            yield Refused(probe.item_id, "picture_missing")


def _takes(item: Item) -> bool:
    return item.kind == KIND


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


def _by_kind(judged: Sequence[Judged]) -> float:
    return macro_accuracy(judged, "question_type")


def _hallucination(judged: Sequence[Judged]) -> float:
    return _share_yes(judged, (ABSENT,))


def _yes(judged: Sequence[Judged]) -> float:
    return _share_yes(judged, (ABSENT, PRESENT))


BENCHMARK = Benchmark(
    name="hallucination",
    version=2,
    card=BenchmarkCard(
        title="Hallucination and abstention probes",
        measures="accuracy on each kind of probe; share of absent objects that the model says are there",
        dataset="made of held-out items whose gold answer says what is there",
        citation="this project; after POPE, Li et al., EMNLP 2023, arXiv 2305.10355",
        licence="that of each source",
        known_limits="kinds are of unlike size, so read their mean; an image-removed "
        "probe is right only when the answer says that it cannot tell",
    ),
    answering="text",
    budget="closed",
    metrics=("accuracy", *METRIC_OF.values()),
    corpus_metrics=(
        CorpusMetric("accuracy_mean_over_kinds", _by_kind),
        CorpusMetric("hallucination_rate", _hallucination, greater_is_better=False),
        CorpusMetric("share_answered_yes", _yes),
    ),
    takes=_takes,
    prompt=as_asked,
    score=_score,
    majority=most_frequent_answer,
    publication=Publication(
        splits={split: f"probes of the corpus's {split} pairs" for split in ("test", "validation", "train")},
        files=dict.fromkeys(("test", "validation", "train"), ("curated/part-*.parquet",)),
        read=_read,
        obtain="run the pipeline up to curate (gmai ingest, pair, curate) and name its folder: artifacts",
    ),
)
