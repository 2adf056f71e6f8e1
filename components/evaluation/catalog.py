"""Benchmarks are found by walking `components/evaluation/benchmarks/`, never listed.

A file there defines one `BENCHMARK`, named like the file. Two claims on a name, a file without a benchmark,
or an unknown name raise, with the files or the near matches named.
"""

from __future__ import annotations

import difflib
import importlib
from dataclasses import replace
from pathlib import Path

from components.errors import BenchmarkError
from components.evaluation.items import Benchmark

FOLDER = Path(__file__).with_name("benchmarks")
PACKAGE = "components.evaluation.benchmarks"


def load_benchmarks(folder: Path = FOLDER, package: str = PACKAGE) -> dict[str, Benchmark]:
    """Import every benchmark file, in name order.

    Raises:
        BenchmarkError: a file defines no benchmark, another file's name, or a metric twice.
    """
    found: dict[str, Benchmark] = {}
    for path in sorted(folder.glob("*.py")):
        if not path.stem.startswith("_"):
            found[path.stem] = _load(path, f"{package}.{path.stem}")
    return found


def _load(path: Path, module: str) -> Benchmark:
    benchmark = getattr(importlib.import_module(module), "BENCHMARK", None)
    if not isinstance(benchmark, Benchmark):
        raise BenchmarkError("this file defines no BENCHMARK", where=str(path))
    if benchmark.name != path.stem:
        raise BenchmarkError(f"benchmark {benchmark.name!r} must lie in {benchmark.name}.py", where=str(path))
    if not benchmark.metrics or len(set(benchmark.metrics)) != len(benchmark.metrics):
        raise BenchmarkError(f"benchmark {benchmark.name!r} names its metrics badly", where=str(path))
    return replace(benchmark, file=str(path))


def find_benchmark(name: str, benchmarks: dict[str, Benchmark] | None = None) -> Benchmark:
    """Return a benchmark by its exact name.

    Raises:
        BenchmarkError: there is none; near matches are named.
    """
    known = load_benchmarks() if benchmarks is None else benchmarks
    if name not in known:
        near = difflib.get_close_matches(name, known) or sorted(known)
        raise BenchmarkError(f"no benchmark {name!r}; near: {', '.join(near)}", fix=f"ls {FOLDER}")
    return known[name]
