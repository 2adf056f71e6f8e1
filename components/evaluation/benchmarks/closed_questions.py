"""Closed questions about held-out patients: the option of greatest likelihood must be the gold one."""

from __future__ import annotations

from components.evaluation.baselines import most_frequent_option
from components.evaluation.items import Benchmark, BenchmarkCard, Item, as_asked
from components.evaluation.multiple_choice import CALIBRATION, judge_choice


def _takes(item: Item) -> bool:
    return len(item.options) > 1 and item.gold in item.options


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
    score=judge_choice,
    majority=most_frequent_option,
)
