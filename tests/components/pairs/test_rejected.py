"""Refused pairs are written as they come: the same bytes as written at once, never more than a group held."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.pairs import rejected
from components.pairs.rejected import REJECTED, RejectedWriter, pair_row
from components.records import pair_schema
from tests.fakes.scans import make_scan, make_text


def rows_of(number: int) -> list[dict]:
    pairs = [make_text(make_scan(n), "Describe.", f"Text {n}.", pair_id=f"pair{n}") for n in range(number)]
    return [pair_row(pair) | {"rejected_reason": "said"} for pair in pairs]


def written_at_once(folder: Path, rows: list[dict]) -> bytes:
    path = folder / "at-once.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=pair_schema()), path, compression="zstd")
    return path.read_bytes()


@pytest.mark.parametrize("number", [0, 1, 30])
def test_rows_and_tables_give_the_bytes_of_one_write(tmp_path: Path, number: int) -> None:
    rows = rows_of(number)
    whole = written_at_once(tmp_path, rows)
    with RejectedWriter(tmp_path) as one_by_one:
        for row in rows:
            one_by_one.write(row)
    assert (tmp_path / REJECTED).read_bytes() == whole
    with RejectedWriter(tmp_path) as in_parts:
        for start in range(0, number, 7):
            in_parts.write_table(pa.Table.from_pylist(rows[start : start + 7], schema=pair_schema()))
    assert (tmp_path / REJECTED).read_bytes() == whole


def test_no_more_than_a_group_waits_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejected, "GROUP_ROWS", 8)
    rows = rows_of(20)
    with RejectedWriter(tmp_path) as writer:
        for row in rows:
            writer.write(row)
            assert len(writer._rows) < 8
    file = pq.ParquetFile(tmp_path / REJECTED)
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [8, 8, 4]
    assert file.read()["pair_id"].to_pylist() == [row["pair_id"] for row in rows]
