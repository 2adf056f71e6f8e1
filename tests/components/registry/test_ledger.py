import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from components.errors import TrackingError
from components.registry.ledger import (
    append_event,
    champion_of,
    events_until,
    former_champion,
    read_ledger,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.jsonl"
    for before, after in (("", "1"), ("1", "2"), ("2", "3")):
        append_event("promote", "m", moved_from=before, moved_to=after, facts={"outcome": "PROMOTE"}, path=path)
    return path


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines(keepends=True)


def test_events_follow_each_other_and_say_who_and_when(path: Path) -> None:
    events = read_ledger(path)
    assert [event.index for event in events] == [0, 1, 2]
    assert events[2].previous == events[1].hash
    assert "@" in events[0].who
    assert datetime.fromisoformat(events[0].time).tzinfo is not None
    assert read_ledger(path.with_name("absent.jsonl")) == ()


def test_an_altered_line_is_found(path: Path) -> None:
    path.write_text(path.read_text().replace('"moved_to": "2"', '"moved_to": "9"', 1))
    with pytest.raises(TrackingError, match="line 2 was altered"):
        read_ledger(path)


def test_a_line_altered_and_sealed_again_breaks_the_next(path: Path) -> None:
    events = read_ledger(path)
    forged = replace(events[0], moved_to="9").sealed()
    path.write_text(json.dumps(asdict(forged)) + "\n" + "".join(lines(path)[1:]))
    with pytest.raises(TrackingError, match="line 2 does not follow"):
        read_ledger(path)


@pytest.mark.parametrize(("kept", "line"), [([0, 2], 2), ([1, 2], 1), ([1, 0, 2], 1)])
def test_a_line_removed_or_moved_is_found(path: Path, kept: list[int], line: int) -> None:
    path.write_text("".join(lines(path)[index] for index in kept))
    with pytest.raises(TrackingError, match=f"line {line} does not follow"):
        read_ledger(path)


def test_nothing_is_added_to_a_broken_ledger(path: Path) -> None:
    path.write_text(path.read_text()[:-40])
    before = path.read_bytes()
    with pytest.raises(TrackingError, match="line 3 cannot be read"):
        append_event("promote", "m", moved_to="4", path=path)
    assert path.read_bytes() == before


def test_rollbacks_take_promotions_off_one_by_one(path: Path) -> None:
    assert former_champion(read_ledger(path), "m") == "2"
    append_event("rollback", "m", moved_from="3", moved_to="2", path=path)
    assert champion_of(read_ledger(path), "m") == "2"
    assert former_champion(read_ledger(path), "m") == "1"
    append_event("rollback", "m", moved_from="2", moved_to="1", path=path)
    assert former_champion(read_ledger(path), "m") == ""
    append_event("promote", "m", moved_from="1", moved_to="4", path=path)
    assert former_champion(read_ledger(path), "m") == "1"


def test_refusals_and_other_models_move_nothing(path: Path) -> None:
    append_event("refuse", "m", moved_from="3", moved_to="3", path=path)
    append_event("promote", "another", moved_to="8", path=path)
    assert champion_of(read_ledger(path), "m") == "3"
    assert champion_of(read_ledger(path), "another") == "8"
    assert champion_of(read_ledger(path), "unknown") == ""


def test_the_past_can_be_asked(path: Path) -> None:
    dated = [
        replace(event, time=f"2026-03-0{day}T12:00:00+00:00")
        for day, event in enumerate(read_ledger(path), start=1)
    ]
    assert champion_of(events_until(dated, datetime(2026, 3, 2, 13)), "m") == "2"
    assert champion_of(events_until(dated, datetime(2026, 3, 1, tzinfo=UTC)), "m") == ""
    assert champion_of(events_until(dated, None), "m") == "3"
