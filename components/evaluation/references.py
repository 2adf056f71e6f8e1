"""Published scores beside ours: for orientation, never for a comparison, since their protocol is not ours.

`references.yaml` holds them with their sources; this module reads it and refuses a row without a source.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from components.errors import BenchmarkError

FILE = Path(__file__).with_name("references.yaml")


@dataclass(frozen=True, slots=True)
class Reference:
    """One published number, 0-1, as its source gives it."""

    model: str
    benchmark: str  # with "/split=…" or another part when the number is of one
    value: float
    source: str
    protocol: str


@cache
def load_references(path: Path = FILE) -> tuple[Reference, ...]:
    """Read the published scores.

    Raises:
        BenchmarkError: a table names no source, or a row has not one value a column.
    """
    import yaml

    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return tuple(row for table in content["tables"] for row in _rows(table, content["protocol"], path))


def _rows(table: dict[str, Any], protocol: str, path: Path) -> list[Reference]:
    columns, source = table["columns"], table.get("source", "")
    if not source:
        raise BenchmarkError(f"published scores of {columns} without a source", where=str(path))
    found = []
    for model, values in table["rows"].items():
        if len(values) != len(columns):
            raise BenchmarkError(f"{model}: {len(values)} values for {len(columns)} columns", where=str(path))
        found += [
            Reference(model, column, value / 100, source, protocol)
            for column, value in zip(columns, values, strict=True)
            if value is not None
        ]
    return found


def references_of(benchmark: str) -> list[Reference]:
    """Return the published numbers of a benchmark as a whole, best first; [] when there are none."""
    whole = [row for row in load_references() if row.benchmark.split("/", maxsplit=1)[0] == benchmark]
    return sorted(whole, key=lambda row: (row.benchmark, -row.value, row.model, row.source))
