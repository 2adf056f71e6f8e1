"""`gmai evaluate --benchmark NAME --data DIR`, as typed, on every published layout and split that differs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from components.__main__ import app
from components.errors import BenchmarkError, BenchmarkMissing, CheckpointError
from components.evaluation.catalog import load_benchmarks
from components.model.vlm import save_vlm
from components.settings import settings_from
from tests.fakes import benchmarks as fakes

ROOT = Path(__file__).parents[3]
FORMS: list[tuple[str, str, Callable[[Path], Path]]] = [
    ("vqa_rad", "", fakes.vqa_rad_original),
    ("vqa_rad", "test_balanced", fakes.vqa_rad_original),
    ("vqa_rad", "", fakes.vqa_rad_parquet),
    ("slake", "test_en", fakes.slake),
    ("slake", "test_zh", fakes.slake),
    ("slake", "test_en_unseen", fakes.slake),
    ("pmc_vqa", "test_v1", fakes.pmc_vqa),
    ("pmc_vqa", "test_v2", fakes.pmc_vqa),
    ("omnimedvqa", "all", fakes.omnimedvqa),
    ("report_generation", "", fakes.report_sections),
]


@pytest.fixture
def project(vlm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with settings and a tiny model, where the command is typed."""
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["evaluation"] |= {"max_new_tokens": 2, "batch_size": 4, "bootstrap": 50}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(raw))
    monkeypatch.chdir(tmp_path)
    settings = settings_from(raw, where="test")
    save_vlm(vlm.model, vlm.processor, settings.work_root / "models" / settings.recipe.final_stage)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "split", "write"),
    [FORMS[0], *(pytest.param(*form, marks=pytest.mark.slow) for form in FORMS[1:])],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", ""),
)
def test_one_command_evaluates_the_published_files(
    project: Path, name: str, split: str, write: Callable[[Path], Path]
) -> None:
    write(project / "downloaded")
    command = ["evaluate", "--benchmark", name, "--data", "downloaded"]
    done = CliRunner().invoke(app, command + (["--split", split] if split else []), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    named = split or next(iter(load_benchmarks()[name].publication.splits))
    (output,) = (path for path in (project / "artifacts/benchmarks").glob(f"{name}-{named}-*") if path.is_dir())
    metrics = json.loads((output / "scores.json").read_text())
    whole = [row for row in metrics["scores"] if row["benchmark"] == name]
    assert whole[0]["metric"] == load_benchmarks()[name].metrics[0]
    assert whole[0]["n"] == metrics["details"]["published"]["asked"] > 0
    assert f"written: artifacts/benchmarks/{output.name}" in done.output.replace("\n", "")


def test_a_missing_folder_is_named_with_the_way_to_obtain_it(project: Path) -> None:
    with pytest.raises(BenchmarkMissing, match=r"osf\.io/89kps"):
        CliRunner().invoke(app, ["evaluate", "--benchmark", "vqa_rad"], catch_exceptions=False)


@pytest.mark.parametrize(
    "option", [["--data", "x"], ["--limit", "3"], ["--model", "x"], ["--answering", "choice"]]
)
def test_options_of_a_benchmark_without_one_are_refused(project: Path, option: list[str]) -> None:
    with pytest.raises(BenchmarkError, match=f"{option[0]} without --benchmark"):
        CliRunner().invoke(app, ["evaluate", *option], catch_exceptions=False)


def test_a_negative_limit_is_refused(project: Path) -> None:
    done = CliRunner().invoke(app, ["evaluate", "--benchmark", "vqa_rad", "--limit", "-3"])
    assert done.exit_code == 2 and "greater than or equal to 0" in done.output.replace("\n", " ")


def test_a_model_that_is_not_there_is_one_message(project: Path) -> None:
    fakes.vqa_rad_original(project / "downloaded")
    command = ["evaluate", "--benchmark", "vqa_rad", "--data", "downloaded", "--model", "nope"]
    with pytest.raises(CheckpointError, match="no trained model here"):
        CliRunner().invoke(app, command, catch_exceptions=False)
