"""Slow: `dvc repro` alone, `make run`'s walk and the Prefect flow leave the same dvc.lock on the same commit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows.summary import NOTHING_TO_DO

ROOT = Path(__file__).parents[1]
DATA_PACKAGES = ROOT / "var" / "data-packages"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA_PACKAGES.is_dir(), reason="needs `make data-packages`"),
]


def call(clone: Path, *arguments: str) -> str:
    """Run this interpreter in a clone; the tail of its output is in the failure message."""
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": binaries, "PREFECT_HOME": str(clone / ".prefect")}
    environment.pop("PREFECT_API_URL", None)
    environment.pop("MLFLOW_TRACKING_URI", None)
    done = subprocess.run(
        [sys.executable, *arguments], cwd=clone, env=environment, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout[-4000:]}"
    return done.stdout


def make_clone(folder: Path) -> Path:
    """Clone the committed tree, lend it the data packages, compose the tiny preset, build its raw data."""
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(folder)], check=True)
    (folder / "var").mkdir()
    (folder / "var" / "data-packages").symlink_to(DATA_PACKAGES)
    call(folder, "-m", "components", "configure", "preset=tiny")
    call(folder, "-m", "components", "sample-data")
    return folder


def locked_stages(clone: Path) -> dict:
    return yaml.safe_load((clone / "dvc.lock").read_text())["stages"]


def test_three_ways_one_lock(tmp_path: Path) -> None:
    by_dvc, by_flow = make_clone(tmp_path / "dvc"), make_clone(tmp_path / "flow")
    call(by_dvc, "-m", "dvc", "repro")
    call(by_flow, "-m", "flows", "retrain")
    assert locked_stages(by_dvc) == locked_stages(by_flow)
    assert NOTHING_TO_DO in call(by_dvc, "-m", "flows.run")
    assert "Data and pipelines are up to date." in call(by_flow, "-m", "dvc", "repro")
    before = (by_dvc / "dvc.lock").read_bytes()
    call(by_dvc, "-m", "dvc", "repro")
    assert (by_dvc / "dvc.lock").read_bytes() == before


def test_changing_one_card_reads_one_source(tmp_path: Path) -> None:
    clone = make_clone(tmp_path / "clone")
    call(clone, "-m", "flows.run", "ingest")
    records = clone / "artifacts" / "records"
    before = {folder.name: mtimes(folder) for folder in records.iterdir() if folder.is_dir()}
    assert len(before) > 1
    changed = sorted(before)[0]
    card = clone / "conf" / "sources" / f"{changed}.yaml"
    content = yaml.safe_load(card.read_text())
    card.write_text(yaml.safe_dump({**content, "title": f"{content['title']} (changed)"}, allow_unicode=True))
    call(clone, "-m", "flows.run", "ingest")
    after = {folder.name: mtimes(folder) for folder in records.iterdir() if folder.is_dir()}
    assert {name for name in before if after[name] != before[name]} == {changed}


def mtimes(folder: Path) -> list[int]:
    return sorted(path.stat().st_mtime_ns for path in folder.rglob("part-*.parquet"))
