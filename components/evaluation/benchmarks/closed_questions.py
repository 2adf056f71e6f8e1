"""Closed questions about held-out patients: the option of greatest likelihood must be the gold one."""

from __future__ import annotations

from components.evaluation.answers import parse_option
from components.evaluation.baselines import most_frequent_option
from components.evaluation.items import (
    Answer,
    Benchmark,
    BenchmarkCard,
    Item,
    Judgement,
    as_asked,
)
from components.evaluation.multiple_choice import CALIBRATION


def _takes(item: Item) -> bool:
    return len(item.options) > 1 and item.gold in item.options


def _score(answer: Answer, item: Item) -> Judgement:
    choice = answer.choice if answer.choice is not None else parse_option(answer.text, item.options)
    if choice is None:
        return Judgement("", False, {"accuracy": 0.0})
    chosen = item.options[choice]
    return Judgement(chosen, True, {"accuracy": float(chosen == item.gold)})


BENCHMARK = Benchmark(
    name="closed_questions",
    version=2,
    card=BenchmarkCard(
        title="Closed questions on held-out patients",
        measures="share of questions whose gold option has the greatest likelihood; calibration of that choice",
        dataset="curated pairs with options (presence, count, side, plane, modality, organ, …)",
        citation="this project; rule of the likelihood choice: lm-evaluation-harness, acc",
        licence="that of each source",
        known_limits="written from annotations by templates; few patients in the sample corpus",
    ),
    answering="choice",
    budget="closed",
    metrics=("accuracy",),
    corpus_metrics=(CALIBRATION,),
    takes=_takes,
    prompt=as_asked,
    score=_score,
    majority=most_frequent_option,
)
