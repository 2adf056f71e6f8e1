"""Predictions to scores: each metric overall and broken down, with interval, baselines and fingerprint."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from components.errors import BenchmarkError
from components.evaluation.exams import BLIND, MAJORITY, MODEL
from components.evaluation.statistics import PairedDifference, cluster_interval, paired_difference
from components.records import Prediction, Score

BREAKDOWNS = ("modality", "question_type", "language")
DIGITS = 6
Table = dict[str, list[Prediction]]  # system -> predictions, in order of item


def by_system(predictions: Iterable[Prediction]) -> Table:
    """Group predictions by system, each in order of item."""
    table: defaultdict[str, list[Prediction]] = defaultdict(list)
    for prediction in sorted(predictions, key=lambda row: row.item_id):
        table[prediction.system].append(prediction)
    return dict(table)


def make_scores(
    predictions: Sequence[Prediction], fingerprints: Mapping[str, str], *, resamples: int, seed: int
) -> list[Score]:
    """Return the model's scores, whole benchmarks first, then each breakdown by name."""
    groups: defaultdict[tuple[str, str], list[Prediction]] = defaultdict(list)
    for row in predictions:
        groups[row.benchmark, row.metric].append(row)
    scores = []
    for (benchmark, metric), rows in sorted(groups.items()):
        for name, part in _parts(benchmark, rows):
            table = by_system(part)
            if MODEL in table:
                fingerprint = fingerprints[benchmark]
                scores.append(_score(name, metric, table, fingerprint, resamples=resamples, seed=seed))
    return sorted(scores, key=lambda score: ("/" in score.benchmark, score.benchmark, score.metric))


def _parts(benchmark: str, rows: Sequence[Prediction]) -> Iterator[tuple[str, list[Prediction]]]:
    yield benchmark, list(rows)
    for column in BREAKDOWNS:
        values = sorted({getattr(row, column) for row in rows})
        for value in values if len(values) > 1 else ():
            yield f"{benchmark}/{column}={value}", [row for row in rows if getattr(row, column) == value]


def _score(name: str, metric: str, table: Table, fingerprint: str, *, resamples: int, seed: int) -> Score:
    model = table[MODEL]
    clusters = [row.patient_key for row in model]
    interval = cluster_interval([row.score for row in model], clusters)
    others = {system: _mean(rows) for system, rows in sorted(table.items()) if system not in (MODEL, MAJORITY)}
    return Score(
        benchmark=name, metric=metric, value=interval.value, low=interval.low, high=interval.high, n=interval.n,
        baseline=_mean(table[MAJORITY]), fingerprint=fingerprint, num_clusters=interval.num_clusters,
        unparsed=sum(not row.is_parsed for row in model), details=others,
    )  # fmt: skip


def _mean(rows: Sequence[Prediction]) -> float:
    return sum(row.score for row in rows) / len(rows)


def image_minus_blind(
    predictions: Sequence[Prediction], *, benchmark: str, resamples: int, seed: int
) -> PairedDifference:
    """Return the paired difference in a benchmark between the model and itself shown other patients' images.

    Raises:
        BenchmarkError: the benchmark has no items on this split.
    """
    table = by_system(row for row in predictions if row.benchmark == benchmark)
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

    Without a blind system its value is null and `note` says why.
    """
    absent = {BLIND: None, "note": no_blind} if no_blind else {}
    numbers = {"value": score.value, "low": score.low, "high": score.high, "baseline": score.baseline}
    return {
        "benchmark": score.benchmark, "metric": score.metric, "n": score.n, "num_patients": score.num_clusters,
        "unparsed": score.unparsed, "fingerprint": score.fingerprint,
        **{name: round(value, DIGITS) for name, value in {**numbers, **score.details}.items()}, **absent,
    }  # fmt: skip


def difference_row(difference: PairedDifference) -> dict[str, Any]:
    """Return image minus blind as the metrics file holds it."""
    interval = difference.interval
    return {
        "value": round(interval.value, DIGITS), "low": round(interval.low, DIGITS),
        "high": round(interval.high, DIGITS), "n": interval.n, "num_patients": interval.num_clusters,
        "few_patients": interval.is_rough, "wins": difference.wins, "losses": difference.losses,
        "ties": difference.ties, "mcnemar_p": round(difference.mcnemar_p, DIGITS),
    }  # fmt: skip
