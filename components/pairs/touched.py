"""The benchmark items that training data touches, and by which way: the list that the clean subset leaves out.

One row a (held-out record, way). Ways: `patient` and `study` (one key on both sides), `pixels` (equal), `hash`
(near by perceptual hash), `copy` (resized, recompressed, re-windowed, cropped, flipped), `words` (13-grams too).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.pairs.columns import Keys, keys_of, split_ranks
from components.pairs.dedupe import has_near
from components.pairs.firewall import TRAIN
from components.pairs.firewall_index import Links

if TYPE_CHECKING:
    import pyarrow as pa

TOUCHED = "touched.parquet"
Rows = np.ndarray[Any, np.dtype[np.int64]]


def touched_items(
    images: pa.Table, copies: Links, said: Rows, is_here: np.ndarray[Any, np.dtype[np.bool_]], *, bits: int
) -> pa.Table:
    """Return record_id, split, source, way of every held-out image that training data touches.

    `said` are rows of held-out images whose words a training pair repeated, `bits` the distance of near hashes;
    `is_here` tells the withdrawn images from the others.
    """
    import pyarrow as pa

    parts = [
        images.select(["record_id", "split", "source"]).take(rows).append_column(
            "way", pa.array([way] * len(rows), pa.string())
        )
        for way, rows in _ways(images, copies, said, is_here, bits)
    ]  # fmt: skip
    return pa.concat_tables(parts).sort_by([("record_id", "ascending"), ("way", "ascending")])


def _ways(
    images: pa.Table, copies: Links, said: Rows, is_here: np.ndarray[Any, np.dtype[np.bool_]], bits: int
) -> Iterator[tuple[str, Rows]]:
    is_train = split_ranks(images) == TRAIN
    held_out, train = np.flatnonzero(~is_train & is_here), np.flatnonzero(is_train & is_here)
    pixels = keys_of(images["sha256"])
    for way, keys in (
        ("patient", keys_of(images["patient_key"])), ("study", keys_of(images["study_key"])), ("pixels", pixels)
    ):  # fmt: skip
        yield way, held_out[np.isin(keys[held_out], keys[train])]
    hashes = np.asarray(images["perceptual_hash"])
    yield "hash", held_out[has_near(hashes[held_out], hashes[train], bits=bits)]
    copied: Keys = keys_of(sorted({theirs for _, theirs in copies}))
    yield "copy", held_out[np.isin(pixels[held_out], copied)]
    yield "words", said


def write_touched(folder: Path, items: pa.Table) -> dict[str, int]:
    """Write the list; return how many items each way touches."""
    import pyarrow.parquet as pq

    pq.write_table(items.combine_chunks(), folder / TOUCHED, compression="zstd")
    names, counts = np.unique(items["way"].to_pylist(), return_counts=True)
    return {str(name): int(count) for name, count in zip(names, counts, strict=True)}
