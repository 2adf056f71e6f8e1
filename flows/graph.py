"""DVC's graph, one stage at a time: the one function behind `make run` and every Prefect flow.

`dvc.yaml` is the only list of stages; the order is the one `dvc repro` itself would take. A stage that DVC
calls up to date is not run; whether it is, is decided by content and settings, never by name. What runs here
writes the same `dvc.lock` as `dvc repro` does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import TRY_AGAIN, PipelineError
from flows.lease import hold_lease
from flows.runner import DONE, GRACE_SECONDS

if TYPE_CHECKING:
    from dvc.repo import Repo

LEASE_FOLDER = Path("var") / "lease"
STAGE_TIMEOUT_SECONDS = 14 * 24 * 3600.0


class StageFailed(PipelineError):
    """A stage's command ended badly; `is_transient` is true when trying again may help."""

    def __init__(self, address: str, *, is_transient: bool, how: str) -> None:
        self.address, self.is_transient = address, is_transient
        super().__init__(f"stage {address} {how}", where="dvc.yaml", fix=f"dvc repro --single-item {address}")


@dataclass(frozen=True, slots=True)
class StageOutcome:
    """What became of one stage; `seconds` is 0 when it was up to date."""

    address: str
    ran: bool
    seconds: float = 0.0


@contextmanager
def the_only_pipeline(root: Path) -> Generator[None]:
    """Hold this work tree's lease: a second pipeline waits its turn, and then finds little to do."""
    with hold_lease(root / LEASE_FOLDER):
        yield


def open_repo(root: Path) -> Repo:
    """Open the DVC project in `root`; PipelineError when there is none."""
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo

    try:
        return Repo(str(root), _wait_for_lock=True)
    except NotDvcRepoError as error:
        raise PipelineError("no DVC project here", where=str(root), fix="git clone the project afresh") from error


def stage_order(repo: Repo, targets: Sequence[str] = ()) -> list[str]:
    """Addresses of the targets (all, if none are named) and of all they stand on, in DVC's own order."""
    from dvc.exceptions import DvcException
    from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro

    try:
        stages = collect_stages(repo, [_in(repo, name) for name in targets or ("dvc.yaml",)])
        plan = plan_repro(get_active_graph(repo.index.graph), stages)
        return [getattr(stage, "name", None) or os.path.relpath(stage.path, repo.root_dir) for stage in plan]
    except DvcException as error:
        raise PipelineError(f"the graph cannot be read: {error}", where="dvc.yaml", fix="dvc dag") from error


def _in(repo: Repo, address: str) -> str:
    """Make a stage's address hold from any working folder."""
    is_file = address.endswith((".dvc", ".yaml"))
    return str(Path(repo.root_dir, address)) if is_file else f"{repo.root_dir}/dvc.yaml:{address}"


def is_current(repo: Repo, address: str) -> bool:
    """Whether DVC finds the stage's command, inputs, parameters and outputs unchanged."""
    from dvc.lock import LockError

    try:
        return not repo.status(targets=[_in(repo, address)])
    except LockError:
        return False  # somebody is at work on its files: the runner waits for them and decides then


def run_stage(
    root: Path, address: str, *, repo: Repo | None = None, timeout_seconds: float = STAGE_TIMEOUT_SECONDS
) -> StageOutcome:
    """Bring one stage up to date.

    Raises:
        StageFailed: its command failed, was ended by a signal, or took longer than `timeout_seconds`.
    """
    if is_current(repo or open_repo(root), address):
        return StageOutcome(address, ran=False)
    started = time.monotonic()
    code = _call_runner(root, address, timeout_seconds)
    if code == DONE:
        return StageOutcome(address, ran=True, seconds=time.monotonic() - started)
    how = "was interrupted, or its files stayed locked" if code == TRY_AGAIN else "failed; its message is above"
    raise StageFailed(address, is_transient=code != 1, how=how)


def run_stages(root: Path, targets: Sequence[str] = ()) -> list[StageOutcome]:
    """Bring the targets and all they stand on up to date, in order, stopping at the first failure."""
    with the_only_pipeline(root):
        repo = open_repo(root)
        outcomes: list[StageOutcome] = []
        for address in stage_order(repo, targets):
            outcomes.append(run_stage(root, address, repo=repo))
            if outcomes[-1].ran:
                repo = open_repo(root)
        return outcomes


def _call_runner(root: Path, address: str, timeout_seconds: float) -> int:
    command = [sys.executable, "-m", "flows.runner", address]
    process = subprocess.Popen(command, cwd=root, start_new_session=True, env=_runner_environment())
    try:
        return process.wait(timeout_seconds)
    except subprocess.TimeoutExpired as error:
        hours = timeout_seconds / 3600
        raise StageFailed(address, is_transient=False, how=f"took longer than {hours:.2g} hours") from error
    finally:
        _end(process)


def _runner_environment() -> dict[str, str]:
    """This interpreter's folder comes first: it is the `python` of dvc.yaml's commands."""
    paths = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    return {**os.environ, "PATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1"}


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave nobody behind: ask the runner to end its group, then kill what is left of the group."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS + 5)
    if process.returncode != DONE:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
