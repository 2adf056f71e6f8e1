"""A Prefect server for as long as a schedule is served: the temporary one that flows start has no scheduler.

Bound to the loopback address. With PREFECT_API_URL set, that server is used and none is started. Servers of
either kind start one after the other: two at once in a new folder would both migrate its database and one would
break, and both may draw the same port.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from components.errors import PipelineError
from flows.environment import SERVER_START_SECONDS
from flows.runner import GRACE_SECONDS, die_with_parent

HOST = "127.0.0.1"
API = "PREFECT_API_URL"
TURN = "server.starting"


@contextmanager
def scheduling_server(log: Path) -> Generator[str]:
    """Yield the address of a server that schedules; one started here ends with the block.

    Raises:
        PipelineError: it did not answer in time; `log` says why.
    """
    if os.environ.get(API):
        yield os.environ[API]
        return
    with ExitStack() as starting:
        starting.enter_context(_turn(Path(os.environ.get("PREFECT_HOME", log.parent))))
        port = _free_port()
        os.environ[API] = f"http://{HOST}:{port}/api"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as handle:
            command = [sys.executable, "-m", "flows.server", str(port)]
            process = subprocess.Popen(command, stdout=handle, stderr=handle, start_new_session=True)
        try:
            _wait_until_healthy(process, log)
            starting.close()
            yield os.environ[API]
        finally:
            del os.environ[API]
            _stop(process)


def start_temporary_server(home: Path) -> None:
    """Start the server that Prefect would start for a flow by itself, in turn; it ends with this process.

    `home` is Prefect's folder, which processes that share its database share.
    """
    from prefect.server.api.server import SubprocessASGIServer
    from prefect.settings import PREFECT_API_URL

    if PREFECT_API_URL.value():
        return
    with _turn(home):
        SubprocessASGIServer().start()


@contextmanager
def _turn(home: Path) -> Generator[None]:
    """Wait until no other server over this folder's database is starting."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / TURN).open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def _wait_until_healthy(process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + SERVER_START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{os.environ[API]}/health", timeout=2):  # noqa: S310
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.5)
    raise PipelineError("the Prefect server did not start", where=str(log), fix=f"cat {log}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def main() -> None:
    """Become the server; end when the process that started it ends."""
    die_with_parent()
    command = ["-m", "prefect", "server", "start", "--host", HOST, "--port", sys.argv[1]]
    os.execv(sys.executable, [sys.executable, *command])


if __name__ == "__main__":
    main()
