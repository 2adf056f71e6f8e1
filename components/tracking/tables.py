"""Parquet shards: the one way rows are written to and read from disk between stages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP_ROWS = 100
# A row group takes some 30 KB of memory in the footer of whoever writes or opens the shard: without an end, five
# million short texts in one shard take gigabytes.
SHARD_GROUPS = 2000
SHARD_PATTERN = "part-{index:05d}.parquet"


class ShardWriter:
    """Write rows to numbered Parquet shards of at most `shard_bytes` and `groups` row groups, a group at a time.

    Memory holds one row group. Rows come one by one or as tables. Use as a context manager;
    `num_rows` tells how many went in.
    """

    def __init__(
        self, folder: Path, schema: pa.Schema, *, shard_bytes: int = 256 << 20, groups: int = SHARD_GROUPS
    ) -> None:
        self.folder, self.schema, self.shard_bytes, self.groups = folder, schema, shard_bytes, groups
        self._written = 0  # row groups of the open shard
        self.num_rows, self._index = 0, 0
        self._rows: list[dict[str, Any]] = []
        self._tables: list[pa.Table] = []
        self._writer: Any = None
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._flush()
            for table in self._tables:
                if len(table):
                    self._write_group(table)
            if self._index == 0 and self._writer is None:
                self._open()
        self._close()

    def write(self, row: dict[str, Any]) -> None:
        """Add one row."""
        self._rows.append(row)
        self.num_rows += 1
        if len(self._rows) >= ROW_GROUP_ROWS:
            self._flush()

    def write_table(self, table: pa.Table) -> None:
        """Add a table's rows; the same rows give the same bytes as `write` would."""
        import pyarrow as pa

        self._flush()
        self.num_rows += len(table)
        waiting = pa.concat_tables([*self._tables, table.cast(self.schema)])
        whole = len(waiting) - len(waiting) % ROW_GROUP_ROWS
        for start in range(0, whole, ROW_GROUP_ROWS):
            self._write_group(waiting.slice(start, ROW_GROUP_ROWS))
        self._tables = [waiting.slice(whole)]

    def _flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            rows, self._rows = self._rows, []
            self._write_group(pa.Table.from_pylist(rows, schema=self.schema))

    def _write_group(self, table: pa.Table) -> None:
        if self._writer is None:
            self._open()
        self._writer.write_table(table)
        self._written += 1
        if self._path.stat().st_size >= self.shard_bytes or self._written >= self.groups:
            self._close()

    def _open(self) -> None:
        import pyarrow.parquet as pq

        self._path = self.folder / SHARD_PATTERN.format(index=self._index)
        self._writer = pq.ParquetWriter(self._path, self.schema, compression="zstd")
        self._index, self._written = self._index + 1, 0

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def write_table(
    folder: Path, rows: Iterable[dict[str, Any]], schema: pa.Schema, *, shard_bytes: int = 256 << 20
) -> int:
    """Write all rows to shards in `folder`; return how many."""
    with ShardWriter(folder, schema, shard_bytes=shard_bytes) as writer:
        for row in rows:
            writer.write(row)
    return writer.num_rows


def shards_below(folder: Path) -> list[Path]:
    """List a folder's committed shards in order (none in a folder set aside); DataError when there are none."""
    found = (path.relative_to(folder) for path in folder.rglob("part-*.parquet"))
    shards = sorted(folder / path for path in found if not any(part.startswith(".") for part in path.parts))
    if not shards:
        raise DataError("no Parquet shard here", where=str(folder), fix="dvc repro")
    return shards


def count_rows(shard: Path) -> int:
    """Return a shard's number of rows, from its footer."""
    import pyarrow.parquet as pq

    return pq.read_metadata(shard).num_rows


def read_table(folder: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read all shards below a folder as one Arrow table; project `columns` where bytes are not needed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    chosen = list(columns) if columns is not None else None
    return pa.concat_tables([pq.read_table(path, columns=chosen) for path in shards_below(folder)])


def iterate_rows(folder: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Yield rows as dicts, one row group in memory at a time."""
    for batch in _batches(shards_below(folder), columns):
        yield from batch.to_pylist()


@dataclass(frozen=True, slots=True)
class Span:
    """Neighbouring row groups of one shard: `first` up to, not with, `end`."""

    shard: Path
    first: int
    end: int
    rows: int


def spans_below(folder: Path, *, rows: int) -> list[tuple[Span, ...]]:
    """Cut the shards below a folder into pieces of at least `rows` rows, but for the last; in order.

    A piece may hold the end of a shard and the begin of the next; a row group is never cut.
    """
    pieces: list[tuple[Span, ...]] = []
    piece: list[Span] = []
    for span in (span for shard in shards_below(folder) for span in _spans_of(shard, rows)):
        piece.append(span)
        if sum(part.rows for part in piece) >= rows:
            pieces.append(tuple(piece))
            piece = []
    return [*pieces, tuple(piece)] if piece else pieces


def _spans_of(shard: Path, rows: int) -> Iterator[Span]:
    import pyarrow.parquet as pq

    footer = pq.read_metadata(shard)
    first, waiting = 0, 0
    for group in range(footer.num_row_groups):
        waiting += footer.row_group(group).num_rows
        if waiting >= rows or group + 1 == footer.num_row_groups:
            yield Span(shard, first, group + 1, waiting)
            first, waiting = group + 1, 0


def iterate_spans(spans: Sequence[Span], columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a piece as dicts, one row group in memory at a time."""
    for span in spans:
        for batch in _batches([span.shard], columns, list(range(span.first, span.end))):
            yield from batch.to_pylist()


def read_spans(spans: Sequence[Span], columns: Sequence[str]) -> pa.Table:
    """Read some columns of a piece as one Arrow table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts = []
    for span in spans:
        with pq.ParquetFile(span.shard) as file:
            parts.append(file.read_row_groups(list(range(span.first, span.end)), columns=list(columns)))
    return pa.concat_tables(parts)


def _batches(
    shards: Iterable[Path], columns: Sequence[str] | None, groups: list[int] | None = None
) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    chosen = list(columns) if columns is not None else None
    for path in shards:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(batch_size=ROW_GROUP_ROWS, row_groups=groups, columns=chosen)
