"""Columns instead of rows: what curation decides over are Arrow tables, and text ids become 64-bit keys.

Millions of rows are held as Arrow buffers and numpy arrays, never as Python objects. Two ids share a key with a
chance under one in a million at five million rows; where that would lose data, the ids themselves are compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

Keys = np.ndarray[Any, np.dtype[np.uint64]]
HELD_OUT_FIRST = ("test", "validation", "train")
BATCH_ROWS = 1 << 16
MIXER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd


def keys_of(values: Any) -> Keys:
    """Return a 64-bit key a text (an Arrow array or a sequence), the same on every machine; batch by batch."""
    import pyarrow as pa

    column = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(list(values), pa.string())
    found = np.empty(len(column), dtype=np.uint64)
    for start in range(0, len(column), BATCH_ROWS):
        texts = np.array(column.slice(start, BATCH_ROWS).to_pylist(), dtype=object)
        found[start : start + len(texts)] = hashed(texts)
    return found


def hashed(texts: np.ndarray[Any, np.dtype[np.object_]]) -> Keys:
    """Return a key a text of an object array (SipHash under pandas' fixed key)."""
    from pandas import util

    hash_array: Any = util.hash_array
    return hash_array(texts, categorize=False)


def arrow_compute() -> Any:
    """Return pyarrow's compute functions; they are made at import, so that no type checker knows them."""
    from pyarrow import compute

    return compute


def mixed(keys: Keys, others: Keys) -> Keys:
    """Fold a second key into each first one; the order of the two matters."""
    with np.errstate(over="ignore"):
        folded = (keys ^ (keys >> np.uint64(29))) * MIXER + others
        return folded ^ (folded >> np.uint64(32))


def split_ranks(table: pa.Table) -> np.ndarray[Any, np.dtype[np.int8]]:
    """Return 0 for test, 1 for validation, 2 for train."""
    return positions(table["split"], HELD_OUT_FIRST).astype(np.int8)


def positions(column: Any, known: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return where each text stands among a few known ones, -1 for none."""
    import pyarrow as pa

    pc = arrow_compute()
    among = known if isinstance(known, pa.Array | pa.ChunkedArray) else pa.array(list(known), pa.string())
    return np.asarray(pc.fill_null(pc.index_in(column, value_set=among), -1), dtype=np.int64)


def runs(values: np.ndarray[Any, Any]) -> Iterator[tuple[int, int]]:
    """Yield (first, last + 1) of each run of equal values."""
    if len(values):
        edges = np.flatnonzero(values[1:] != values[:-1]) + 1
        yield from pairwise([0, *edges.tolist(), len(values)])


class KeyIndex:
    """Looks up rows by key: a sorted copy and a binary search, 16 bytes a row."""

    def __init__(self, keys: Keys) -> None:
        self._order = np.argsort(keys, kind="stable")
        self._sorted = keys[self._order]

    def rows(self, wanted: Keys) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return each wanted key's first row, -1 for none."""
        if not len(self._sorted):
            return np.full(len(wanted), -1)
        places = np.minimum(np.searchsorted(self._sorted, wanted), len(self._sorted) - 1)
        return np.where(self._sorted[places] == wanted, self._order[places], -1)
