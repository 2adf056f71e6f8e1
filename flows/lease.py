"""One pipeline at a time in one work tree: a first-come, first-served lease that dies with its holder.

Each comer draws a numbered ticket and holds the kernel's lock on it; the lowest living ticket has the lease.
The kernel frees the lock of a process that dies in any way, so a stale ticket is seen at the next look and
removed: no heartbeat, no timeout to guess. The ticket says who holds it (process, host, since when).
DVC's own lock stays underneath and still guards against a `dvc repro` typed by hand.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from components.errors import PipelineError

POLL_SECONDS = 0.2
PATTERN = "ticket-*.json"


@contextmanager
def hold_lease(
    folder: Path, *, wait_seconds: float = float("inf"), tell: Callable[[str], None] = print
) -> Generator[None]:
    """Wait for every earlier living comer, then hold the lease for the block.

    `tell` is called once with the holder's description if there is a wait.

    Raises:
        PipelineError: the lease was not free within `wait_seconds`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, handle = _draw_ticket(folder)
    try:
        _wait_for_turn(folder, path, time.monotonic() + wait_seconds, tell)
        yield
    finally:
        path.unlink(missing_ok=True)
        handle.close()


def living_tickets(folder: Path) -> list[Path]:
    """Tickets whose owner lives, the holder first; tickets of the dead are removed on the way."""
    with _counter(folder):
        return [path for path in sorted(folder.glob(PATTERN)) if _is_living(path)]


def describe(ticket: Path) -> str:
    """Say who holds a ticket: "process 123 on host since 2026-01-01 12:00:00"."""
    try:
        owner = json.loads(ticket.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return "a process that has just ended"
    return f"process {owner['pid']} on {owner['host']} since {owner['since']}"


@contextmanager
def _counter(folder: Path) -> Generator[None]:
    """Serialise drawing and looking, so that numbers are given in the order of coming."""
    with (folder / "counter.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _draw_ticket(folder: Path) -> tuple[Path, IO[str]]:
    with _counter(folder):
        last = max((int(path.stem.split("-")[1]) for path in folder.glob(PATTERN)), default=0)
        path = folder / f"ticket-{last + 1:08d}.json"
        handle = path.open("x")
        fcntl.flock(handle, fcntl.LOCK_EX)
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        handle.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}))
        handle.flush()
    return path, handle


def _is_living(ticket: Path) -> bool:
    with ticket.open() as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    ticket.unlink(missing_ok=True)
    return False


def _wait_for_turn(folder: Path, mine: Path, until: float, tell: Callable[[str], None]) -> None:
    told = False
    while (holder := living_tickets(folder)[0]) != mine:
        if time.monotonic() > until:
            raise PipelineError(
                "another pipeline is at work here", where=describe(holder), fix="wait for it, or end that process"
            )
        if not told:
            tell(f"waiting for {describe(holder)}")
            told = True
        time.sleep(POLL_SECONDS)
