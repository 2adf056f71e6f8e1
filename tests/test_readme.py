"""The README tells the truth: its commands exist, and its tables are those of the newest run."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
from pathlib import Path

import pytest
import typer

from components.__main__ import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
LINES = [line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines() if line.strip()]
INLINE = re.findall(r"`((?:make|gmai|dvc) [^`]+)`", README)
COMMANDS = sorted({*LINES, *INLINE})
FIRST_SCREEN_LINES = 30


def load_generator():
    spec = importlib.util.spec_from_file_location("make_readme", ROOT / "docs" / "make_readme.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("make ")])
def test_every_make_target_exists(command: str) -> None:
    named = [word for word in command.split()[1:] if "=" not in word and re.fullmatch(r"[a-z][a-z-]*", word)]
    assert named
    assert set(named) <= targets()


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("gmai ")])
def test_every_gmai_command_exists(command: str) -> None:
    known = set(typer.main.get_command(app).commands)  # ty: ignore[unresolved-attribute]
    word = command.split()[1]
    assert word == "--help" or word in known


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:conf|components|docs)/[a-z_./]+[a-z])`", README))))
def test_every_path_exists(path: str) -> None:
    assert (ROOT / path).exists()


def test_the_two_commands_are_on_the_first_screen() -> None:
    screen = README.splitlines()[:FIRST_SCREEN_LINES]
    assert any(line.startswith("make run ") for line in screen)
    assert any(line.startswith("make test ") for line in screen)


def test_make_help_lists_every_target() -> None:
    # Below another make (`make test` is one), this make would announce the folder it enters.
    command = ["make", "--no-print-directory", "help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert {line.split()[1] for line in done.stdout.splitlines()} == targets()


def test_the_generated_tables_are_current() -> None:
    assert load_generator().rendered(README, ROOT) == README, "run `python docs/make_readme.py`"


def test_the_generator_formats_scores_and_leaves_out_breakdowns(tmp_path: Path) -> None:
    score = {
        "benchmark": "boxes",
        "metric": "mean_iou",
        "value": 0.5,
        "low": 0.4,
        "high": 0.6,
        "n": 7,
        "baseline": 0.1,
    }
    metrics = {
        "image_minus_blind": {"value": 0.25, "low": 0.1, "high": 0.4, "n": 40},
        "scores": [
            score,
            {**score, "metric": "expected_calibration_error", "baseline": None},
            {**score, "benchmark": "boxes/modality=CT"},
        ],
    }
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "evaluation.json").write_text(json.dumps(metrics))
    table = load_generator().results_table(tmp_path)
    assert "| **closed questions: image minus blind** | **+0.250** | 0.100 to 0.400 | 0 | 40 |" in table
    assert "| boxes: mean iou | 0.500 | 0.400 to 0.600 | 0.100 | 7 |" in table
    assert "| boxes: expected calibration error | 0.500 | 0.400 to 0.600 | none | 7 |" in table
    assert "CT" not in table


def test_the_generator_writes_measurements_with_limit_and_command(tmp_path: Path) -> None:
    figure = {"name": "help", "value": 0.21, "unit": "s", "limit": 0.3, "command": "gmai --help"}
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "speed.json").write_text(json.dumps({"figures": [figure]}))
    assert "| help | 0.21 s | at most 0.3 | `gmai --help` |" in load_generator().figures_table(tmp_path)


def test_a_missing_marker_is_an_error() -> None:
    with pytest.raises(ValueError, match="results:begin"):
        load_generator().rendered("no markers", ROOT)
