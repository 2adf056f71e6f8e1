"""Judged answers become scores: overall, by part, on clean items; with baselines, tests and nothing undefined."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from components.errors import BenchmarkError
from components.evaluation.catalog import find_benchmark
from components.evaluation.exams import Exam, cluster_of, predictions_of
from components.evaluation.items import Answer, CorpusMetric, Judged, Judgement
from components.evaluation.scores import Scoring, image_minus_blind, in_order, make_scores, score_row
from tests.fakes.items import make_item

BENCHMARK = replace(find_benchmark("closed_questions"), corpus_metrics=())
SCORING = Scoring("f", 50, 0)


def rows(scores, **columns) -> list[Judged]:
    found = []
    for place, score in enumerate(scores):
        own = {name: values[place] for name, values in columns.items()}
        item = make_item(item_id=f"i{place}", patient_key=f"p{place}", record_ids=(f"r{place}",), **own)
        found.append(Judged(item, Answer("yes"), Judgement("yes", score > 0, {"accuracy": score})))
    return found


def systems(**columns) -> dict[str, list[Judged]]:
    return {
        name: rows(scores, **columns)
        for name, scores in {"model": (1, 1, 0), "blind": (0, 1, 0), "majority": (1, 0, 0)}.items()
    }


def test_scores_break_down_and_count_the_unparsed() -> None:
    table = systems(modality=("CT", "CT", "MR"))
    scores = {score.benchmark: score for score in in_order(make_scores(BENCHMARK, table, SCORING))}
    assert list(scores) == ["closed_questions", "closed_questions/modality=CT", "closed_questions/modality=MR"]
    whole = scores["closed_questions"]
    assert (whole.value, whole.baseline, whole.n, whole.unparsed) == (
        pytest.approx(2 / 3), pytest.approx(1 / 3), 3, 1,
    )  # fmt: skip
    assert whole.details == {"blind": pytest.approx(1 / 3), "p": 1.0} and whole.fingerprint == "f"
    assert scores["closed_questions/modality=CT"].value == 1.0
    assert scores["closed_questions/modality=MR"].details["p_holm"] == 1.0


def test_breakdowns_follow_what_the_items_state() -> None:
    facts = ((("sex", "female"),), (("sex", "male"), ("task", "Bone")), (("task", "Bone"),))
    names = {score.benchmark for score in make_scores(BENCHMARK, systems(facts=facts), SCORING)}
    assert names == {"closed_questions", "closed_questions/sex=female", "closed_questions/sex=male",
                     "closed_questions/task=Bone"}  # fmt: skip


def test_the_clean_score_stands_beside_the_full_one() -> None:
    scoring = replace(SCORING, seen=frozenset({"i2", "a picture of another benchmark"}))
    scores = {score.benchmark: score for score in make_scores(BENCHMARK, systems(), scoring)}
    assert (scores["closed_questions/clean"].value, scores["closed_questions/clean"].n) == (1.0, 2)
    assert scores["closed_questions"].n == 3


def exam_of(benchmark) -> Exam:
    blind = {row.item.item_id: ("another",) for row in systems()["model"]}
    return Exam(benchmark, [], [], blind)


def test_a_metric_counts_only_the_items_it_applies_to() -> None:
    table = systems()
    table = {
        name: [*found[:2], replace(found[2], judgement=Judgement("", True, {"other": 1.0}))]
        for name, found in table.items()
    }
    benchmark = replace(BENCHMARK, metrics=("accuracy", "other", "absent"))
    scores = {score.metric: score for score in make_scores(benchmark, table, SCORING)}
    assert (scores["accuracy"].n, scores["other"].n) == (2, 1) and "absent" not in scores
    metrics = [row.metric for row in predictions_of(exam_of(benchmark), table) if row.system == "model"]
    assert metrics == ["accuracy", "accuracy", "other"]


def test_a_number_of_many_items_has_an_interval_and_may_be_undefined() -> None:
    best = CorpusMetric("share", lambda found: sum(row.judgement.scores["accuracy"] for row in found) / len(found))
    nothing = CorpusMetric("auroc", lambda found: math.nan)
    benchmark = replace(BENCHMARK, corpus_metrics=(best, nothing))
    scores = {score.metric: score for score in make_scores(benchmark, systems(), SCORING)}
    assert scores["share"].value == pytest.approx(2 / 3) and scores["share"].baseline == pytest.approx(1 / 3)
    assert scores["share"].low < 2 / 3 < scores["share"].high
    assert score_row(scores["auroc"])["value"] is None


def test_a_number_of_many_items_has_a_clean_part_and_breakdowns() -> None:
    share = CorpusMetric(
        "share", lambda found: sum(row.judgement.scores["accuracy"] for row in found) / len(found)
    )
    pairs = CorpusMetric("pairs", lambda found: 0.5 if len(found) > 1 else math.nan)
    benchmark = replace(BENCHMARK, metrics=(), corpus_metrics=(share, pairs))
    scoring = replace(SCORING, seen=frozenset({"i2"}))
    scores = make_scores(benchmark, systems(modality=("CT", "CT", "MR")), scoring)
    found = {(score.benchmark.partition("/")[2], score.metric): (score.value, score.n) for score in scores}
    assert found == {
        ("", "share"): (pytest.approx(2 / 3), 3), ("clean", "share"): (1.0, 2), ("modality=CT", "share"): (1.0, 2),
        ("modality=MR", "share"): (0.0, 1), ("", "pairs"): (0.5, 3), ("clean", "pairs"): (0.5, 2),
        ("modality=CT", "pairs"): (0.5, 2),
    }  # fmt: skip
    clean = next(score for score in scores if score.benchmark.endswith("/clean"))
    assert clean.low <= clean.value <= clean.high and clean.baseline == pytest.approx(1 / 2)


def test_predictions_keep_what_comparisons_group_by() -> None:
    facts = ((("age_band", "60s"), ("organ", "lung")), (("sex", "male"), ("task", "Bone")), ())
    exam = replace(exam_of(BENCHMARK), seen=frozenset({"i1"}))
    rows = [row for row in predictions_of(exam, systems(facts=facts)) if row.system == "model"]
    assert [(row.task, row.organ, row.sex, row.age_band, row.is_seen) for row in rows] == [
        ("not stated", "lung", "not stated", "60s", False), ("Bone", "not stated", "male", "not stated", True),
        ("not stated",) * 4 + (False,),
    ]  # fmt: skip
    unknown = predictions_of(exam_of(BENCHMARK), systems())
    assert {row.is_seen for row in unknown} == {None}


def test_image_minus_blind_pairs_the_items() -> None:
    rows = list(predictions_of(exam_of(BENCHMARK), systems()))
    how = {"benchmark": "closed_questions", "metric": "accuracy", "resamples": 50, "seed": 0}
    gap = image_minus_blind(rows, **how)
    assert gap.interval.value == pytest.approx(1 / 3) and (gap.wins, gap.losses) == (1, 0)
    with pytest.raises(BenchmarkError, match="no closed_questions answered"):
        image_minus_blind(rows[:3], **how)


def test_items_without_a_patient_count_by_study_then_image() -> None:
    assert cluster_of(make_item(patient_key="p")) == "p"
    assert cluster_of(make_item(patient_key="not stated", facts=(("study", "s"),))) == "s"
    assert cluster_of(make_item(patient_key="", record_ids=("r1", "r2"))) == "r1"
    assert cluster_of(make_item(patient_key="", record_ids=(), item_id="i")) == "i"
