"""The walk over DVC's graph, on a toy project: order, what runs, what it leaves, how it fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.errors import PipelineError
from flows.graph import StageFailed, is_current, open_repo, run_stage, run_stages, stage_order
from tests.flows.conftest import write_toy


def test_the_order_is_the_graphs_and_not_the_files(toy: Path) -> None:
    repo = open_repo(toy)
    assert stage_order(repo) == ["first", "second", "third"]
    assert stage_order(repo, ["second"]) == ["first", "second"]


def test_an_unknown_target_is_a_pipeline_error(toy: Path) -> None:
    with pytest.raises(PipelineError, match="graph cannot be read"):
        stage_order(open_repo(toy), ["fourth"])


def test_a_folder_without_a_project_is_a_pipeline_error(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="no DVC project"):
        open_repo(tmp_path)


def test_first_run_runs_all_second_runs_nothing_and_a_change_runs_what_depends_on_it(toy: Path) -> None:
    assert [outcome.ran for outcome in run_stages(toy)] == [True, True, True]
    assert (toy / "d.txt").read_text() == "one\none\n"
    again = run_stages(toy)
    assert [(outcome.address, outcome.ran, outcome.seconds) for outcome in again] == [
        ("first", False, 0.0), ("second", False, 0.0), ("third", False, 0.0),
    ]  # fmt: skip
    write_toy(toy, second="sed s/one/two/ b.txt > c.txt")
    assert [outcome.address for outcome in run_stages(toy) if outcome.ran] == ["second", "third"]
    assert (toy / "d.txt").read_text() == "one\ntwo\n"


def test_the_lock_file_is_the_one_that_dvc_repro_writes(tmp_path: Path) -> None:
    ours, theirs = write_toy(tmp_path / "ours"), write_toy(tmp_path / "theirs")
    run_stages(ours)
    subprocess.run([sys.executable, "-m", "dvc", "repro", "--quiet"], cwd=theirs, check=True)
    assert (ours / "dvc.lock").read_bytes() == (theirs / "dvc.lock").read_bytes()


def test_one_stage_alone_leaves_the_others(toy: Path) -> None:
    assert run_stage(toy, "first").ran
    repo = open_repo(toy)
    assert is_current(repo, "first")
    assert not is_current(repo, "second")
    assert not (toy / "c.txt").exists()


def test_a_failing_stage_stops_the_walk_and_names_the_command(toy: Path) -> None:
    write_toy(toy, second="exit 3")
    with pytest.raises(StageFailed, match="stage second failed") as caught:
        run_stages(toy)
    assert caught.value.fix == "dvc repro --single-item second"
    assert not caught.value.is_transient
    assert (toy / "b.txt").exists()
    assert not (toy / "d.txt").exists()
    write_toy(toy)
    assert [outcome.address for outcome in run_stages(toy) if outcome.ran] == ["second", "third"]


def test_a_stage_ended_by_a_signal_may_be_tried_again(toy: Path) -> None:
    write_toy(toy, second="kill -9 $$")
    run_stage(toy, "first")
    with pytest.raises(StageFailed, match="interrupted") as caught:
        run_stage(toy, "second")
    assert caught.value.is_transient


def test_a_stage_over_its_time_is_ended_with_its_children(toy: Path) -> None:
    write_toy(toy, second="sleep 61.5 & sleep 61.5")
    run_stage(toy, "first")
    with pytest.raises(StageFailed, match="took longer") as caught:
        run_stage(toy, "second", timeout_seconds=3)
    assert not caught.value.is_transient
    assert processes_called("sleep 61.5") == 0


def test_a_killed_flow_leaves_no_stage_behind(toy: Path) -> None:
    write_toy(toy, second="sleep 62.5 & sleep 62.5")
    run_stage(toy, "first")
    code = "import pathlib; from flows.graph import run_stages; run_stages(pathlib.Path('.'))"
    flow = subprocess.Popen([sys.executable, "-c", code], cwd=toy)
    wait_until(lambda: processes_called("sleep 62.5") > 0)
    os.kill(flow.pid, signal.SIGKILL)
    flow.wait()
    wait_until(lambda: processes_called("sleep 62.5") == 0)
    write_toy(toy)
    assert [outcome.address for outcome in run_stages(toy) if outcome.ran] == ["second", "third"]


def processes_called(command: str) -> int:
    """Count living processes with exactly this command line."""
    found = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found += (folder / "cmdline").read_bytes().replace(b"\0", b" ").strip() == command.encode()
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def wait_until(is_true, seconds: float = 25.0) -> None:
    until = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < until, "never came true"
        time.sleep(0.05)
