"""What a person reads at the end of a run."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from flows.graph import StageOutcome
from flows.summary import (
    NOTHING_TO_DO,
    describe_outcomes,
    print_champion,
    print_outcomes,
    print_scores,
    score_rows,
)

RAN = [StageOutcome("first", ran=True, seconds=2.2), StageOutcome("second", ran=False)]
IDLE = [StageOutcome("first", ran=False), StageOutcome("second", ran=False)]
METRICS = {
    "image_minus_blind": {"value": 0.25, "low": 0.1, "high": 0.4, "n": 40},
    "scores": [
        {"benchmark": "closed", "metric": "accuracy", "value": 0.7, "low": 0.6, "high": 0.8, "n": 40,
         "baseline": 0.5, "fingerprint": "f"},
        {"benchmark": "closed/modality=CT", "metric": "accuracy", "value": 0.9, "low": 0.6, "high": 1.0, "n": 9,
         "baseline": 0.5, "fingerprint": "f"},
    ],
}  # fmt: skip


def printed(action, *arguments) -> str:
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    action(console, *arguments)
    return console.export_text()


def test_an_idle_run_says_so() -> None:
    assert describe_outcomes(IDLE) == NOTHING_TO_DO
    assert f"{NOTHING_TO_DO} (2 stages)" in printed(print_outcomes, IDLE)


def test_a_run_names_what_ran_and_how_long() -> None:
    assert describe_outcomes(RAN) == "ran 1 of 2 stages in 2 s (first 2 s); the rest was up to date"
    text = printed(print_outcomes, RAN)
    assert "first" in text
    assert "2.2" in text
    assert "up to date" in text


def test_only_headline_scores_are_shown() -> None:
    assert score_rows(METRICS) == [
        ("image minus blind", "0.250", "0.100 to 0.400", "0", "40"),
        ("closed (accuracy)", "0.700", "0.600 to 0.800", "0.500", "40"),
    ]


def test_what_is_not_defined_is_said() -> None:
    """The majority baseline answers without a confidence, so it has no calibration; perplexity has no end."""
    score = {**METRICS["scores"][0], "metric": "expected_calibration_error", "baseline": None, "high": None}
    rows = score_rows({**METRICS, "scores": [score]})
    assert rows[1] == ("closed (expected_calibration_error)", "0.700", "0.600 to none", "none", "40")


def test_scores_are_printed_when_they_are_there(tmp_path: Path) -> None:
    assert "no scores yet" in printed(print_scores, tmp_path)
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "evaluation.json").write_text(json.dumps(METRICS))
    assert "0.600 to 0.800" in printed(print_scores, tmp_path)


def test_the_champion_is_the_ledgers_last_move_of_that_model(tmp_path: Path) -> None:
    from components.registry.ledger import LEDGER, append_event

    def text() -> str:
        return printed(lambda console: print_champion(console, tmp_path, model="ours"))

    assert "champion of ours: none yet" in text()
    moves = (
        ("promote", "ours", "1"),
        ("promote", "ours", "2"),
        ("refuse", "ours", "3"),
        ("promote", "theirs", "4"),
    )
    for kind, model, version in moves:
        append_event(kind, model, moved_to=version, path=tmp_path / LEDGER)
    assert "champion of ours: version 2" in text()
