"""The schedule's own server: not started when there is one, and a failure to start names its log."""

from __future__ import annotations

import contextvars
import fcntl
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from components.errors import PipelineError
from flows import server
from flows.server import API, scheduling_server, start_temporary_server


def test_a_server_that_is_configured_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(API, "http://127.0.0.1:1/api")
    with scheduling_server(tmp_path / "log") as address:
        assert address == "http://127.0.0.1:1/api"
    assert not (tmp_path / "log").exists()
    assert os.environ[API] == address


def test_a_server_that_does_not_start_names_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(API, raising=False)
    monkeypatch.setattr(server.sys, "executable", "/bin/false")
    with pytest.raises(PipelineError, match="did not start") as caught, scheduling_server(tmp_path / "log"):
        pass
    assert caught.value.where == str(tmp_path / "log")
    assert API not in os.environ


def test_temporary_servers_start_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.server.api.server import SubprocessASGIServer

    starting, most = [], []

    def start(_: object) -> None:
        starting.append(1)
        most.append(len(starting))
        time.sleep(0.05)
        starting.pop()

    monkeypatch.setattr(SubprocessASGIServer, "start", start)
    with temporary_settings({PREFECT_API_URL: None}), ThreadPoolExecutor(4) as comers:
        contexts = [contextvars.copy_context() for _ in range(4)]
        list(comers.map(lambda context: context.run(start_temporary_server, tmp_path), contexts))
    assert most == [1, 1, 1, 1]
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}):
        start_temporary_server(tmp_path)
    assert len(most) == 4, "a server that is configured is used"


def test_a_schedules_server_waits_for_one_that_is_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(API, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.setattr(server.sys, "executable", "/bin/false")
    ended: list[str] = []

    def serve() -> None:
        with pytest.raises(PipelineError), scheduling_server(tmp_path / "log"):
            pass
        ended.append("did not start")

    with (tmp_path / server.TURN).open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        comer = threading.Thread(target=serve)
        comer.start()
        time.sleep(0.3)
        assert not (tmp_path / "log").exists(), "it waits"
    comer.join(30)
    assert ended and (tmp_path / "log").exists()
