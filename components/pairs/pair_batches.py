"""Pairs as column batches: which images each is about, its split and its words, without a Python object a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.pairs.columns import Keys, arrow_compute, keys_of, mixed
from components.tracking.tables import shards_below

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 1 << 13
COLUMNS = ("record_ids", "split", "conversations", "generator.name")
Rows = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class PairBatch:
    """Some pairs. Pair i is about the image rows `images[offsets[i]:offsets[i + 1]]` (-1: no such image).

    `texts` holds each pair's turns, joined.
    """

    images: Rows
    offsets: Rows
    is_train: np.ndarray[Any, np.dtype[np.bool_]]
    is_source: np.ndarray[Any, np.dtype[np.bool_]]
    texts: list[str]

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def owners(self) -> Rows:
        """The pair of each entry of `images`."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    @property
    def firsts(self) -> Rows:
        """The first image row of each pair, -1 where it shows none."""
        found = np.full(len(self), -1)
        shown = np.flatnonzero(np.diff(self.offsets))
        found[shown] = self.images[self.offsets[:-1][shown]]
        return found

    def said(self, pixels: Keys) -> Keys:
        """Return a key of what each pair says of which pixels; `pixels` is a key an image row."""
        keys = keys_of(self.texts)
        lengths = np.diff(self.offsets)
        for place in range(int(lengths.max(initial=0))):
            chosen = np.flatnonzero(lengths > place)
            rows = self.images[self.offsets[:-1][chosen] + place]
            keys[chosen] = mixed(keys[chosen], pixels[rows])
        return keys


def read_batches(pairs: Path, rows_of: Callable[[Keys], Rows]) -> Iterator[PairBatch]:
    """Yield the pairs below a folder in order; `rows_of` turns keys of record ids into image rows."""
    import pyarrow.parquet as pq

    for path in shards_below(pairs):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=list(COLUMNS)):
                yield pair_batch(batch, rows_of)


def pair_batch(batch: pa.RecordBatch, rows_of: Callable[[Keys], Rows]) -> PairBatch:
    """Look at one batch of the columns COLUMNS."""
    pc = arrow_compute()
    record_ids, turns = batch.column("record_ids"), batch.column("conversations")
    lengths = np.asarray(pc.fill_null(pc.list_value_length(record_ids), 0), dtype=np.int64)
    return PairBatch(
        rows_of(keys_of(record_ids.flatten())), np.concatenate([[0], np.cumsum(lengths)]),
        np.asarray(pc.equal(batch.column("split"), "train")),
        np.asarray(pc.equal(pc.struct_field(batch.column("generator"), "name"), "source")), _joined(turns),
    )  # fmt: skip


def _joined(turns: pa.ListArray) -> list[str]:
    import pyarrow as pa

    pc = arrow_compute()
    values = pc.struct_field(turns.flatten(), "value")
    lengths = np.asarray(pc.fill_null(pc.list_value_length(turns), 0))
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    return pc.binary_join(pa.ListArray.from_arrays(offsets, values), "\x1f").to_pylist()
