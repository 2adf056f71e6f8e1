"""Altered copies of held-out images among training images: resized, recompressed, re-windowed, cropped, flipped.

Looked for in three steps, each cheap enough for the rows that reach it. (1) Locality-sensitive hashing (Indyk and
Motwani 1998): a cell of a thumbnail is bright or not; images that agree on all of some BAND_CELLS sampled cells of
a band are candidates. (2) Candidates must agree on all but FARTHEST cells. (3) The correlation with the best of
the held-out image's many variants must reach LIKENESS. Nothing is compared pairwise beyond step 1's candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from components.pairs.columns import runs
from components.pairs.fingerprint import (
    CELLS,
    SEARCHED,
    THUMBNAIL,
    VERIFIED,
    Thumbnails,
    bright_cells,
    in_blocks,
    normalised,
    variants,
)
from components.pairs.picture_column import PictureSource

BANDS, BAND_CELLS = 24, 22
MARGIN = 2  # cells of the border, which a crop loses and a background fills, are not sampled
FARTHEST = 44
LIKENESS = 0.96
BLOCK_ROWS, BLOCK_BASES, MOST_CANDIDATES = 1 << 15, 1 << 8, 1 << 20
Rows = np.ndarray[Any, np.dtype[np.int64]]
Packed = np.ndarray[Any, np.dtype[np.uint64]]  # (N, 4): a bit a cell


@dataclass(frozen=True, slots=True)
class Copies:
    """Pairs of rows (training, held-out) with their likeness, 0-1, sorted by both."""

    train: Rows
    held_out: Rows
    likeness: np.ndarray[Any, np.dtype[np.float32]]


def find_copies(train: PictureSource, bases: PictureSource, *, least: float = LIKENESS) -> Copies:
    """Find the copies of (H, BASE * BASE) held-out images among (N, CELLS) training thumbnails."""
    shapes = _Shapes(bases)
    if not len(train) or not len(bases):
        return _copies([], [], [])
    found: list[Rows] = []
    for block in in_blocks(len(train), BLOCK_ROWS):
        rows, held = shapes.candidates(train[block])
        found.append(np.stack([rows + block.start, held], axis=1))
    pairs = np.unique(np.concatenate(found), axis=0)
    return verify(train, bases, pairs, least=least)


def verify(train: PictureSource, bases: PictureSource, pairs: Rows, *, least: float) -> Copies:
    """Keep the pairs (P, 2) whose best correlation over the held-out image's variants is at least `least`."""
    order = np.argsort(pairs[:, 1], kind="stable")
    pairs = pairs[order]
    kept: list[Rows] = []
    scores: list[np.ndarray[Any, Any]] = []
    for first, last in runs(pairs[:, 1]):
        held = int(pairs[first, 1])
        turned = normalised(variants(bases[held : held + 1], VERIFIED)[0])
        for block in in_blocks(last - first, BLOCK_BASES):
            mine = pairs[first:last][block]
            likeness = (normalised(train[mine[:, 0]]) @ turned.T).max(axis=1)
            is_copy = likeness >= least
            kept.append(mine[is_copy])
            scores.append(likeness[is_copy])
    joined = np.concatenate(kept) if kept else np.empty((0, 2), dtype=np.int64)
    return _copies(joined[:, 0], joined[:, 1], np.concatenate(scores) if scores else [])


def _copies(train: Any, held_out: Any, likeness: Any) -> Copies:
    train, held_out = np.asarray(train, dtype=np.int64), np.asarray(held_out, dtype=np.int64)
    order = np.lexsort((held_out, train))
    return Copies(train[order], held_out[order], np.asarray(likeness, dtype=np.float32)[order])


def band_cells() -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return (BANDS, BAND_CELLS) cells, the same for ever (an index on disk rests on them)."""
    random = np.random.default_rng(20241122)
    inner = np.arange(CELLS).reshape(THUMBNAIL, THUMBNAIL)[MARGIN:-MARGIN, MARGIN:-MARGIN].ravel()
    return np.stack([np.sort(random.choice(inner, BAND_CELLS, replace=False)) for _ in range(BANDS)])


def _packed(bright: np.ndarray[Any, Any]) -> Packed:
    """Return (N, 4) words of the 256 cells."""
    return np.packbits(bright, axis=1).view(np.uint64)


def _band_keys(bright: np.ndarray[Any, Any], cells: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.uint32]]:
    sampled = np.packbits(bright[:, cells], axis=1)
    wide = np.zeros((len(bright), 4), dtype=np.uint8)
    wide[:, : sampled.shape[1]] = sampled
    return wide.view(np.uint32)[:, 0]


class _Shapes:
    """The held-out images' variants by band, sorted for joining."""

    def __init__(self, bases: PictureSource) -> None:
        self.cells = band_cells()
        words, owners, keys = [np.empty((0, 4), np.uint64)], [np.empty(0, np.int64)], []
        for block in in_blocks(len(bases), BLOCK_BASES):
            turned = variants(bases[block], SEARCHED)
            bright = bright_cells(turned.reshape(-1, CELLS))
            is_seen = bright.any(axis=1)  # a flat picture has no cell above its mean
            words.append(_packed(bright)[is_seen])
            owners.append(np.repeat(np.arange(block.start, block.stop), turned.shape[1])[is_seen])
            keys.append(np.stack([_band_keys(bright[is_seen], cells) for cells in self.cells]))
        self.words, self.owners = np.concatenate(words), np.concatenate(owners)
        self.orders, self.keys = [], []
        for band in range(BANDS):
            column = np.concatenate([part[band] for part in keys] or [np.empty(0, np.uint32)])
            order = np.argsort(column, kind="stable").astype(np.int32)
            self.orders.append(order)
            self.keys.append(column[order])

    def candidates(self, thumbnails: Thumbnails) -> tuple[Rows, Rows]:
        """Return (rows, held-out rows) that share a band and differ in few cells; repeated pairs are joined."""
        bright = bright_cells(thumbnails)
        words = _packed(bright)
        is_flat = thumbnails.max(axis=1) == thumbnails.min(axis=1)
        near: list[Rows] = [np.empty(0, np.int64)]
        for band, cells in enumerate(self.cells):
            keys = _band_keys(bright, cells)
            starts = np.searchsorted(self.keys[band], keys, "left")
            counts = np.searchsorted(self.keys[band], keys, "right") - starts
            counts[is_flat] = 0
            near += [self._near(words, rows, self.orders[band][places]) for rows, places in expand(starts, counts)]
        together = np.unique(np.concatenate(near))
        return together // max(1, len(self.owners)), self.owners[together % max(1, len(self.owners))]

    def _near(self, words: np.ndarray[Any, Any], rows: Rows, shapes: np.ndarray[Any, Any]) -> Rows:
        apart = np.bitwise_count(words[rows] ^ self.words[shapes]).sum(axis=1)
        chosen = apart <= FARTHEST
        return rows[chosen] * len(self.owners) + shapes[chosen]


def expand(starts: Rows, counts: Rows) -> Any:
    """Yield (rows, places): row i with each of its counts[i] places from starts[i] on, in bounded parts."""
    filled = np.flatnonzero(counts)
    totals = np.cumsum(counts[filled])
    first = 0
    while first < len(filled):
        done = totals[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(totals, done + MOST_CANDIDATES, "right")))
        chosen = filled[first:last]
        number = counts[chosen]
        rows = np.repeat(chosen, number)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(number) - number, number)
        yield rows, np.repeat(starts[chosen], number) + within
        first = last
