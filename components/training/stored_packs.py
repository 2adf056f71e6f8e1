"""Packs as they lie on disk: row groups are decoded when one of their packs is asked for, and few are kept.

A process therefore holds the same bytes of a small set of packs and of millions. Nothing stays open between two
reads, so a set can be handed to loading processes however they are started.
"""

from __future__ import annotations

import dataclasses
import math
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import Dataset

from components.model.packing import Pack
from components.tracking.tables import shards_below

if TYPE_CHECKING:
    import pyarrow as pa

KEPT_BYTES = 64 << 20  # decoded; a row group of the default preset takes about one megabyte


class PackDataset(Dataset[tuple[str, Pack]]):
    """Packs of one mixture and split, handed out as numpy; at most `kept_bytes` of them stay decoded."""

    def __init__(self, folder: Path, *, kept_bytes: int = KEPT_BYTES) -> None:
        self.kept_bytes = kept_bytes
        self._groups, sizes = _row_groups(folder)
        self._ends = np.cumsum(sizes, dtype=np.int64)
        self._kept: OrderedDict[int, pa.Table] = OrderedDict()

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, index: int) -> tuple[str, Pack]:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        number = int(np.searchsorted(self._ends, index, side="right"))
        table = self._group(number)
        return pack_of(table, index - int(self._ends[number]) + len(table))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": OrderedDict()}

    def num_branches(self) -> int:
        """Return the most conversations that share one segment's prefix."""
        import pyarrow.parquet as pq

        most = 0
        for path, place in self._groups:
            with pq.ParquetFile(path, memory_map=True) as file:
                column = file.read_row_group(place, columns=["branches"]).column(0).combine_chunks()
            most = max(most, int(column.flatten().to_numpy(zero_copy_only=False).max(initial=0)))
        return most

    def _group(self, number: int) -> pa.Table:
        """Return a decoded row group; those that were not asked for longest make room."""
        import pyarrow.parquet as pq

        if number not in self._kept:
            path, place = self._groups[number]
            with pq.ParquetFile(path, memory_map=True) as file:
                self._kept[number] = file.read_row_group(place, use_threads=False).combine_chunks()
        self._kept.move_to_end(number)
        while len(self._kept) > 1 and sum(table.nbytes for table in self._kept.values()) > self.kept_bytes:
            self._kept.popitem(last=False)
        return self._kept[number]


def pack_of(table: pa.Table, row: int) -> tuple[str, Pack]:
    """Return a row of `pack_schema` as (pack id, pack)."""

    def column(name: str) -> np.ndarray:
        return table.column(name)[row].values.to_numpy(zero_copy_only=False)

    pack = Pack(
        pair_ids=tuple(table.column("pair_ids")[row].as_py()),
        images=tuple(int(image) for image in column("images")),
        ids=column("ids"),
        positions=column("positions"),
        branches=column("branches"),
        supervised=column("supervised"),
        segments=column("segments"),
        kinds=tuple(table.column("kinds")[row].as_py()),
    )
    return table.column("pack_id")[row].as_py(), pack


def _row_groups(folder: Path) -> tuple[list[tuple[Path, int]], list[int]]:
    """Return each row group below a folder as (shard, number), and its rows, from the footers."""
    import pyarrow.parquet as pq

    groups, sizes = [], []
    for path in shards_below(folder):
        footer = pq.read_metadata(path)
        groups.extend((path, number) for number in range(footer.num_row_groups))
        sizes.extend(footer.row_group(number).num_rows for number in range(footer.num_row_groups))
    return groups, sizes


class EvenShare(Dataset[tuple[str, Pack]]):
    """One rank's part of the first `count` packs: every `ranks`-th, in stored order, as many for each rank.

    Ranks gather each other's pieces micro-batch by micro-batch, so none may have fewer: where packs do not
    divide, a rank reads the last one again with nothing to learn, and each counts once.
    """

    def __init__(self, packs: PackDataset, *, count: int, rank: int, ranks: int) -> None:
        self.packs, self.count, self.rank, self.ranks = packs, min(count, len(packs)), rank, ranks

    def __len__(self) -> int:
        return math.ceil(self.count / self.ranks)

    def __getitem__(self, index: int) -> tuple[str, Pack]:
        place = index * self.ranks + self.rank
        if place < self.count:
            return self.packs[place]
        pack_id, pack = self.packs[self.count - 1]
        return pack_id, dataclasses.replace(pack, supervised=np.zeros_like(pack.supervised))
