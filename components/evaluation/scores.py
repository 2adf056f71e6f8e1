"""Judged answers to scores: each metric overall, broken down and on the clean items, with interval and test."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from components.errors import BenchmarkError
from components.evaluation.exams import BLIND, MAJORITY, MODEL, cluster_of
from components.evaluation.items import Benchmark, CorpusMetric, Judged
from components.evaluation.statistics import (
    Interval,
    PairedDifference,
    cluster_interval,
    holm,
    jackknife_interval,
    paired_difference,
)
from components.records import NOT_STATED, Prediction, Score

BREAKDOWNS = ("modality", "department", "task", "organ", "question_type", "language", "sex", "age_band")
CLEAN = "clean"
DIGITS = 6
Systems = Mapping[str, Sequence[Judged]]
Table = dict[str, list[Prediction]]  # system -> predictions, in order of item


@dataclass(frozen=True)
class Scoring:
    """What all scores of one benchmark share: fingerprint, the items training saw (None: not known), the draws."""

    fingerprint: str
    resamples: int
    seed: int
    seen: frozenset[str] | None = None


def make_scores(benchmark: Benchmark, systems: Systems, scoring: Scoring) -> list[Score]:
    """Return the model's scores by metric: the whole benchmark, its clean part, each breakdown.

    The test is of the model against the majority baseline, corrected by Holm over the groups of one breakdown.
    Numbers of many items (corpus metrics) have no such test; of their parts, those that are not defined are
    left out.
    """
    scores: list[Score] = []
    for metric in benchmark.metrics:
        table = {
            system: [row for row in rows if metric in row.judgement.scores] for system, rows in systems.items()
        }
        if table.get(MODEL):
            scores += _of_metric(benchmark.name, metric, table, scoring)
    for metric in benchmark.corpus_metrics:
        scores += _of_corpus_metric(benchmark.name, metric, systems, scoring)
    return scores


def in_order(scores: Iterable[Score]) -> list[Score]:
    """Return whole benchmarks first, then their parts, each by name; a benchmark's headline metric stays first."""
    return sorted(scores, key=lambda score: ("/" in score.benchmark, score.benchmark))


def _of_metric(name: str, metric: str, table: Systems, scoring: Scoring) -> Iterator[Score]:
    yield _score(name, metric, table, scoring)
    clean = clean_items(table[MODEL], scoring.seen)
    if clean:  # checked: the row stands there even where nothing was seen
        yield _score(f"{name}/{CLEAN}", metric, _part(table, clean), scoring)
    for column in BREAKDOWNS:
        scores = [
            _score(f"{name}/{column}={value}", metric, _part(table, ids), scoring)
            for value, ids in groups_by(column, table[MODEL]).items()
        ]
        corrected = holm({score.benchmark: score.details["p"] for score in scores})
        yield from (
            replace(score, details={**score.details, "p_holm": corrected[score.benchmark]}) for score in scores
        )


def _of_corpus_metric(name: str, metric: CorpusMetric, systems: Systems, scoring: Scoring) -> Iterator[Score]:
    yield _corpus_score(name, metric, systems, scoring)
    clean = clean_items(systems[MODEL], scoring.seen)
    parts = {CLEAN: clean} if clean else {}
    for column in BREAKDOWNS:
        groups = groups_by(column, systems[MODEL])
        parts |= {f"{column}={value}": ids for value, ids in groups.items()}
    for part, ids in parts.items():
        score = _corpus_score(f"{name}/{part}", metric, _part(systems, ids), scoring)
        if not math.isnan(score.value):
            yield score


def clean_items(rows: Sequence[Judged], seen: Collection[str] | None) -> set[str]:
    """Return the ids of items that show nothing of training; none when that was not checked (None)."""
    return set() if seen is None else {row.item.item_id for row in rows} - set(seen)


def groups_by(column: str, rows: Sequence[Judged]) -> dict[str, set[str]]:
    """Return {value: item ids} of a breakdown by name; {} unless the items differ in it."""
    return groups_of({row.item.item_id: value_of(column, row) for row in rows})


def groups_of(values: Mapping[str, str]) -> dict[str, set[str]]:
    """Return {value: names} of {name: value}, by value; {} unless values differ; none of what is not stated."""
    groups: defaultdict[str, set[str]] = defaultdict(set)
    for name, value in values.items():
        groups[value].add(name)
    if len(groups) < 2:
        return {}
    return {value: groups[value] for value in sorted(groups) if value != NOT_STATED}


def value_of(column: str, row: Judged) -> str:
    """Return what an item states under a breakdown's name, NOT_STATED when it says nothing."""
    own = getattr(row.item, column, "")
    return (own if isinstance(own, str) and own else row.item.fact(column)) or NOT_STATED


