"""Two evaluations are compared item by item, or refused with the parts of the protocol that differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.errors import BenchmarkError
from components.evaluation.comparison import compare_evaluations, read_evaluated
from components.evaluation.comparison_page import run_compare
from components.records import Prediction, prediction_schema, to_rows
from components.tracking.commit import write_json
from components.tracking.tables import write_table

PARTS = {"prompt": "1", "code": "1"}


def written(folder: Path, *, right: set[int], fingerprint: str = "f", parts=PARTS, benchmark: str = "b") -> Path:
    rows = [
        Prediction(
            item_id=f"i{k:02d}", benchmark=benchmark, system=system, patient_key=f"p{k // 2}", prompt="", gold="",
            modality="CT" if k < 16 else "MR", question_type="presence", raw_answer="", parsed_answer="",
            score=float(k in right and system == "model"), metric="accuracy",
        )
        for k in range(32) for system in ("model", "blind")
    ]  # fmt: skip
    write_table(folder / "predictions", to_rows(rows), prediction_schema())
    row = {"benchmark": benchmark, "metric": "accuracy", "fingerprint": fingerprint}
    write_json(folder / "scores.json", {"scores": [row], "details": {"protocols": {benchmark: parts}}})
    return folder


def compared(first: Path, second: Path):
    return compare_evaluations(read_evaluated(first), read_evaluated(second), resamples=200, seed=0)


def test_a_better_model_differs_and_parts_are_corrected(tmp_path: Path) -> None:
    better, worse = written(tmp_path / "a", right=set(range(28))), written(tmp_path / "b", right=set(range(8)))
    whole, scans, others = compared(better, worse)
    assert (whole.benchmark, whole.difference.wins, whole.differs) == ("b", 20, True)
    assert whole.difference.interval.value == pytest.approx(20 / 32)
    assert (scans.benchmark, others.benchmark) == ("b/modality=CT", "b/modality=MR")
    smaller, larger = sorted((scans, others), key=lambda part: part.difference.p)
    assert 0 < smaller.difference.p < 0.05 and smaller.difference.p < larger.difference.p
    assert smaller.p_holm == pytest.approx(min(1.0, 2 * smaller.difference.p))
    assert larger.p_holm == pytest.approx(max(smaller.p_holm, larger.difference.p))


def test_the_same_model_does_not_differ_from_itself(tmp_path: Path) -> None:
    folder = written(tmp_path / "a", right={1, 2, 3})
    assert not any(one.differs for one in compared(folder, folder))


def test_another_protocol_is_refused_and_named(tmp_path: Path) -> None:
    first = written(tmp_path / "a", right={1})
    second = written(tmp_path / "b", right={1}, fingerprint="g", parts={"prompt": "2", "code": "1"})
    with pytest.raises(BenchmarkError, match=r"not compared; b: another protocol fingerprint: prompt differ"):
        compared(first, second)


def test_other_benchmarks_and_empty_folders_are_refused(tmp_path: Path) -> None:
    first, second = written(tmp_path / "a", right={1}), written(tmp_path / "b", right={1}, benchmark="c")
    with pytest.raises(BenchmarkError, match="share no benchmark"):
        compared(first, second)
    with pytest.raises(BenchmarkError, match=r"no scores\.json here"):
        read_evaluated(tmp_path)


def test_the_page_is_self_contained_and_repeatable(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folders = written(tmp_path / "a", right=set(range(28))), written(tmp_path / "b", right=set(range(8)))
    pages = [tmp_path / "one.html", tmp_path / "two.html"]
    for page in pages:
        run_compare(*folders, resamples=200, seed=0, page=page)
    assert "differs" in capsys.readouterr().out
    text = pages[0].read_text()
    assert "http" not in text and "data:image/png;base64," in text and "b/modality=CT" in text
    assert pages[0].read_bytes() == pages[1].read_bytes()
