"""What an evaluation leaves for others: the metrics file, numbers for the tracking store, words for the terminal.

metrics/evaluation.json: `image_minus_blind` (null when no benchmark has a blind row), `scores` (a row a
benchmark, metric and part), `details` (why blind rows are missing, each protocol by part, what the items could
show, numbers that are not defined on these items).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from components.evaluation.exams import Exam, cluster_of
from components.evaluation.power import smallest_difference
from components.evaluation.protocol import Protocol, join_protocols
from components.evaluation.scores import DIGITS, difference_row, image_minus_blind, score_row
from components.records import Prediction, Score

BLIND_BENCHMARK = "closed_questions"


def summarise(
    exams: Sequence[Exam],
    predictions: Sequence[Prediction],
    scores: Sequence[Score],
    protocols: Mapping[str, Protocol],
    *,
    split: str,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Return what `metrics/evaluation.json` holds."""
    absent = {exam.benchmark.name: exam.no_blind for exam in exams if exam.no_blind}
    defined = [score for score in scores if math.isfinite(score.value)]
    return {
        "split": split,
        "image_minus_blind": _blind_row(exams, predictions, resamples=resamples, seed=seed),
        "scores": [score_row(score, no_blind=absent.get(score.benchmark.split("/")[0], "")) for score in defined],
        "details": {
            "no_blind": dict(sorted(absent.items())),
            "protocols": join_protocols(protocols.items()),
            "smallest_difference": what_can_be_shown(exams),
            "not_defined": sorted(f"{s.benchmark} {s.metric}" for s in scores if not math.isfinite(s.value)),
        },
    }


def _blind_row(
    exams: Sequence[Exam], predictions: Sequence[Prediction], *, resamples: int, seed: int
) -> dict[str, Any] | None:
    scored = {row.benchmark for row in predictions}  # hidden gold answers give no scores
    headline = {exam.benchmark.name: exam.benchmark.metrics[0] for exam in exams}
    name = blind_benchmark({e.benchmark.name: e.no_blind for e in exams if e.benchmark.name in scored})
    if not name:
        return None
    difference = image_minus_blind(
        predictions, benchmark=name, metric=headline[name], resamples=resamples, seed=seed
    )
    return {"benchmark": name, **difference_row(difference)}


def blind_benchmark(no_blind: Mapping[str, str]) -> str:
    """Name the benchmark image minus blind is read from: the closed questions, else the first that has one."""
    seeing = sorted(name for name, reason in no_blind.items() if not reason)
    return BLIND_BENCHMARK if BLIND_BENCHMARK in seeing else next(iter(seeing), "")


def what_can_be_shown(exams: Sequence[Exam]) -> dict[str, dict[str, Any]]:
    """Return each benchmark's smallest detectable difference with its assumptions; known before the run."""
    found = {exam.benchmark.name: smallest_difference([cluster_of(item) for item in exam.items]) for exam in exams}
    return {name: {**asdict(one), "value": round(one.value, DIGITS)} for name, one in sorted(found.items())}


def print_plan(exams: Sequence[Exam]) -> None:
    """Say before the run what its items can show."""
    for name, one in what_can_be_shown(exams).items():
        size = (
            "no difference can be shown"
            if one["value"] >= 1
            else f"differences from {one['value']:.3f} can be shown"
        )
        print(f"{name}: {one['n']} items of {one['num_clusters']} patients: {size}")


def flat_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Name each number for the tracking store: "closed_questions/accuracy", "…/low", "…/majority"."""
    gap = metrics["image_minus_blind"] or {}
    flat = {f"image_minus_blind/{name}": gap[name] for name in ("value", "low", "high") if name in gap}
    for row in metrics["scores"]:
        name = f"{row['benchmark']}/{row['metric']}"
        flat[name] = row["value"]
        if "/" not in row["benchmark"]:
            flat |= {f"{name}/low": row["low"], f"{name}/high": row["high"], f"{name}/majority": row["baseline"]}
    return {name: value for name, value in flat.items() if value is not None}


def print_scores(metrics: Mapping[str, Any]) -> None:
    """Print whole benchmarks and the closed questions by part; the report holds every breakdown."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("score", "value", "95 %", "majority", "blind", "n/patients"):
        table.add_column(column, no_wrap=True)
    headline = next((row["metric"] for row in metrics["scores"] if row["benchmark"] == BLIND_BENCHMARK), "")
    for row in metrics["scores"]:
        benchmark, _, part = row["benchmark"].partition("/")
        if part and (benchmark, row["metric"]) != (BLIND_BENCHMARK, headline):
            continue
        name = f"  {part.rpartition('=')[2]}" if part else f"{benchmark} {row['metric']}"
        interval = f"{number(row['low'])}-{number(row['high'])}"
        counts = (number(row["baseline"]), number(row.get("blind")), f"{row['n']}/{row['num_patients']}")
        table.add_row(name, number(row["value"]), interval, *counts, style="dim" if part else "bold")
    console = Console()
    console.print(table)
    unread = {row["benchmark"]: row["unparsed"] for row in metrics["scores"] if "/" not in row["benchmark"]}
    console.print(f"answers that could not be read, counted as wrong: {unread}")
    console.print(_gap_words(metrics))


def number(value: float | None) -> str:
    """Write a score with three digits, and "none" where there is none."""
    return "none" if value is None else f"{value:.3f}"


def _gap_words(metrics: Mapping[str, Any]) -> str:
    absent = [f"{name}: {reason}" for name, reason in metrics["details"]["no_blind"].items()]
    gap = metrics["image_minus_blind"]
    if gap is None:
        return "image minus blind: not known; " + "; ".join(absent)
    few = " (few patients: the interval is rough)" if gap["few_patients"] else ""
    words = (
        f"image minus blind, {gap['benchmark'].replace('_', ' ')}: {gap['value']:+.3f} "
        f"({gap['low']:+.3f} to {gap['high']:+.3f}), {gap['n']} questions, {gap['num_patients']} patients{few}"
    )
    return "\n".join([words, *absent])
