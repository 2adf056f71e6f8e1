"""Slow: the README's commands, run for real in a clone, with the preset that takes seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.summary import NOTHING_TO_DO

ROOT = Path(__file__).parents[1]
DATA_PACKAGES = ROOT / "var" / "data-packages"
VENV = Path(sys.prefix)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA_PACKAGES.is_dir(), reason="needs `make data-packages`"),
    pytest.mark.skipif(VENV != ROOT / ".venv", reason="needs the environment that `make venv` made"),
]


def call(clone: Path, *command: str) -> str:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))
    }
    done = subprocess.run(
        command, cwd=clone, env=environment, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-6000:]}"
    return done.stdout


def gmai(clone: Path, *arguments: str) -> str:
    """The console script would find the installed tree first; the module is looked up in the clone."""
    return call(clone, sys.executable, "-m", "components", *arguments)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh clone that is lent the environment and the data packages, run once.

    The environment must be current: `make venv` in the clone would install the clone into it.
    """
    current = subprocess.run(["make", "--question", "venv", "data-packages"], cwd=ROOT, check=False)
    assert current.returncode == 0, "the environment is older than its lock: make venv data-packages"
    folder = tmp_path_factory.mktemp("readme") / "project"
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(folder)], check=True)
    (folder / ".venv").symlink_to(VENV)
    (folder / "var").mkdir()
    (folder / "var" / "data-packages").symlink_to(DATA_PACKAGES)
    text = call(folder, "make", "--no-print-directory", "run", "PRESET=tiny")
    assert "image minus blind" in text
    return folder


def test_a_second_make_run_computes_nothing_and_says_so(clone: Path) -> None:
    assert NOTHING_TO_DO in call(clone, "make", "--no-print-directory", "run")


def test_dvc_repro_agrees(clone: Path) -> None:
    assert "up to date" in call(clone, sys.executable, "-m", "dvc", "repro")


def test_a_record_is_followed_to_the_model(clone: Path) -> None:
    import pyarrow.parquet as pq

    shard = sorted((clone / "artifacts" / "records").rglob("part-*.parquet"))[0]
    record_id = pq.read_table(shard, columns=["record_id"])["record_id"][0].as_py()
    assert record_id in gmai(clone, "trace", record_id)


def test_the_newest_model_answers(clone: Path) -> None:
    image = sorted((clone / "data").rglob("*.png"))[0]
    text = gmai(clone, "predict", "--image", str(image), "--question", "What is shown?", "--model", "challenger")
    assert isinstance(text, str)


def test_the_sources_are_listed(clone: Path) -> None:
    assert "stardist_nuclei" in gmai(clone, "sources")


def test_the_pipeline_leaves_the_committed_files_as_they_were(clone: Path) -> None:
    changed = call(clone, "git", "status", "--porcelain", "--untracked-files=no").split()
    allowed = {"params.yaml", "dvc.lock", "metrics/evaluation.json", "data.dvc"}
    assert {name for name in changed if name != "M"} <= allowed
