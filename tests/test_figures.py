"""docs/figures.md is what the kept measurements make it, and a measurement that went wrong is not kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = 'import sys\nprint("on the way")\nprint(\'{"name": "toy", "ratio": 0.51234, "peer": {"b": [2, 3]}}\')\n'


def call(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "docs" / "measure.py"), "--root", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "toy.py").write_text(SCRIPT)
    return tmp_path


def test_a_figure_is_kept_with_its_command_and_every_value_is_on_the_page(root: Path) -> None:
    assert call(root, "benchmarks/toy.py", "--", "--size", "9").returncode == 0
    kept = json.loads((root / "figures" / "measured" / "toy.json").read_text())
    assert kept["command"] == ".venv/bin/python benchmarks/toy.py --size 9" and kept["result"]["ratio"] == 0.51234
    text = (root / "docs" / "figures.md").read_text()
    for row in ("## toy", "| ratio | 0.5123 |", "| peer.b.0 | 2 |", "| peer.b.1 | 3 |"):
        assert row in text
    assert "| name |" not in text


def test_the_page_is_checked_against_what_is_kept(root: Path) -> None:
    call(root, "benchmarks/toy.py")
    assert call(root, "--check").returncode == 0
    (root / "docs" / "figures.md").write_text("0.99 by hand\n")
    refused = call(root, "--check")
    assert refused.returncode == 1 and "docs/measure.py" in refused.stderr


def test_the_profile_of_training_has_its_own_page(root: Path) -> None:
    row = {"seconds": 2.5, "utilisation": 0.38, "share": {"matrix products": 0.61, "other": 0.39}}
    row["tried"] = {"torch.compile": {"seconds": 2.0, "times": 1.25}}
    found = {"name": "training_profile", "peer": "torch.mm", "ratio": 0.38, "target": 0.5, "precision": "bf16"}
    printed = json.dumps({**found, "stages": {"III": row}})
    (root / "benchmarks" / "training_profile.py").write_text(f"print({printed!r})")
    page = root / "docs" / "training_speed.md"
    call(root)
    assert "Not measured yet" in page.read_text() and call(root, "--check").returncode == 0
    assert call(root, "benchmarks/training_profile.py").returncode == 0
    text = page.read_text()
    for line in ("| matrix products | 61.0% |", "| torch.compile | 2 | 1.25 |", "38.0% of the rate of torch.mm"):
        assert line in text
    page.write_text("by hand")
    assert "training_speed.md" in call(root, "--check").stderr


@pytest.mark.parametrize("ending", ["sys.exit(3)", 'print("no json")'])
def test_a_run_that_went_wrong_is_not_kept(root: Path, ending: str) -> None:
    (root / "benchmarks" / "toy.py").write_text(SCRIPT + ending)
    done = call(root, "benchmarks/toy.py")
    assert done.returncode != 0 and "toy.py" in done.stderr
    assert not (root / "figures").exists()


def test_the_committed_page_is_current() -> None:
    assert call(ROOT, "--check").returncode == 0
