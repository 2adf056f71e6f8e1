"""Refused pairs, written beside the shards under a name that no reader of shards matches.

They are written as they come, a row group of at most GROUP_ROWS in memory: in a large corpus whatever refuses a
source refuses millions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.records import Pair, pair_schema

if TYPE_CHECKING:
    import pyarrow as pa

REJECTED = "rejected.parquet"
GROUP_ROWS = 1 << 14
SILENT: dict[str, Any] = {"conversations": [], "answer": "", "options": [], "labels": [], "boxes": []}
PAIR_FIELDS = tuple(field.name for field in fields(Pair))
GENERATOR_FIELDS = ("name", "version", "prompt_hash", "model", "seed")


class RejectedWriter:
    """Write refused pairs, each with its reason in `rejected_reason`; use as a context manager."""

    def __init__(self, folder: Path) -> None:
        import pyarrow.parquet as pq

        self._writer = pq.ParquetWriter(folder / REJECTED, pair_schema(), compression="zstd")
        self._rows: list[dict[str, Any]] = []
        self._tables: list[pa.Table] = []
        self._waiting, self._is_empty = 0, True

    def __enter__(self) -> RejectedWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None and (self._waiting or self._is_empty):
            self._write_group()
        self._writer.close()

    def write(self, row: dict[str, Any]) -> None:
        """Add one row."""
        self._rows.append(row)
        self._added(1)

    def write_without_words(self, table: pa.Table, is_hidden: Iterable[bool]) -> None:
        """Add a table's rows; of the hidden ones only who they are and why they go, nothing that they say."""
        chosen = [bool(hidden) for hidden in is_hidden]
        if not any(chosen):
            self.write_table(table)
            return
        for row, hidden in zip(table.to_pylist(), chosen, strict=True):
            self.write({**row, **SILENT} if hidden else row)

    def write_table(self, table: pa.Table) -> None:
        """Add a table's rows."""
        if len(table):
            self._take_rows()
            self._tables.append(table)
            self._added(len(table))

    def _added(self, number: int) -> None:
        self._waiting += number
        if self._waiting >= GROUP_ROWS:
            self._write_group()

    def _take_rows(self) -> None:
        import pyarrow as pa

        if self._rows:
            self._tables.append(pa.Table.from_pylist(self._rows, schema=pair_schema()))
            self._rows = []

    def _write_group(self) -> None:
        import pyarrow as pa

        self._take_rows()
        together = pa.concat_tables([pair_schema().empty_table(), *self._tables])
        self._writer.write_table(together.combine_chunks())
        self._tables, self._waiting, self._is_empty = [], 0, False


def pair_row(pair: Pair) -> dict[str, Any]:
    """Return a pair as one Arrow row (dataclasses.asdict copies deeply and takes a third of the stage's time)."""
    row = {name: getattr(pair, name) for name in PAIR_FIELDS}
    row["conversations"] = [{"speaker": turn.speaker, "value": turn.value} for turn in pair.conversations]
    row["generator"] = {name: getattr(pair.generator, name) for name in GENERATOR_FIELDS}
    return row
