"""The runner: what its exit code says of the stage."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.errors import TRY_AGAIN
from flows.runner import DONE, FAILED, _was_signalled, reproduce
from tests.flows.conftest import write_toy


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("failed to run: x, exited with -9", True),
        ("failed to run: x, exited with 137", True),
        ("failed to run: x, exited with 1", False),
        ("failed to run: x, exited with 75", True),
        ("failed to run: exited with care", False),
        ("something else", False),
    ],
)
def test_a_signal_is_told_from_a_refusal(message: str, expected: bool) -> None:
    assert _was_signalled(RuntimeError(message)) is expected


@pytest.mark.parametrize(
    ("command", "code"),
    [("cp b.txt c.txt", DONE), ("exit 3", FAILED), ("kill -9 $$", TRY_AGAIN), ("exit 75", TRY_AGAIN)],
)
def test_the_exit_code_follows_the_command(
    toy: Path, monkeypatch: pytest.MonkeyPatch, command: str, code: int
) -> None:
    write_toy(toy, second=command)
    monkeypatch.chdir(toy)
    assert reproduce("first") == DONE
    assert reproduce("second") == code


def test_a_lock_that_stays_busy_means_try_again(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dvc.lock import LockError

    def busy(*_: object, **__: object) -> None:
        raise LockError("busy")

    monkeypatch.chdir(toy)
    monkeypatch.setattr("dvc.repo.Repo.reproduce", busy)
    monkeypatch.setattr("flows.runner.LOCK_TRIES", 2)
    monkeypatch.setattr("flows.runner.LOCK_WAIT_SECONDS", 0.0)
    assert reproduce("first") == TRY_AGAIN
