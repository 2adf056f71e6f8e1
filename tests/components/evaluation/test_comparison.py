"""Two evaluations are compared item by item, or refused with the parts of the protocol that differ."""

from __future__ import annotations

import shutil
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


@pytest.mark.parametrize("content", ["{}", "[]", "not json", '{"scores": [{"benchmark": "b"}]}', '{"scores": 3}'])
def test_a_broken_metrics_file_is_named(tmp_path: Path, content: str) -> None:
    folder = written(tmp_path / "a", right={1})
    (folder / "scores.json").write_text(content)
    with pytest.raises(BenchmarkError, match="no metrics file of an evaluation"):
        read_evaluated(folder)


def test_predictions_that_are_damaged_or_gone_are_named(tmp_path: Path) -> None:
    folder = written(tmp_path / "a", right={1})
    (shard,) = (folder / "predictions").glob("*.parquet")
    shard.write_bytes(shard.read_bytes()[:50])
    with pytest.raises(BenchmarkError, match="cannot be read"):
        read_evaluated(folder)
    shutil.rmtree(folder / "predictions")
    with pytest.raises(BenchmarkError, match="cannot be read"):
        read_evaluated(folder)


def test_items_that_one_side_lacks_are_a_refusal(tmp_path: Path) -> None:
    first, second = (read_evaluated(written(tmp_path / name, right={1})) for name in "ab")
    del second.rows["b", "accuracy"]["i07"]
    with pytest.raises(BenchmarkError, match="1 items are in the predictions of one of them alone"):
        compare_evaluations(first, second, resamples=50, seed=0)


def test_sex_organ_task_and_age_are_parts_too(tmp_path: Path) -> None:
    first, second = (read_evaluated(written(tmp_path / name, right={1, 2})) for name in "ab")
    for one in (first, second):
        for place, row in enumerate(one.rows["b", "accuracy"].values()):
            row |= {"sex": ("female", "male")[place % 2], "organ": ("liver", "lung", "not stated")[place % 3]}
    names = {one.benchmark for one in compare_evaluations(first, second, resamples=50, seed=0)}
    assert {"b/sex=female", "b/sex=male", "b/organ=liver", "b/organ=lung"} <= names
    assert "b/organ=not stated" not in names
