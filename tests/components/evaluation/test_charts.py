"""Calibration and confusion by hand; the same rows draw the same bytes."""

from __future__ import annotations

import pytest

from components.evaluation.charts import (
    OTHER,
    UNREAD,
    calibration,
    calibration_error,
    confusion,
    draw_calibration,
    draw_confusion,
    draw_scores,
    plot_files,
)
from components.evaluation.metrics_choice import expected_calibration_error
from components.records import Prediction


def row(gold: str, answered: str, *, confidence: float = 0.5, is_parsed: bool = True, system: str = "model"):
    return Prediction(
        item_id="i", benchmark="b", system=system, patient_key="p", modality="CT", question_type="presence",
        prompt="", raw_answer=answered, parsed_answer=answered, gold=gold, metric="accuracy",
        score=float(gold == answered),
        is_parsed=is_parsed, confidence=confidence,
    )  # fmt: skip


def test_calibration_by_hand() -> None:
    rows = [row("a", "a", confidence=0.92), row("a", "b", confidence=0.98), row("a", "a", confidence=0.31),
            row("a", "a", confidence=-1.0), row("a", "a", confidence=0.9, system="blind")]  # fmt: skip
    bins = calibration(rows)
    assert bins == [{"confidence": 0.31, "accuracy": 1.0, "n": 1}, {"confidence": 0.95, "accuracy": 0.5, "n": 2}]
    assert calibration_error(bins) == pytest.approx((0.69 + 2 * 0.45) / 3)
    assert calibration([row("a", "a", confidence=1.0)])[0]["n"] == 1
    edges = [row("a", "b", confidence=0.1), row("a", "a", confidence=0.2), row("a", "a", confidence=0.5),
             row("a", "b", confidence=0.45)]  # fmt: skip
    same = expected_calibration_error([one.confidence for one in edges], [one.score for one in edges])
    # (0, 0.1] (0.1, 0.2] (0.4, 0.5]: 0.1 wrong; 0.2 right; 0.5 right and 0.45 wrong
    assert calibration_error(calibration(edges)) == pytest.approx(same) == pytest.approx((0.1 + 0.8 + 0.05) / 4)
    assert calibration_error([]) == 0.0


def test_confusion_gathers_the_rare_and_the_unread() -> None:
    rows = [row(f"gold{k}", f"gold{k}") for k in range(8) for _ in range(2)]
    rows += [row("rare", "gold1"), row("gold1", "rare"), row("gold1", "", is_parsed=False)]
    pairs = confusion(rows)
    assert pairs.count(("gold1", "gold1")) == 2
    assert {(OTHER, "gold1"), ("gold1", OTHER), ("gold1", UNREAD)} <= set(pairs)


def test_drawings_are_pictures_and_repeatable() -> None:
    bins, pairs = [{"confidence": 0.5, "accuracy": 0.4, "n": 3}], [("yes", "no"), ("yes", "yes")]
    assert draw_calibration(bins) == draw_calibration(bins)
    assert draw_confusion(pairs)[:4] == b"\x89PNG"


def test_plot_files_hold_plain_rows() -> None:
    score = {
        "benchmark": "b",
        "metric": "m",
        "value": 0.5,
        "low": 0.4,
        "high": 0.6,
        "baseline": 0.3,
        "n": 9,
        "p": 1,
    }
    files = plot_files([row("a", "a")], {"scores": [score]})
    assert files["scores.json"][0] == {
        "score": "b m",
        "value": 0.5,
        "low": 0.4,
        "high": 0.6,
        "baseline": 0.3,
        "n": 9,
    }
    assert files["calibration.json"][0]["n"] == 1
    assert files["confusion.json"] == [{"gold": "a", "answered": "a"}]


def test_a_baseline_beyond_one_keeps_the_chart(recwarn: pytest.WarningsRecorder) -> None:
    row = {"benchmark": "b", "metric": "cider", "value": 0.0, "low": 0.0, "high": 1.0, "baseline": 9.5}
    assert draw_scores([row])[:4] == b"\x89PNG"
    assert not recwarn.list