def _part(table: Systems, ids: set[str]) -> dict[str, list[Judged]]:
    return {system: [row for row in rows if row.item.item_id in ids] for system, rows in table.items()}


def _score(name: str, metric: str, table: Systems, scoring: Scoring) -> Score:
    values = {system: [row.judgement.scores[metric] for row in rows] for system, rows in table.items() if rows}
    clusters = [cluster_of(row.item) for row in table[MODEL]]
    interval = cluster_interval(values[MODEL], clusters)
    others = {system: _mean(values[system]) for system in sorted(values) if system not in (MODEL, MAJORITY)}
    lead = paired_difference(
        values[MODEL], values[MAJORITY], clusters, resamples=scoring.resamples, seed=scoring.seed
    )
    unparsed = sum(not row.judgement.is_parsed for row in table[MODEL])
    return _row(name, metric, interval, scoring, _mean(values[MAJORITY]), unparsed, {**others, "p": lead.p})


def _corpus_score(name: str, metric: CorpusMetric, systems: Systems, scoring: Scoring) -> Score:
    """Score a number of many items; where it is not defined it is nan, and the metrics file says null."""
    rows = systems[MODEL]
    interval = jackknife_interval(
        rows, [cluster_of(row.item) for row in rows], metric.compute, limits=(metric.low, metric.high)
    )
    others = {system: metric.compute(rows) for system, rows in sorted(systems.items()) if system != MODEL}
    baseline = others.pop(MAJORITY)
    unparsed = sum(not row.judgement.is_parsed for row in rows)
    return _row(name, metric.name, interval, scoring, baseline, unparsed, others)


def _row(
    name: str, metric: str, interval: Interval, scoring: Scoring, baseline: float, unparsed: int,
    details: dict[str, float],
) -> Score:  # fmt: skip
    return Score(
        benchmark=name, metric=metric, value=interval.value, low=interval.low, high=interval.high, n=interval.n,
        baseline=baseline, fingerprint=scoring.fingerprint, num_clusters=interval.num_clusters,
        unparsed=unparsed, details=details,
    )  # fmt: skip


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def by_system(predictions: Iterable[Prediction]) -> Table:
    """Group predictions by system, each in order of item."""
    table: defaultdict[str, list[Prediction]] = defaultdict(list)
    for prediction in sorted(predictions, key=lambda row: row.item_id):
        table[prediction.system].append(prediction)
    return dict(table)


def image_minus_blind(
    predictions: Sequence[Prediction], *, benchmark: str, metric: str, resamples: int, seed: int
) -> PairedDifference:
    """Return the paired difference in a benchmark between the model and itself shown other patients' images.

    Raises:
        BenchmarkError: the benchmark has no items on this split.
    """
    table = by_system(row for row in predictions if (row.benchmark, row.metric) == (benchmark, metric))
    if MODEL not in table or BLIND not in table:
        raise BenchmarkError(
            f"no {benchmark} answered by the model with and without its images",
            fix="look at artifacts/curated for closed questions on the evaluated split",
        )
    first, second = ([row.score for row in table[system]] for system in (MODEL, BLIND))
    return paired_difference(
        first, second, [row.patient_key for row in table[MODEL]], resamples=resamples, seed=seed
    )


def score_row(score: Score, *, no_blind: str = "") -> dict[str, Any]:
    """Return a score as the metrics file holds it; the other systems' values lie beside the baseline.

    Without a blind system its value is null and `note` says why; null, too, is what is not defined (nan).
    """
    absent = {BLIND: None, "note": no_blind} if no_blind else {}
    numbers = {"value": score.value, "low": score.low, "high": score.high, "baseline": score.baseline}
    return {
        "benchmark": score.benchmark, "metric": score.metric, "n": score.n, "num_patients": score.num_clusters,
        "unparsed": score.unparsed, "fingerprint": score.fingerprint,
        **{name: _written(value) for name, value in {**numbers, **score.details}.items()}, **absent,
    }  # fmt: skip


def _written(value: float) -> float | None:
    return round(value, DIGITS) if math.isfinite(value) else None


def difference_row(difference: PairedDifference) -> dict[str, Any]:
    """Return image minus blind as the metrics file holds it."""
    interval = difference.interval
    return {
        "value": round(interval.value, DIGITS), "low": round(interval.low, DIGITS),
        "high": round(interval.high, DIGITS), "n": interval.n, "num_patients": interval.num_clusters,
        "few_patients": interval.is_rough, "wins": difference.wins, "losses": difference.losses,
        "ties": difference.ties, "mcnemar_p": round(difference.mcnemar_p, DIGITS),
        "p": round(difference.p, DIGITS),
    }  # fmt: skip
