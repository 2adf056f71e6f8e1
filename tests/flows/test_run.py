"""`make run`: it composes, builds the raw data, walks the graph, and is quick when nothing is to be done."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.errors import PipelineError
from flows import run as run_module
from flows.environment import QUIET_AND_OFFLINE, prepare_environment
from flows.run import call_command, keep_in_cache, make_ready, run
from flows.summary import NOTHING_TO_DO

ROOT = Path(__file__).parents[2]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    seen: list[tuple[str, ...]] = []
    monkeypatch.setattr(run_module, "call_command", lambda root, *arguments: seen.append(arguments))
    return seen


def write_params(root: Path, preset: str = "default") -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    (root / "params.yaml").write_text(yaml.safe_dump({**params, "preset": preset}))


def test_data_is_built_only_when_it_is_not_there(tmp_path: Path, calls: list[tuple[str, ...]]) -> None:
    write_params(tmp_path)
    make_ready(tmp_path, "")
    assert calls == [("sample-data",)]
    (tmp_path / "data").mkdir()
    make_ready(tmp_path, "")
    assert len(calls) == 1


def test_rebuilt_data_go_to_the_cache_only_when_the_pointer_names_them(tmp_path: Path) -> None:
    from dvc.repo import Repo

    repo = Repo.init(str(tmp_path), no_scm=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "scan.png").write_bytes(b"pixels")
    repo.add(str(tmp_path / "data"))
    shutil.rmtree(tmp_path / ".dvc" / "cache")
    assert keep_in_cache(tmp_path, Path("data.dvc"))
    assert repo.status() == {} and any((tmp_path / ".dvc" / "cache").rglob("*.dir"))
    pinned = (tmp_path / "data.dvc").read_bytes()
    (tmp_path / "data" / "scan.png").write_bytes(b"others")
    assert not keep_in_cache(tmp_path, Path("data.dvc"))
    assert (tmp_path / "data.dvc").read_bytes() == pinned
    assert not keep_in_cache(tmp_path, Path("absent.dvc"))


def test_a_preset_is_composed_only_when_it_is_another(tmp_path: Path, calls: list[tuple[str, ...]]) -> None:
    write_params(tmp_path, "tiny")
    (tmp_path / "data").mkdir()
    make_ready(tmp_path, "tiny")
    assert calls == []
    make_ready(tmp_path, "default")
    assert calls == [("configure", "preset=none")]


def test_a_command_that_fails_is_a_pipeline_error(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="no-such-command failed"):
        call_command(tmp_path, "no-such-command")


def test_second_run_says_that_there_is_nothing_to_compute(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_params(toy)
    (toy / "data").mkdir()
    run(toy)
    assert "first" in capsys.readouterr().out
    run(toy)
    assert NOTHING_TO_DO in capsys.readouterr().out


def test_a_project_error_ends_the_command_line_with_its_message(tmp_path: Path) -> None:
    write_params(tmp_path)
    (tmp_path / "data").mkdir()
    command = [sys.executable, "-m", "flows.run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no DVC project here" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_environment_keeps_what_the_caller_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"DO_NOT_TRACK": "true", "PATH": "/usr/bin"})
    prepare_environment(tmp_path)
    prepare_environment(tmp_path)
    assert os.environ["DO_NOT_TRACK"] == "true"
    assert {**QUIET_AND_OFFLINE, "DO_NOT_TRACK": "true"}.items() <= os.environ.items()
    assert os.environ["PREFECT_HOME"] == str(tmp_path / ".prefect")
    assert os.environ["PATH"] == f"{Path(sys.executable).parent}:/usr/bin"
