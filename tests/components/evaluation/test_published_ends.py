"""Two ways of answering that no other test runs whole: likelihood of a text, and hidden gold answers."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import yaml

from components.evaluation.published_run import Wanted, run_published
from components.model.vlm import save_vlm
from components.settings import Settings, settings_from
from tests.fakes.benchmarks import LAYOUTS

ROOT = Path(__file__).parents[3]


@pytest.fixture
def settings(vlm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["evaluation"] |= {"max_new_tokens": 2, "batch_size": 4, "bootstrap": 100}
    raw["work_root"] = "artifacts"
    monkeypatch.chdir(tmp_path)
    made = settings_from(raw, where="test")
    save_vlm(vlm.model, vlm.processor, made.work_root / "models" / made.recipe.final_stage)
    return made


def test_perplexity_is_measured(settings: Settings, tmp_path: Path) -> None:
    output = run_published(settings, Wanted("text_perplexity", LAYOUTS["text_perplexity"](tmp_path / "data")))
    scores = json.loads((output / "scores.json").read_text())["scores"]
    value = next(row["value"] for row in scores if row["metric"] == "perplexity")
    assert math.isfinite(value) and value > 1


def test_hidden_answers_end_in_a_workbook(settings: Settings, tmp_path: Path) -> None:
    data = LAYOUTS["gmai_mmbench"](tmp_path / "data")
    output = run_published(settings, Wanted("gmai_mmbench", data, split="test"))
    assert (output / "submission" / "GMAI-MMBench_TEST.xlsx").is_file()
    assert not [row for row in json.loads((output / "scores.json").read_text())["scores"] if row["n"]]
