import json
from pathlib import Path

import pytest

from components.errors import TrackingError
from components.tracking import journal
from components.tracking.runs import open_run
from components.tracking.store import open_store


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch):
    """Call it to take the store away; call what it returns to give it back."""

    def take_away():
        def refuse(*_: object, **__: object) -> None:
            raise ConnectionError("no route to store")

        for name in journal.OPERATIONS:
            monkeypatch.setitem(journal.OPERATIONS, name, refuse)

    return take_away


def test_a_store_lost_midway_goes_to_the_journal_and_comes_back_by_import(tracked, lost) -> None:
    original = dict(journal.OPERATIONS)
    with open_run("train@x", tracked, fingerprint="x", inputs={}) as run:
        run.log_metrics({"loss": 3.0}, step=0)
        lost()
        scratch = Path("scratch.txt")
        scratch.write_text("picture")
        run.log_metrics({"loss": 2.0}, step=1)
        run.set_tags({"note": "offline"})
        run.log_artifact(scratch, "pictures")
        scratch.unlink()
    lines = (Path("var/journal") / f"{run.run_id}.jsonl").read_text().splitlines()
    assert [json.loads(line)["operation"] for line in lines] == ["metrics", "tags", "artifact", "status"]
    journal.OPERATIONS.update(original)
    client = open_store(tracked).client
    assert client.get_run(run.run_id).info.status == "RUNNING"
    assert journal.import_journals(client) == 2  # the run's and its parent's
    assert [point.value for point in client.get_metric_history(run.run_id, "loss")] == [3.0, 2.0]
    logged = client.get_run(run.run_id)
    assert (logged.info.status, logged.data.tags["note"]) == ("FINISHED", "offline")
    assert Path(client.download_artifacts(run.run_id, "pictures/scratch.txt")).read_text() == "picture"
    assert journal.import_journals(client) == 0


def test_importing_twice_writes_nothing_twice(tracked) -> None:
    with open_run("train@x", tracked, fingerprint="x", inputs={}) as run:
        pass
    client = open_store(tracked).client
    line = {"run_id": run.run_id, "operation": "metrics",
            "content": {"values": {"loss": 1.0}, "step": 4, "timestamp": 1700000000000}}  # fmt: skip
    path = Path("var/journal/some.jsonl")
    path.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(2):
        path.write_text(json.dumps(line) + "\n")
        assert journal.import_journal(client, path)
    assert len(client.get_metric_history(run.run_id, "loss")) == 1


def test_a_torn_last_line_is_left_out(tracked) -> None:
    with open_run("train@x", tracked, fingerprint="x", inputs={}) as run:
        pass
    path = Path("var/journal/torn.jsonl")
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = json.dumps({"run_id": run.run_id, "operation": "tags", "content": {"values": {"kept": "yes"}}})
    path.write_text(whole + "\n" + whole[:30])
    client = open_store(tracked).client
    assert journal.import_journal(client, path)
    assert client.get_run(run.run_id).data.tags["kept"] == "yes"
    assert path.with_suffix(".imported").is_file()


def test_a_journal_that_a_living_run_writes_is_left_alone(tracked, lost) -> None:
    with open_run("train@x", tracked, fingerprint="x", inputs={}) as run:
        original = dict(journal.OPERATIONS)
        lost()
        run.log_metrics({"loss": 1.0})
        journal.OPERATIONS.update(original)
        assert journal.import_journals(open_store(tracked).client) == 0
    assert not list(Path("var/journal").glob(f"{run.run_id}.jsonl"))  # its own end imported it


def test_the_next_run_imports_what_is_left(tracked) -> None:
    with open_run("ingest", tracked, fingerprint="x", inputs={}) as first:
        pass
    path = Path("var/journal/left.jsonl")
    path.parent.mkdir(parents=True, exist_ok=True)
    line = {"run_id": first.run_id, "operation": "tags", "content": {"values": {"late": "yes"}}}
    path.write_text(json.dumps(line) + "\n")
    with open_run("pair", tracked, fingerprint="y", inputs={}):
        pass
    assert open_store(tracked).client.get_run(first.run_id).data.tags["late"] == "yes"


def test_a_request_the_store_finds_wrong_is_an_error_not_a_journal(tracked) -> None:
    with (
        pytest.raises(TrackingError, match="refuses"),
        open_run("ingest", tracked, fingerprint="x", inputs={}) as run,
    ):
        run.writer.send("metrics", values={"bad\nname": 1.0}, step=0, timestamp=1)
    assert not list(Path("var/journal").glob("*.jsonl"))
