import io
from pathlib import Path

import pytest
from rich.console import Console

from components.errors import ConfigError
from components.registry.gate import Evidence, Finding, Verdict
from components.registry.ledger import append_event
from components.registry.report import print_history, print_verdict, verdict_page

DIGEST = "d" * 64
SCORE = {
    "benchmark": "closed",
    "metric": "accuracy",
    "value": 0.6,
    "low": 0.5,
    "high": 0.7,
    "n": 9,
    "baseline": 0.4,
}
ROW = {"stage": "ingest", "output": "artifacts/records", "digest": "a" * 64, "run_id": "run1", "gaps": ("<lost>",)}
BARE = {**SCORE, "metric": "expected_calibration_error", "baseline": None, "high": None}
EVIDENCE = Evidence(DIGEST, {}, scores=(SCORE, BARE), lineage=(ROW,))
VERDICT = Verdict(
    "HOLD",
    (Finding("beats_blind", "failed", "low is <0", {}, "HOLD"), Finding("integrity", "passed", "3 files")),
    "p" * 64, DIGEST, "3",
)  # fmt: skip


def console() -> Console:
    return Console(width=160, record=True, file=io.StringIO())


def test_the_page_stands_alone_and_escapes_what_it_shows() -> None:
    page = verdict_page(VERDICT, EVIDENCE, title="gmai <b>")
    for words in (
        "HOLD",
        "against champion version 3",
        "closed (accuracy)",
        "[0.500, 0.700]",
        "[0.500, none]",
        "&lt;lost&gt;",
        "run1",
    ):
        assert words in page
    for forbidden in ("<b>", "low is <0", "http://", "https://", "src=", "<script"):
        assert forbidden not in page


def test_the_table_names_every_gate_and_the_outcome() -> None:
    screen = console()
    print_verdict(VERDICT, title="gmai version 4", console=screen)
    text = screen.export_text()
    assert "failed → HOLD" in text
    assert text.rstrip().endswith("HOLD")
    assert VERDICT.reasons() == "beats_blind: low is <0"


def test_history_names_the_champion_of_the_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    append_event("promote", "gmai", moved_to="1")
    now, then = console(), console()
    print_history("", console=now)
    assert "champion of gmai: version 1" in now.export_text()
    print_history("2020-01-01", console=then)
    assert "champion of" not in then.export_text()
    with pytest.raises(ConfigError, match="not a moment"):
        print_history("yesterday")
