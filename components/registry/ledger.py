"""The promotion ledger: append-only JSON lines, each sealed with the hash of the one before it.

Aliases have no memory; this has. A line that was changed, removed or put in between breaks the chain at
its place, and `read_ledger` says where.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.errors import TrackingError
from components.tracking.commit import flush_to_disk
from components.tracking.digest import digest_json

LEDGER = Path("var/ledger/promotions.jsonl")
FIRST = "0" * 64
MOVES = ("promote", "rollback", "observe")


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened in the registry. `moved_from` and `moved_to` are versions, "" for none.

    `kind`: register (challenger moved), refuse (the gate said no), promote and rollback (champion moved),
    observe (champion was found moved by somebody else).
    """

    index: int
    time: str  # ISO 8601, UTC
    who: str
    kind: str
    model: str
    moved_from: str
    moved_to: str
    model_digest: str
    report_digest: str
    policy_hash: str
    outcome: str
    reason: str
    previous: str
    hash: str = ""

    def sealed(self) -> Event:
        """Return the event with its own hash."""
        return replace(self, hash=digest_json({k: v for k, v in asdict(self).items() if k != "hash"}))


def append_event(
    kind: str,
    model: str,
    *,
    moved_from: str = "",
    moved_to: str = "",
    facts: dict[str, str] | None = None,
    path: Path | None = None,
) -> Event:
    """Add one event durably; the caller holds the registry's lock.

    `facts` may hold model_digest, report_digest, policy_hash, outcome and reason.

    Raises:
        TrackingError: the chain so far is broken.
    """
    path = path or LEDGER
    events = read_ledger(path)
    known = {"model_digest": "", "report_digest": "", "policy_hash": "", "outcome": "", "reason": ""}
    event = Event(
        index=len(events),
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        who=identity(),
        kind=kind,
        model=model,
        moved_from=moved_from,
        moved_to=moved_to,
        previous=events[-1].hash if events else FIRST,
        **{**known, **(facts or {})},
    ).sealed()
    _append_line(path, json.dumps(asdict(event), sort_keys=True, ensure_ascii=False) + "\n")
    return event


def _append_line(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    flush_to_disk(path.parent)


def read_ledger(path: Path | None = None) -> tuple[Event, ...]:
    """Read and verify the whole ledger; an absent one is empty.

    Raises:
        TrackingError: a line is torn, altered, missing or out of place; the message names it.
    """
    path = path or LEDGER
    if not path.is_file():
        return ()
    events: list[Event] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            event = Event(**json.loads(line))
        except (json.JSONDecodeError, TypeError) as error:
            raise _broken(path, number, "cannot be read") from error
        if event.sealed().hash != event.hash:
            raise _broken(path, number, "was altered")
        if event.index != len(events) or event.previous != (events[-1].hash if events else FIRST):
            raise _broken(path, number, "does not follow the line before it")
        events.append(event)
    return tuple(events)


def champion_of(events: Iterable[Event], model: str) -> str:
    """Return the version that the ledger last saw as champion, "" for none."""
    moves = [event.moved_to for event in events if event.model == model and event.kind in MOVES]
    return moves[-1] if moves else ""


def former_champion(events: Iterable[Event], model: str) -> str:
    """Return the version to roll back to: promotions pile up, a rollback takes one off, "" when none is left."""
    pile: list[str] = []
    for event in events:
        if event.model != model or event.kind not in MOVES:
            continue
        if event.kind == "rollback":
            pile = pile[:-1]
        elif event.moved_to:
            pile.append(event.moved_to)
    return pile[-2] if len(pile) > 1 else ""


def events_until(events: Iterable[Event], when: datetime | None) -> tuple[Event, ...]:
    """Return the events up to a moment (all of them for None); a moment without a zone is UTC."""
    if when is None:
        return tuple(events)
    moment = when if when.tzinfo else when.replace(tzinfo=UTC)
    return tuple(event for event in events if datetime.fromisoformat(event.time) <= moment)


def identity() -> str:
    """Name who acts: user@host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _broken(path: Path, number: int, what: str) -> TrackingError:
    fix = "restore the ledger from the `ledger` artefact of the newest register run"
    return TrackingError(
        f"the promotion ledger is broken: line {number} {what}", where=f"{path}:{number}", fix=fix
    )


def to_rows(events: Iterable[Event]) -> list[dict[str, Any]]:
    """Return the events as plain dicts."""
    return [asdict(event) for event in events]
