"""The Prefect flows: found by name, thin, retried only when that may help; run for real in the slow tests."""

from __future__ import annotations

import ast
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from components.errors import PipelineError
from flows.__main__ import find_flow
from flows.graph import StageFailed
from tests.flows.conftest import write_toy

FOLDER = Path(__file__).parents[2] / "flows"
FLOWS = ("retrain", "ingest", "train", "evaluate", "promote", "rollback")


@pytest.mark.parametrize("name", FLOWS)
def test_every_flow_is_found_under_its_name(name: str) -> None:
    assert find_flow(name).name == name


def test_an_unknown_flow_names_its_neighbour() -> None:
    with pytest.raises(PipelineError) as caught:
        find_flow("retrian")
    assert caught.value.fix == "python -m flows retrain"


def test_a_module_without_a_flow_is_no_flow() -> None:
    with pytest.raises(PipelineError, match="no flow is called 'graph'"):
        find_flow("graph")


@pytest.mark.parametrize("name", [*FLOWS, "deploy", "stages"])
def test_flow_modules_stay_thin_and_read_no_file_format(name: str) -> None:
    text = (FOLDER / f"{name}.py").read_text()
    assert len(text.splitlines()) <= 60
    imported = {
        alias.name.split(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert not imported & {"pandas", "torch", "pyarrow", "mlflow", "numpy"}


def test_only_a_transient_failure_is_retried() -> None:
    from flows.stages import is_worth_retrying

    def state_of(failure: object) -> SimpleNamespace:
        return SimpleNamespace(result=lambda raise_on_failure: failure)

    assert is_worth_retrying(None, None, state_of(StageFailed("a", is_transient=True, how="was interrupted")))
    assert not is_worth_retrying(None, None, state_of(StageFailed("a", is_transient=False, how="failed")))
    assert not is_worth_retrying(None, None, state_of(ValueError("another")))


def test_a_task_without_prefect_is_the_plain_function(toy: Path) -> None:
    from flows.stages import bring_up_to_date

    assert bring_up_to_date.fn("first", str(toy)).ran
    assert not bring_up_to_date.fn("first", str(toy)).ran


def test_tasks_are_never_cached_by_prefect() -> None:
    from prefect.cache_policies import NO_CACHE

    from flows.stages import bring_up_to_date

    assert bring_up_to_date.cache_policy == NO_CACHE
    assert bring_up_to_date.retries == len(bring_up_to_date.retry_delay_seconds)


@pytest.mark.slow
def test_the_flow_walks_the_same_graph_and_names_its_tasks(toy: Path) -> None:
    from prefect.client.orchestration import get_client
    from prefect.testing.utilities import prefect_test_harness

    from flows.retrain import retrain

    with prefect_test_harness(server_startup_timeout=120):
        assert retrain(str(toy)) == ["first", "second", "third"]
        assert retrain(str(toy)) == []
        write_toy(toy, second="exit 3")
        with pytest.raises(StageFailed, match="stage second failed"):
            retrain(str(toy))
        with get_client(sync_client=True) as client:
            runs = client.read_task_runs()
    assert {run.name for run in runs} == {"first", "second", "third"}
    assert sum(run.name == "third" for run in runs) == 2, "nothing runs after the stage that failed"


@pytest.mark.slow
def test_two_flows_at_once_without_a_server_started_by_hand(toy: Path) -> None:
    command = [sys.executable, "-m", "flows", "retrain"]
    flows = [
        subprocess.Popen(command, cwd=toy, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs, logs = zip(*(flow.communicate(timeout=300) for flow in flows), strict=True)
    assert [flow.returncode for flow in flows] == [0, 0], "\n".join(logs)
    assert "Traceback" not in "".join(logs)
    assert sorted(text.splitlines()[-1] for text in outputs) == ["['first', 'second', 'third']", "[]"]


@pytest.mark.slow
def test_a_schedule_fires_without_a_server_started_by_hand(toy: Path) -> None:
    command = [sys.executable, "-m", "flows.deploy", "--cron", "* * * * *"]
    with (toy / "log").open("w") as log:
        serving = subprocess.Popen(command, cwd=toy, stdout=log, stderr=log, preexec_fn=hear_interrupts)  # noqa: PLW1509
    until = time.monotonic() + 240
    while not (toy / "d.txt").exists():
        assert serving.poll() is None, (toy / "log").read_text()
        assert time.monotonic() < until, (toy / "log").read_text()
        time.sleep(0.5)
    serving.send_signal(signal.SIGINT)
    assert serving.wait(60) == 0, (toy / "log").read_text()
    assert not list(living_in(toy)), "the server and the run ended with it"


def hear_interrupts() -> None:
    """Hear Ctrl-C as a command at a terminal does: what a shell starts in the background ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def living_in(folder: Path) -> Iterator[str]:
    """Command lines of the processes that work in a folder."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cwd").readlink() == folder:
                yield (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
