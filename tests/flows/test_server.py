"""The schedule's own server: not started when there is one, and a failure to start names its log."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from components.errors import PipelineError
from flows import server
from flows.server import API, scheduling_server


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
