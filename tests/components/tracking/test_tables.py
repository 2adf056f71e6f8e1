from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from components.tracking.tables import (
    ShardWriter,
    iterate_spans,
    read_spans,
    read_table,
    shards_below,
    spans_below,
    write_table,
)


def test_spans_cover_every_row_once_in_order(tmp_path):
    schema = pa.schema([("number", pa.int64()), ("name", pa.string())])
    rows = [{"number": number, "name": str(number)} for number in range(1234)]
    for place, part in enumerate((rows[:250], rows[250:1000], rows[1000:])):
        write_table(tmp_path / str(place), part, schema)
    pieces = spans_below(tmp_path, rows=300)
    assert [sum(span.rows for span in piece) for piece in pieces] == [550, 300, 384]
    read = [row for piece in pieces for row in iterate_spans(piece, ["number"])]
    assert [row["number"] for row in read] == list(range(1234))
    assert read_spans(pieces[1], ["name"])["name"].to_pylist() == [str(n) for n in range(550, 850)]


def test_a_shard_ends_after_so_many_row_groups(tmp_path):
    with ShardWriter(tmp_path, pa.schema([("number", pa.int64())]), groups=3) as writer:
        for number in range(1000):
            writer.write({"number": number})
    assert [pq.read_metadata(path).num_row_groups for path in shards_below(tmp_path)] == [3, 3, 3, 1]
    assert read_table(tmp_path)["number"].to_pylist() == list(range(1000))
