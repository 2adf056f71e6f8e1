"""The stage from records to metrics, with a tiny random model: contract, determinism, report, errors."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from components.errors import BenchmarkError, CheckpointError
from components.evaluation.charts import draw_scores
from components.evaluation.corpus_numbers import read_corpus_numbers
from components.evaluation.run import METRICS, load_rows, plan, run_evaluate
from components.evaluation.summary import blind_benchmark, flat_metrics
from components.model.vlm import save_vlm
from components.settings import Recipe, Settings, settings_from
from components.tracking.tables import read_table
from tests.fakes.past import FakePast
from tests.fakes.tables import FakeRun, make_corpus, pairs_of, write_corpus

ROOT = Path(__file__).parents[3]


@pytest.fixture
def fake_run(monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    run = FakeRun()

    @contextmanager
    def open_run(*_, **__):
        yield run

    monkeypatch.setattr("components.tracking.stage.open_run", open_run)
    monkeypatch.setattr("components.evaluation.standing.open_past", lambda settings: FakePast())
    return run


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["evaluation"] = {
        "split": "test", "max_closed": 10, "max_boxes": 4, "max_captions": 3, "max_new_tokens": 4, "batch_size": 4,
        "bootstrap": 100,
    }  # fmt: skip
    raw["work_root"] = "artifacts"
    monkeypatch.chdir(tmp_path)
    return settings_from(raw, where="test")


@pytest.fixture
def world(settings: Settings, vlm) -> Settings:
    """Records, curated pairs and a final model on disk."""
    write_corpus(settings.work_root, *make_corpus())
    save_vlm(vlm.model, vlm.processor, settings.work_root / "models" / settings.recipe.final_stage)
    return settings


def test_the_stage_keeps_its_contract(world: Settings, fake_run: FakeRun, capsys: pytest.CaptureFixture) -> None:
    run_evaluate(world)
    metrics = json.loads(METRICS.read_text())
    gap = metrics["image_minus_blind"]
    assert gap["n"] == 10 and gap["low"] <= gap["value"] <= gap["high"] and gap["few_patients"]
    whole = {row["benchmark"]: row for row in reversed(metrics["scores"]) if "/" not in row["benchmark"]}
    assert {name: row["n"] for name, row in whole.items()} == {"boxes": 4, "captions": 3, "closed_questions": 10}
    for row in metrics["scores"]:
        assert row["low"] <= row["value"] <= row["high"] and len(row["fingerprint"]) == 64
        has_confidence = row["metric"] != "expected_calibration_error"  # the majority answers without one
        assert 0 <= row["baseline"] <= 1 if has_confidence else row["baseline"] is None
    assert whole["closed_questions"]["metric"] == "accuracy"  # a benchmark's headline is its first row
    kept = read_corpus_numbers(Path("artifacts/evaluation"))
    (calibration,) = (
        row["value"]
        for row in metrics["scores"]
        if (row["benchmark"], row["metric"]) == ("closed_questions", "expected_calibration_error")
    )
    assert kept["closed_questions expected_calibration_error"].replicates.value == pytest.approx(
        calibration, abs=1e-6
    )
    assert {"closed_questions/modality=CT", "closed_questions/question_type=presence"} <= {
        row["benchmark"] for row in metrics["scores"]
    }
    assert "image minus blind" in capsys.readouterr().out
    assert fake_run.metrics["closed_questions/accuracy"] == whole["closed_questions"]["value"]
    assert fake_run.artifacts[:4] == ["report.html", "model_card.md", "data_card.md", "permitted_use.json"]
    assert "pictures/" in fake_run.artifacts[4]
    written = Path("artifacts/evaluation")
    assert "scores.json: image_minus_blind.value" in (written / "model_card.md").read_text()
    assert "curated: counts.kept" in (written / "data_card.md").read_text()
    assert {path.name for path in (written / "plots").iterdir()} == {
        "scores.json", "calibration.json", "confusion.json"
    }  # fmt: skip


def test_the_standing_lies_beside_the_output_and_not_in_it(world: Settings, fake_run: FakeRun) -> None:
    run_evaluate(world)
    assert "there is no champion yet" in Path("artifacts/evaluation.report.html").read_text()
    assert "there is no champion yet" not in Path("artifacts/evaluation/report.html").read_text()
    assert {"evaluation/scores.json", "evaluation/predictions", "plots"} <= set(fake_run.artifacts)
    assert fake_run.artifacts[-1] == "evaluation.report.html" and "gmai.protocol.boxes" in fake_run.tags


def test_one_patient_is_scored_without_a_blind_row(
    settings: Settings, vlm, fake_run: FakeRun, capsys: pytest.CaptureFixture
) -> None:
    records, pairs = make_corpus()
    alone = [replace(row, patient_key="test-one") if row.split == "test" else row for row in records]
    write_corpus(settings.work_root, alone, [pair for record in alone for pair in pairs_of(record)])
    save_vlm(vlm.model, vlm.processor, settings.work_root / "models" / settings.recipe.final_stage)
    run_evaluate(settings)
    metrics = json.loads(METRICS.read_text())
    assert metrics["image_minus_blind"] is None
    assert metrics["details"]["no_blind"]["closed_questions"] == "no blind row: one patient"
    assert {(row["blind"], row["note"]) for row in metrics["scores"]} == {(None, "no blind row: one patient")}
    assert "not known; boxes: no blind row: one patient" in capsys.readouterr().out.replace("\n", "")
    assert "no blind row: one patient" in Path("artifacts/evaluation/report.html").read_text()
    assert not any(name.startswith("image_minus_blind") for name in fake_run.metrics)


def test_image_minus_blind_is_read_from_a_benchmark_that_has_a_blind_row() -> None:
    assert blind_benchmark({"closed_questions": "", "boxes": ""}) == "closed_questions"
    assert blind_benchmark({"closed_questions": "one patient", "boxes": ""}) == "boxes"
    assert blind_benchmark({"closed_questions": "one patient"}) == ""


def test_probes_are_asked_when_they_are_wanted(settings: Settings, vlm, fake_run: FakeRun) -> None:
    records, pairs = make_corpus()
    pairs = [replace(pair, labels=("lung",)) if pair.question_type == "presence" else pair for pair in pairs]
    write_corpus(settings.work_root, records, pairs)
    save_vlm(vlm.model, vlm.processor, settings.work_root / "models" / settings.recipe.final_stage)
    run_evaluate(settings)
    before = json.loads(METRICS.read_text())["scores"]
    asked = settings.model_copy(update={"evaluation": settings.evaluation.model_copy(update={"max_probes": 30})})
    run_evaluate(asked)
    metrics = json.loads(METRICS.read_text())
    probes = {row["metric"]: row["n"] for row in metrics["scores"] if row["benchmark"] == "hallucination"}
    assert (probes["accuracy"], probes["present_object_accuracy"], probes["abstention"]) == (24, 6, 12)
    assert [row for row in metrics["scores"] if not row["benchmark"].startswith("hallucination")] == before
    assert "Hallucination and abstention probes" in Path("artifacts/evaluation/report.html").read_text()


def test_predictions_of_every_system_are_kept(world: Settings, fake_run: FakeRun) -> None:
    run_evaluate(world)
    rows = read_table(Path("artifacts/evaluation/predictions")).to_pylist()
    closed = [row for row in rows if row["benchmark"] == "closed_questions"]
    assert {row["system"] for row in closed} == {"model", "blind", "text_only", "majority", "random"}
    assert {row["system"] for row in rows if row["benchmark"] == "boxes"} == {
        "model",
        "blind",
        "text_only",
        "majority",
    }
    assert all(row["patient_key"].startswith("test-") and row["prompt"] and row["gold"] for row in rows)
    majority = [row for row in closed if row["system"] == "majority" and row["question_type"] == "presence"]
    assert majority and all(row["score"] == 1.0 for row in majority)


def test_twice_gives_the_same_bytes(world: Settings, fake_run: FakeRun) -> None:
    def everything() -> dict[str, bytes]:
        run_evaluate(world)
        files = [path for path in Path("artifacts/evaluation").rglob("*") if path.is_file()]
        return {str(path): path.read_bytes() for path in [*files, METRICS]}

    assert everything() == everything()


def test_the_report_opens_offline_and_shows_items(world: Settings, fake_run: FakeRun) -> None:
    run_evaluate(world)
    page = Path("artifacts/evaluation/report.html").read_text()
    assert "http://" not in page and "https://" not in page and "<script" not in page
    assert page.count("data:image/png;base64,") > 10
    words = (
        "Best|Worst|blind|Where is the lung?|Image minus blind|Calibration|Where the model looks|attention rollout"
    )
    for said in (*words.split("|"), "Does the heat lie on the box?", "Protocols"):
        assert said in page


def test_a_missing_model_is_named(settings: Settings, fake_run: FakeRun) -> None:
    write_corpus(settings.work_root, *make_corpus())
    (settings.work_root / "models" / settings.recipe.final_stage).mkdir(parents=True)
    with pytest.raises(CheckpointError, match="no safetensors checkpoint"):
        run_evaluate(settings)
    assert not METRICS.exists() and not Path("artifacts/evaluation").exists()


def test_an_empty_split_and_a_missing_image_are_errors(settings: Settings) -> None:
    records, pairs = make_corpus()
    root = write_corpus(settings.work_root, records[:-1], pairs)
    with pytest.raises(BenchmarkError, match="split 'validation'"):
        plan(root / "curated", settings.evaluation.model_copy(update={"split": "validation"}), seed=1)
    exams = plan(root / "curated", settings.evaluation.model_copy(update={"max_closed": 50}), seed=1)
    with pytest.raises(BenchmarkError, match="1 records are absent"):
        load_rows(root / "records", exams)


def test_metrics_are_named_for_the_tracking_store() -> None:
    row = {"benchmark": "boxes", "metric": "mean_iou", "value": 0.2, "low": 0.1, "high": 0.3, "baseline": 0.05}
    part = {**row, "benchmark": "boxes/modality=CT"}
    gap = {"value": 0.1, "low": 0.0, "high": 0.2}
    flat = flat_metrics({"image_minus_blind": gap, "scores": [row, part]})
    assert flat["boxes/mean_iou/majority"] == 0.05 and flat["image_minus_blind/low"] == 0.0
    assert "boxes/modality=CT/mean_iou" in flat and "boxes/modality=CT/mean_iou/low" not in flat


def test_the_chart_is_deterministic() -> None:
    rows = [
        {"benchmark": "b", "metric": "m", "value": 0.5, "low": 0.4, "high": 0.7, "baseline": 0.3, "blind": 0.2}
    ]
    assert draw_scores(rows) == draw_scores(rows)
    assert draw_scores(rows)[:4] == b"\x89PNG"


def test_stages_lie_in_training_order_however_they_are_written(settings: Settings) -> None:
    stages, mixtures = settings.recipe.stages, settings.recipe.mixtures
    for order in (dict(sorted(stages.items())), dict(reversed(stages.items()))):
        recipe = Recipe(name="r", mixtures=mixtures, stages=order)
        assert list(recipe.stages) == list(stages)
        for before, after in pairwise(recipe.stages):
            assert recipe.stages[after].starts_from.endswith(f"/{before}")
        assert recipe.final_stage == list(stages)[-1]


def test_two_stages_that_start_alike_are_refused(settings: Settings) -> None:
    _, second, *_ = settings.recipe.stages
    forked = {**settings.recipe.stages, "fork": settings.recipe.stages[second]}
    with pytest.raises(ValidationError, match="not one chain"):
        Recipe(name="r", mixtures=settings.recipe.mixtures, stages=forked)
