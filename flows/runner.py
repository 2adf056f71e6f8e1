"""The process in which DVC reproduces one stage: `python -m flows.runner ADDRESS`.

It leads its own process group and asks the kernel to be told when its parent dies, so a cancelled or killed
flow leaves no stage behind: on SIGTERM the whole group is ended, after a grace period by force. DVC's Python
API does the work (`Repo.reproduce(single_item=True)`), exactly what `dvc repro --single-item` does.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from types import FrameType

from components.errors import TRY_AGAIN

DONE, FAILED = 0, 1
GRACE_SECONDS = 20
LOCK_TRIES = 60
LOCK_WAIT_SECONDS = 2.0
PR_SET_PDEATHSIG = 1  # linux/prctl.h
SIGNALLED_BY_SHELL = 128


def end_group(_signal: int, _frame: FrameType | None) -> None:
    """End every process of this group; those that stay longer than the grace period are killed."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(0, signal.SIGKILL))
    signal.alarm(GRACE_SECONDS)
    os.killpg(0, signal.SIGTERM)


def die_with_parent() -> None:
    """Have the kernel send SIGTERM here when the parent dies (Linux; elsewhere the parent must live)."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise SystemExit(TRY_AGAIN)


def reproduce(address: str) -> int:
    """Reproduce one stage; return DONE, FAILED, or TRY_AGAIN when a signal ended it or a lock stayed busy."""
    from dvc.exceptions import ReproductionError
    from dvc.lock import LockError
    from dvc.repo import Repo

    for _ in range(LOCK_TRIES):
        try:
            repo = Repo(_wait_for_lock=True)
            repo.scm_context.quiet = True
            repo.reproduce(address, single_item=True)
            return DONE
        except ReproductionError as error:
            if not isinstance(error.__cause__, LockError):
                print(f"{error}: {error.__cause__}", file=sys.stderr)
                return TRY_AGAIN if _was_signalled(error.__cause__) else FAILED
        except LockError as error:
            print(f"DVC is busy: {error}", file=sys.stderr)
        time.sleep(LOCK_WAIT_SECONDS)
    return TRY_AGAIN


def _was_signalled(cause: BaseException | None) -> bool:
    """DVC keeps a command's exit status only in its message: "failed to run: …, exited with -9".

    A stage that wrote a checkpoint and left because a signal asked it to says so with TRY_AGAIN.
    """
    _, marker, status = str(cause).rpartition("exited with ")
    if not marker or not status.lstrip("-").isdigit():
        return False
    return int(status) < 0 or int(status) > SIGNALLED_BY_SHELL or int(status) == TRY_AGAIN


def main() -> None:
    """Run the stage named on the command line."""
    signal.signal(signal.SIGTERM, end_group)
    die_with_parent()
    raise SystemExit(reproduce(sys.argv[1]))


if __name__ == "__main__":
    main()
