"""Rows are found by id over shards and row groups, and only where they lie."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from components.tracking.lookup import rows_by_id
from components.tracking.tables import ROW_GROUP_ROWS, write_table

SCHEMA = pa.schema([("record_id", pa.string()), ("value", pa.int64()), ("image", pa.binary())])


def rows(prefix: str, number: int):
    return ({"record_id": f"{prefix}{i}", "value": i, "image": b"x" * 10} for i in range(number))


def test_rows_come_from_every_shard_with_the_columns_asked_for(tmp_path: Path) -> None:
    write_table(tmp_path / "one", rows("a", 2 * ROW_GROUP_ROWS + 5), SCHEMA)
    write_table(tmp_path / "two", rows("b", 3), SCHEMA)
    found = rows_by_id(tmp_path, ["a0", "a203", "b2", "missing"], ["value"])
    assert found == {
        "a0": {"record_id": "a0", "value": 0}, "a203": {"record_id": "a203", "value": 203},
        "b2": {"record_id": "b2", "value": 2},
    }  # fmt: skip


def test_another_key_may_be_used(tmp_path: Path) -> None:
    write_table(tmp_path, rows("a", 4), SCHEMA)
    assert rows_by_id(tmp_path, [3], ["record_id"], key="value") == {3: {"value": 3, "record_id": "a3"}}  # ty: ignore[invalid-argument-type]
