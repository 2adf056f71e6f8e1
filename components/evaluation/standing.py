"""How an evaluation stands: against the champion item by item, and among earlier runs of the same protocol.

The champion's answers are those its own evaluation left in the tracking store. Numbers of other fingerprints are
not compared; the sentence that stands there instead names what differs. All this depends on the registry and the
clock, so it is never part of a hashed output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from components.errors import BenchmarkError, TrackingError
from components.evaluation.comparison import Compared, Evaluated, compare_evaluations, read_evaluated
from components.evaluation.corpus_numbers import FILE
from components.settings import Settings
from components.tracking.model_package import DIGEST_TAG
from components.tracking.past import Past, PastRun, open_past
from components.tracking.runs import TAG_STAGE, StageRun

KEPT = "evaluation"  # artefact folder with scores.json and predictions/
PROTOCOL_TAG = "gmai.protocol."


@dataclass(frozen=True, slots=True)
class Point:
    """One earlier score of the same protocol; `when` is a day, UTC."""

    run_id: str
    when: str
    model: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Standing:
    """The comparison with the champion, or a sentence why there is none; earlier scores by "benchmark metric"."""

    champion: str
    compared: Sequence[Compared] = ()
    words: str = ""
    trend: Mapping[str, Sequence[Point]] = field(default_factory=dict)


@dataclass(frozen=True)
class Question:
    """What is asked of the past: this evaluation, the stage it is a run of, and its model's digest."""

    ours: Evaluated
    stage: str
    model_digest: str
    resamples: int
    seed: int


def keep_evaluation(run: StageRun, folder: Path, *, model_digest: str) -> None:
    """Log to a run what later ones are compared with: scores, answers, plots, and each protocol as a tag."""
    import json

    rows = json.loads((folder / "scores.json").read_text(encoding="utf-8"))["scores"]
    run.set_tags(
        {DIGEST_TAG: model_digest, **{PROTOCOL_TAG + name: found for name, found in _prints(rows).items()}}
    )
    run.log_artifact(folder / "scores.json", KEPT)
    run.log_artifact(folder / "predictions", KEPT)
    if (folder / FILE).is_file():
        run.log_artifact(folder / FILE, KEPT)
    run.log_artifact(folder / "plots")


def _prints(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return {whole benchmark: fingerprint}."""
    return {row["benchmark"]: row["fingerprint"] for row in rows if "/" not in row["benchmark"]}


def find_standing(settings: Settings, folder: Path, *, stage: str, model_digest: str) -> Standing:
    """Look at the registry and the store for what this evaluation's folder can be held against.

    A store that does not answer is a sentence, not an error: the answers behind the evaluation took hours.
    """
    ours = replace(read_evaluated(folder), name="this evaluation")
    asked = Question(ours, stage, model_digest, settings.evaluation.bootstrap, settings.seed)
    try:
        return standing_of(open_past(settings), asked)
    except TrackingError as error:
        return Standing("", words=f"not known: {error.what}")


def standing_of(past: Past, asked: Question) -> Standing:
    """Return the standing; pure but for what `past` answers."""
    trend = _trend(past, asked)
    version = past.champion()
    if version is None:
        return Standing("", words="there is no champion yet", trend=trend)
    digest = version.tags.get(DIGEST_TAG, "")
    if digest == asked.model_digest:
        return Standing(version.number, words="the champion is this very model", trend=trend)
    runs = past.finished({TAG_STAGE: asked.stage, DIGEST_TAG: digest}) if digest else ()
    with TemporaryDirectory() as folder:
        theirs = _evaluation_of(past, runs, Path(folder))
        if theirs is None:
            words = f"no {asked.stage} run of the champion has kept its answers; evaluate it again first"
            return Standing(version.number, words=words, trend=trend)
        return replace(_compared(asked, theirs, version.number), trend=trend)


def _evaluation_of(past: Past, runs: Sequence[PastRun], folder: Path) -> Evaluated | None:
    """Return the newest evaluation that is still whole in the store."""
    for run in reversed(runs):
        found = past.fetch(run.run_id, KEPT, folder / run.run_id)
        if found is not None and (found / "scores.json").is_file() and (found / "predictions").is_dir():
            return read_evaluated(found)
    return None


def _compared(asked: Question, theirs: Evaluated, version: str) -> Standing:
    named = replace(theirs, name=f"the champion, version {version}")
    try:
        found = compare_evaluations(asked.ours, named, resamples=asked.resamples, seed=asked.seed)
    except BenchmarkError as error:
        return Standing(version, words=error.what)
    return Standing(version, found)


def _trend(past: Past, asked: Question) -> dict[str, list[Point]]:
    rows = [row for row in asked.ours.metrics["scores"] if "/" not in row["benchmark"]]
    runs = {
        name: past.finished({TAG_STAGE: asked.stage, PROTOCOL_TAG + name: fingerprint})
        for name, fingerprint in _prints(rows).items()
    }
    points = {
        f"{row['benchmark']} {row['metric']}": [
            point for run in runs[row["benchmark"]] if (point := _point(run, row)) is not None
        ]
        for row in rows
    }
    return {name: found for name, found in points.items() if found}


def _point(run: PastRun, row: Mapping[str, Any]) -> Point | None:
    name = f"{row['benchmark']}/{row['metric']}"
    if name not in run.metrics:
        return None
    value = run.metrics[name]
    day = datetime.fromtimestamp(run.ended / 1000, UTC).date().isoformat()
    low, high = (run.metrics.get(f"{name}/{end}", value) for end in ("low", "high"))
    return Point(run.run_id, day, run.tags.get(DIGEST_TAG, ""), value, low, high)
