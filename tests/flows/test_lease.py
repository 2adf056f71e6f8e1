"""The lease: in order of coming, one holder at a time, free again when the holder dies in any way."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from components.errors import PipelineError
from flows.lease import describe, hold_lease, living_tickets

FORK = multiprocessing.get_context("fork")
PROCESSES, ROUNDS = 4, 5


def quietly(_message: str) -> None:
    """Say nothing."""


def take_turns(folder: Path, log: Path) -> None:
    for _ in range(ROUNDS):
        with hold_lease(folder, tell=quietly):
            with log.open("a") as handle:
                handle.write(f"in {os.getpid()}\n")
            time.sleep(0.01)
            with log.open("a") as handle:
                handle.write(f"out {os.getpid()}\n")


def hold_for_ever(folder: Path, ready: Path) -> None:
    with hold_lease(folder, tell=quietly):
        ready.touch()
        time.sleep(60)


def wait_for(path: Path) -> None:
    until = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < until, f"{path} never came"
        time.sleep(0.01)


def test_four_processes_never_hold_it_together(tmp_path: Path) -> None:
    log = tmp_path / "log"
    workers = [FORK.Process(target=take_turns, args=(tmp_path / "lease", log)) for _ in range(PROCESSES)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    lines = log.read_text().splitlines()
    assert len(lines) == 2 * PROCESSES * ROUNDS
    for entered, left in zip(lines[::2], lines[1::2], strict=True):
        assert entered.split() == ["in", left.split()[1]]
        assert left.startswith("out")
    assert living_tickets(tmp_path / "lease") == []


def test_the_next_gets_it_when_the_holder_is_killed(tmp_path: Path) -> None:
    folder, ready = tmp_path / "lease", tmp_path / "ready"
    holder = FORK.Process(target=hold_for_ever, args=(folder, ready))
    holder.start()
    wait_for(ready)
    assert f"process {holder.pid} " in describe(living_tickets(folder)[0])
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    assert list(folder.glob("ticket-*.json")), "the dead holder cannot have cleaned up"
    started = time.monotonic()
    with hold_lease(folder, wait_seconds=5, tell=quietly):
        assert time.monotonic() - started < 5
        assert len(living_tickets(folder)) == 1


def test_a_wait_that_is_too_long_names_the_holder(tmp_path: Path) -> None:
    folder, ready = tmp_path / "lease", tmp_path / "ready"
    holder = FORK.Process(target=hold_for_ever, args=(folder, ready))
    holder.start()
    wait_for(ready)
    told: list[str] = []
    with pytest.raises(PipelineError) as caught, hold_lease(folder, wait_seconds=0.3, tell=told.append):
        pass
    holder.kill()
    holder.join()
    assert f"process {holder.pid} " in caught.value.where
    assert told == [f"waiting for {caught.value.where}"]


def test_it_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="inside"), hold_lease(tmp_path):
        raise ValueError("inside")
    with hold_lease(tmp_path, wait_seconds=0):
        assert len(living_tickets(tmp_path)) == 1


def test_a_vanished_ticket_is_described_without_an_error(tmp_path: Path) -> None:
    assert "just ended" in describe(tmp_path / "ticket-1.json")
