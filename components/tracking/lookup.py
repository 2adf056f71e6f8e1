"""Single rows out of shards by their id: only the row groups that hold one are read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from components.tracking.tables import shards_below


def rows_by_id(
    folder: Path, ids: Collection[str], columns: Sequence[str], *, key: str = "record_id"
) -> dict[str, dict[str, Any]]:
    """Return {id: row} of the wanted ids that exist; of every other row only the id column is read."""
    import pyarrow.parquet as pq

    wanted, found = set(ids), {}
    for path in shards_below(folder):
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                names = file.read_row_group(group, columns=[key])[key].to_pylist()
                if not wanted.isdisjoint(names):
                    rows = file.read_row_group(group, columns=[*dict.fromkeys([key, *columns])]).to_pylist()
                    found.update({row[key]: row for row in rows if row[key] in wanted})
        if len(found) == len(wanted):
            break
    return found
