"""All that a report is made of, without a model: two benchmarks answered by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.evaluation.attention import GRADIENT, ROLLOUT, HeatMap, draw_heat, pointing_rows
from components.evaluation.catalog import find_benchmark
from components.evaluation.exams import (
    BLIND,
    MODEL,
    RANDOM,
    TEXT_ONLY,
    Exam,
    answer_baselines,
    judge_all,
    make_exam,
)
from components.evaluation.exams import predictions_of as rows_of
from components.evaluation.items import Answer, Item
from components.evaluation.protocol import make_protocol
from components.evaluation.scores import Scoring, in_order, make_scores
from components.evaluation.summary import summarise
from components.quality.pictures import data_uri
from components.records import Prediction
from tests.fakes.items import make_item
from tests.fakes.tables import png

BOX = (0.1, 0.2, 0.5, 0.6)


def make_items() -> list[Item]:
    closed = [
        make_item(item_id=f"c{k}", patient_key=f"p{k % 8}", record_ids=(f"r{k % 8}",), gold=("yes", "no")[k % 2],
                  modality=("CT", "MR")[k % 8 // 4], facts=(("sex", ("female", "male")[k % 8 % 2]),))
        for k in range(24)
    ]  # fmt: skip
    boxed = [
        make_item(item_id=f"b{k}", patient_key=f"p{k}", record_ids=(f"r{k}",), question_type="box", boxes=(BOX,),
                  options=(), gold="[[0.1, 0.2, 0.5, 0.6]]", question="<image>\nWhere is the lung?")
        for k in range(4)
    ]  # fmt: skip
    return [*closed, *boxed]


def _answers(exam: Exam, right: int) -> list[Answer]:
    """The first `right` of every ten items are answered rightly."""
    found = []
    for place, item in enumerate(exam.items):
        is_right = place % 10 < right
        if exam.benchmark.answering == "choice":
            choice = item.options.index(item.gold) if is_right else 1 - item.options.index(item.gold)
            found.append(Answer(item.options[choice], choice=choice, confidence=0.5 + place % 5 / 10))
        else:
            found.append(Answer("[[0.1, 0.2, 0.5, 0.5]]" if is_right else "I see nothing."))
    return found


def make_heat(exam: Exam, images: dict[str, bytes]) -> list[HeatMap]:
    import numpy as np

    cells = np.linspace(0, 1, 16).reshape(4, 4)
    return [
        HeatMap("boxes", item.item_id, method, item.question, "here", item.gold,
                data_uri(draw_heat(images[item.record_ids[0]], cells, item.boxes)), True, 0.25, item.patient_key)
        for item in exam.items for method in (ROLLOUT, GRADIENT)
    ]  # fmt: skip


def make_report_inputs() -> tuple[
    list[Exam], list[Prediction], dict[str, Any], dict[str, bytes], Sequence[HeatMap]
]:
    """Return exams, predictions, metrics, images and heat maps."""
    items, images = make_items(), {f"r{k}": png(30 * k) for k in range(8)}
    exams = [
        make_exam(find_benchmark(name), items, items, number=30, seed=0) for name in ("boxes", "closed_questions")
    ]
    for exam in exams:
        exam.answers |= {MODEL: _answers(exam, 8), BLIND: _answers(exam, 5), TEXT_ONLY: _answers(exam, 4)}
        answer_baselines(exam, seed=0)
    assert RANDOM in exams[1].answers
    judged = {exam.benchmark.name: judge_all(exam) for exam in exams}
    predictions = [row for exam in exams for row in rows_of(exam, judged[exam.benchmark.name])]
    protocols = {exam.benchmark.name: make_protocol(exam, preprocessing="p", max_new_tokens=4) for exam in exams}
    scores = [
        score for exam in exams
        for score in make_scores(exam.benchmark, judged[exam.benchmark.name],
                                 Scoring(protocols[exam.benchmark.name].fingerprint, 50, 0))
    ]  # fmt: skip
    metrics = summarise(exams, predictions, in_order(scores), protocols, split="test", resamples=50, seed=0)
    heat = make_heat(exams[0], images)
    metrics["details"]["pointing"] = pointing_rows(heat, resamples=50, seed=0)
    return exams, predictions, metrics, images, heat
