"""Slow: an evaluation is killed without warning, started again, and ends with the bytes of one left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from components.model.vlm import save_vlm
from components.settings import settings_from
from tests.fakes.benchmarks import LAYOUTS

ROOT = Path(__file__).parents[3]
BLOCK = 2
# The command as typed, its blocks small and slow, each block's size written down when it is answered.
COMMAND = f"""
import json, sys, time
from components.__main__ import app
from components.evaluation import answering

answering.GENERATED_AT_ONCE = {BLOCK}
honest = answering.answer_block

def slowly(vlm, asks, *rest, **named):
    time.sleep(0.3)
    found = honest(vlm, asks, *rest, **named)
    with open("asked.jsonl", "a") as handle:
        handle.write(json.dumps(len(asks)) + "\\n")
    return found

answering.answer_block = slowly
app(["evaluate", "--benchmark", "vqa_rad", "--data", "published"])
"""


def project(folder: Path, vlm) -> Path:
    """Write settings, a tiny model and the benchmark's files."""
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["evaluation"] |= {"max_new_tokens": 4, "generation_batch": BLOCK, "bootstrap": 50}
    folder.mkdir()
    (folder / "params.yaml").write_text(yaml.safe_dump(raw))
    settings = settings_from(raw, where="test")
    save_vlm(vlm.model, vlm.processor, folder / settings.work_root / "models" / settings.recipe.final_stage)
    LAYOUTS["vqa_rad"](folder / "published")
    return folder


def start(folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    return subprocess.Popen([sys.executable, "-c", COMMAND], cwd=folder, env=environment)


def asked(folder: Path) -> int:
    path = folder / "asked.jsonl"
    return sum(map(json.loads, path.read_text().splitlines())) if path.is_file() else 0


def kept(folder: Path) -> int:
    lines = [line for path in (folder / "var/answers").glob("*.jsonl") for line in path.read_text().splitlines()]
    return sum(len(json.loads(line)) for line in lines)


def outputs(folder: Path) -> dict[str, bytes]:
    root = folder / "artifacts" / "benchmarks"
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.mark.slow
def test_no_answer_is_asked_twice_and_the_bytes_are_the_same(vlm, tmp_path: Path) -> None:
    whole = project(tmp_path / "whole", vlm)
    assert start(whole).wait(timeout=300) == 0
    killed = project(tmp_path / "killed", vlm)
    for blocks in (2, 4):
        running, until = start(killed), time.monotonic() + 200
        while kept_or_zero(killed) < blocks * BLOCK and time.monotonic() < until:
            time.sleep(0.02)
        running.send_signal(signal.SIGKILL)
        assert running.wait() == -signal.SIGKILL
    known, before = kept(killed), asked(killed)
    assert 4 * BLOCK <= known < asked(whole)
    assert not (killed / "artifacts" / "benchmarks").is_dir()
    assert start(killed).wait(timeout=300) == 0
    assert asked(killed) - before == asked(whole) - known
    assert outputs(killed) == outputs(whole) and outputs(whole)
    assert not list((killed / "var/answers").glob("*"))


def kept_or_zero(folder: Path) -> int:
    """Count what is kept while the last line may still be written."""
    try:
        return kept(folder)
    except ValueError:
        return 0
