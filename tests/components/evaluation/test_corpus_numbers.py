"""Numbers of many items are kept with what they are without each patient, and two evaluations' are compared."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from components.evaluation.catalog import find_benchmark
from components.evaluation.corpus_numbers import (
    FILE,
    compare_corpus_numbers,
    corpus_numbers,
    read_corpus_numbers,
)
from components.evaluation.exams import Exam
from components.evaluation.items import Answer, CorpusMetric, Judged, Judgement
from components.tracking.commit import write_json
from tests.fakes.items import make_item


def share(rows: list[Judged]) -> float:
    return sum(row.judgement.scores["accuracy"] for row in rows) / len(rows)


METRICS = (
    CorpusMetric("share", share),
    CorpusMetric("nothing", lambda rows: math.nan),
    CorpusMetric("bits", lambda rows: 2 * share(rows), high=math.inf),
)
BENCHMARK = replace(find_benchmark("closed_questions"), corpus_metrics=METRICS)


def written(folder: Path, scores: list[float], *, seen: frozenset[str] = frozenset()) -> Path:
    rows = [
        Judged(
            make_item(item_id=f"i{k}", patient_key=f"p{k}"), Answer(""), Judgement("", True, {"accuracy": score})
        )
        for k, score in enumerate(scores)
    ]
    exam = Exam(BENCHMARK, [row.item for row in rows], [], {}, seen=seen)
    write_json(folder / FILE, corpus_numbers([exam], {BENCHMARK.name: {"model": rows}}))
    return folder


def test_numbers_are_read_back_as_they_were(tmp_path: Path) -> None:
    found = read_corpus_numbers(written(tmp_path, [1, 1, 0], seen=frozenset({"i0"})))
    whole = found["closed_questions share"]
    assert whole.replicates.value == pytest.approx(2 / 3) and whole.width == 1.0
    assert whole.replicates.without == (0.5, 0.5, 1.0) and whole.replicates.n == 3
    assert found["closed_questions/clean share"].replicates.value == 0.5
    assert math.isnan(found["closed_questions nothing"].replicates.value)
    assert found["closed_questions bits"].width == math.inf
    assert read_corpus_numbers(tmp_path / "older") == {}


def test_two_evaluations_differ_by_what_is_left_out_of_both(tmp_path: Path) -> None:
    better, worse = ([1.0] * 18 + [0.0] * 2, [1.0] * 2 + [0.0] * 18)
    first, second = (
        read_corpus_numbers(written(tmp_path / name, scores, seen=frozenset({"i0"})))
        for name, scores in (("a", better), ("b", worse))
    )
    found = {(one.benchmark, one.metric): one for one in compare_corpus_numbers(first, second)}
    assert set(found) == {
        (part, name) for part in ("closed_questions", "closed_questions/clean") for name in ("share", "bits")
    }
    whole = found["closed_questions", "share"]
    assert whole.interval.value == pytest.approx(0.8) and whole.interval.low > 0 and whole.p < 0.001
    assert all(one.p == 1.0 and one.interval.value == 0 for one in compare_corpus_numbers(first, first))


def test_other_items_are_refused(tmp_path: Path) -> None:
    first, second = (
        read_corpus_numbers(written(tmp_path / name, scores)) for name, scores in (("a", [1, 0]), ("b", [1, 0, 1]))
    )
    with pytest.raises(ValueError, match="2 items in 2 groups, 3 in 3"):
        compare_corpus_numbers(first, second)
