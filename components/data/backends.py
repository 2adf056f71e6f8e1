"""Where sources are read: joblib over processes here, or over a cluster of ray or dask.

loky, threading and sequential are joblib's own. ray and dask start on this machine alone and listen on loopback,
unless an address names a cluster that runs already.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any

from components.errors import ConfigError

LOOPBACK, CLUSTERS = "127.0.0.1", ("ray", "dask")
Call = tuple[int, Callable[..., Any], tuple[Any, ...]]


class Pool:
    """Runs numbered calls side by side; each result comes with its call's number, in no order."""

    def __init__(self, workers: int, backend: str) -> None:
        self.workers, self.backend = max(1, workers), backend

    def __call__(self, calls: Iterable[Call]) -> Iterable[tuple[int, Any]]:
        """Run every call; they are asked for as workers become free, so that few need to be in memory."""
        from joblib import Parallel, delayed, parallel_config

        streams = {} if self.backend in CLUSTERS else {"return_as": "generator_unordered"}
        with parallel_config(backend=self.backend, n_jobs=self.workers):  # it alone knows dask's backend
            yield from Parallel(batch_size=1, **streams)(delayed(_numbered)(*call) for call in calls)


def _numbered(number: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[int, Any]:
    return number, function(*arguments)


@contextmanager
def pool(workers: int, backend: str, *, address: str = "") -> Generator[Pool]:
    """Yield a pool; what had to be started for it ends with the block.

    `address` is that of a ray or dask cluster; without it, one is started here.

    Raises:
        ConfigError: the package of the backend is not installed.
    """
    if backend == "ray":
        with _ray(workers, address):
            yield Pool(workers, backend)
    elif backend == "dask":
        with _dask(workers, address):
            yield Pool(workers, backend)
    else:
        yield Pool(workers, backend)


def _installed(module: str, backend: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = "ray" if backend == "ray" else "distributed"
        fix = f"pip install {package}, or gmai configure ingest.backend=loky"
        raise ConfigError(f"backend {backend!r} is not installed", where="ingest.backend", fix=fix) from error


@contextmanager
def _ray(workers: int, address: str) -> Generator[None]:
    register = _installed("ray.util.joblib", "ray").register_ray
    ray = _installed("ray", "ray")
    here = {"num_cpus": max(1, workers), "include_dashboard": False, "_node_ip_address": LOOPBACK}
    there = {"address": address}
    ray.init(log_to_driver=False, configure_logging=False, **(there if address else here))
    register()
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _dask(workers: int, address: str) -> Generator[None]:
    distributed = _installed("distributed", "dask")
    here = {"n_workers": max(1, workers), "threads_per_worker": 1, "host": LOOPBACK, "dashboard_address": None}
    there = {"address": address}
    with distributed.Client(**(there if address else here)):
        yield
