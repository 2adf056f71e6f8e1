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
    """One published number, its percent over 100 (so 0-1, but for CIDEr and the inverse of RadCliQ).

    `source` is whose number it is and where it is printed; then the metric when it is not accuracy, and what is
    known to be wrong with the number or its row.
    """

    model: str
    benchmark: str  # with "/split=…" or another part when the number is of one
    value: float
    source: str
    protocol: str
    metric: str = "accuracy"


@cache
def load_references(path: Path = FILE) -> tuple[Reference, ...]:
    """Read the published scores.

    Raises:
        BenchmarkError: a table names no source or metric, a row has not one value a column, a note has no row.
    """
    import yaml

    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return tuple(row for table in content["tables"] for row in _rows(table, content["protocol"], path))


def _rows(table: dict[str, Any], protocol: str, path: Path) -> list[Reference]:
    columns, notes = table["columns"], table.get("notes", {})
    for name in ("source", "metric"):
        if not table.get(name):
            raise BenchmarkError(f"published scores of {columns} without a {name}", where=str(path))
    if strangers := sorted(notes.keys() - table["rows"].keys()):
        raise BenchmarkError(f"notes on {strangers}, which are no rows", where=str(path))
    found = []
    for model, values in table["rows"].items():
        if len(values) != len(columns):
            raise BenchmarkError(f"{model}: {len(values)} values for {len(columns)} columns", where=str(path))
        found += [
            Reference(model, column, value / 100, _words(table, model), protocol, table["metric"])
            for column, value in zip(columns, values, strict=True)
            if value is not None
        ]
    return found


def _words(table: dict[str, Any], model: str) -> str:
    metric = "" if table["metric"] == "accuracy" else table["metric"].replace("_", " ")
    parts = (table["source"], metric, table.get("note", ""), table.get("notes", {}).get(model, ""))
    return "; ".join(part for part in parts if part)


def references_of(benchmark: str) -> list[Reference]:
    """Return the published numbers of a benchmark as a whole, best first; [] when there are none."""
    whole = [row for row in load_references() if row.benchmark.split("/", maxsplit=1)[0] == benchmark]
    return sorted(whole, key=lambda row: (row.benchmark, -row.value, row.model, row.source))
