"""The model's numbers of many items (mAP, CIDEr, AUROC, …), kept so that two evaluations can be compared.

Such a number has no score an item to pair. Kept beside the predictions is the number itself and what it is without
each group of patients (`statistics.jackknife`); of two evaluations of the same items the groups are the same, and
their differences give the interval and the test. Names are "benchmark metric", "benchmark/clean metric" for the
items that show no picture of training.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.evaluation.exams import MODEL, Exam, cluster_of
from components.evaluation.items import CorpusMetric, Judged
from components.evaluation.scores import CLEAN, clean_items
from components.evaluation.statistics import ALPHA, Interval, Replicates, jackknife, paired_jackknife

FILE = "corpus_numbers.json"
WIDTH = "width"


@dataclass(frozen=True, slots=True)
class CorpusNumber:
    """One number with its replicates; `width` is the metric's range, high minus low."""

    replicates: Replicates
    width: float


@dataclass(frozen=True, slots=True)
class CorpusDifference:
    """One number of the first evaluation minus the second's; `p` is by Student's t over groups of patients."""

    benchmark: str
    metric: str
    interval: Interval
    p: float

    @property
    def differs(self) -> bool:
        """True when both the test and the interval say so at 5 %."""
        return self.p <= ALPHA and not self.interval.low <= 0.0 <= self.interval.high


def corpus_numbers(
    exams: Sequence[Exam], judged: Mapping[str, Mapping[str, Sequence[Judged]]]
) -> dict[str, dict[str, Any]]:
    """Return what the file holds: every corpus metric of the model, of all items and of the clean ones."""
    return {name: _row(number) for exam in exams for name, number in _numbers(exam, judged[exam.benchmark.name])}


def _numbers(exam: Exam, systems: Mapping[str, Sequence[Judged]]) -> Iterator[tuple[str, CorpusNumber]]:
    rows, name = systems[MODEL], exam.benchmark.name
    clean = clean_items(rows, exam.seen)
    for metric in exam.benchmark.corpus_metrics:
        yield f"{name} {metric.name}", _number(metric, rows)
        if clean:
            kept = [row for row in rows if row.item.item_id in clean]
            yield f"{name}/{CLEAN} {metric.name}", _number(metric, kept)


def _number(metric: CorpusMetric, rows: Sequence[Judged]) -> CorpusNumber:
    clusters = [cluster_of(row.item) for row in rows]
    return CorpusNumber(jackknife(rows, clusters, metric.compute), metric.high - metric.low)


def _row(number: CorpusNumber) -> dict[str, Any]:
    found = number.replicates
    return {
        "value": _written(found.value), "without": [_written(value) for value in found.without], "n": found.n,
        "num_patients": found.num_clusters, WIDTH: _written(number.width),
    }  # fmt: skip


def _written(value: float) -> float | None:
    return value if math.isfinite(value) else None


def read_corpus_numbers(folder: Path) -> dict[str, CorpusNumber]:
    """Read an evaluation's file; {} where an older evaluation kept none."""
    path = folder / FILE
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {name: _read(row) for name, row in kept.items()}


def _read(row: Mapping[str, Any]) -> CorpusNumber:
    values = [math.nan if value is None else float(value) for value in (row["value"], *row["without"])]
    width = math.inf if row[WIDTH] is None else float(row[WIDTH])
    return CorpusNumber(Replicates(values[0], tuple(values[1:]), row["n"], row["num_patients"]), width)


def compare_corpus_numbers(
    first: Mapping[str, CorpusNumber], second: Mapping[str, CorpusNumber]
) -> list[CorpusDifference]:
    """Compare every number that both evaluations hold and that is defined in both, by name.

    Whether the two were made under one protocol is the caller's to ask (`protocol.why_not_comparable`), for
    each benchmark's name up to its "/".

    Raises:
        ValueError: a number is of other items in the second evaluation.
    """
    found = []
    for name in sorted(first.keys() & second.keys()):
        ours, theirs = first[name], second[name]
        if math.isfinite(ours.replicates.value) and math.isfinite(theirs.replicates.value):
            interval, p = paired_jackknife(ours.replicates, theirs.replicates, width=ours.width)
            found.append(CorpusDifference(*name.split(" ", maxsplit=1), interval, p))
    return found
