"""Duplicate images: exact by the hash of their pixels, near by the distance of 64-bit perceptual hashes.

Of one split, the first of equal images by record id stays. Across splits the held-out one stays, whatever its
id: test before validation before train. Near duplicates are looked for across splits only, because slices of
one volume are alike on purpose (inside training, where asked for: `within_training.py`). Columns go in and columns
come out. Distances are taken over hash bands: two hashes within d bits agree on at least two of d + 2 bands, so
only rows that share two bands are compared.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from components.pairs.columns import HELD_OUT_FIRST, Keys, keys_of, split_ranks
from components.pairs.near_copies import expand

if TYPE_CHECKING:
    import pyarrow as pa

BANDED_BITS = 7  # above it bands get so short that a blocked comparison is cheaper
BLOCK = 1024
Hashes = np.ndarray[Any, np.dtype[np.uint64]]
Reasons = np.ndarray[Any, np.dtype[np.object_]]  # one reason a row, "" for none


def no_reasons(number: int) -> Reasons:
    """Return a column of "": one shared text, 8 bytes a row."""
    return np.full(number, "", dtype=object)


def exact_duplicates(images: pa.Table) -> Reasons:
    """Return the reason to refuse each image whose pixels another, kept image has."""
    reasons = no_reasons(len(images))
    rows = _repeated(keys_of(images["sha256"]))
    first: dict[str, tuple[int, str]] = {}
    few = images.select(["record_id", "sha256"]).take(rows).to_pydict()
    ranks = split_ranks(images)[rows]
    for place in sorted(range(len(rows)), key=lambda at: (ranks[at], few["record_id"][at])):
        rank, record_id = int(ranks[place]), few["record_id"][place]
        keeper, keeper_id = first.setdefault(few["sha256"][place], (rank, record_id))
        if keeper != rank:
            reasons[rows[place]] = f"duplicate_of_{HELD_OUT_FIRST[keeper]}_image"
        elif keeper_id != record_id:
            reasons[rows[place]] = "duplicate_image"
    return reasons


def _repeated(keys: Keys) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the rows whose key another row has too."""
    order = np.argsort(keys, kind="stable")
    same = keys[order][1:] == keys[order][:-1]
    is_repeated = np.zeros(len(keys), dtype=bool)
    is_repeated[order[1:][same]] = is_repeated[order[:-1][same]] = True
    return np.flatnonzero(is_repeated)


def near_duplicates(images: pa.Table, *, bits: int) -> Reasons:
    """Return the reason to refuse each image within `bits` of a held-out one of another split."""
    reasons = no_reasons(len(images))
    is_free = np.ones(len(images), dtype=bool)
    hashes, ranks = np.asarray(images["perceptual_hash"]), split_ranks(images)
    for keeper, name in enumerate(HELD_OUT_FIRST):
        others = np.flatnonzero(is_free & (ranks > keeper))
        is_hit = has_near(hashes[others], hashes[is_free & (ranks == keeper)], bits=bits)
        reasons[others[is_hit]] = f"near_duplicate_of_{name}_image"
        is_free[others[is_hit]] = False
    return reasons


def has_near(left: Hashes, right: Hashes, *, bits: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Tell which of the left hashes have a right one at most `bits` apart."""
    unique, inverse = np.unique(left, return_inverse=True)
    is_hit = np.zeros(len(unique), dtype=bool)
    is_hit[near_matches(unique, np.unique(right), bits=bits)[:, 0]] = True
    return is_hit[inverse]


def near_matches(left: Hashes, right: Hashes, *, bits: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return (M, 2): all (i, j) with left[i] and right[j] at most `bits` apart (Hamming), in order.

    The number of matches may be the product of both; hand in distinct hashes where many are equal.
    """
    if not len(left) or not len(right):
        return np.empty((0, 2), dtype=np.int64)
    return np.unique((_banded if bits <= BANDED_BITS else _blocked)(left, right, bits), axis=0)


def band_masks(bits: int) -> list[np.uint64]:
    """Return the masks of all pairs of bits + 2 bands: hashes within `bits` agree on one of them at least."""
    edges = np.linspace(0, 64, bits + 3).astype(int)
    bands = list(zip(edges[:-1], edges[1:], strict=True))
    return [
        np.uint64(sum(((1 << int(high - low)) - 1) << int(low) for low, high in pair))
        for pair in combinations(bands, 2)
    ]


def _banded(left: Hashes, right: Hashes, bits: int) -> np.ndarray[Any, Any]:
    found = [np.empty((0, 2), dtype=np.int64)]
    for mask in band_masks(bits):
        order = np.argsort(right & mask, kind="stable")
        keys, wanted = (right & mask)[order], left & mask
        starts = np.searchsorted(keys, wanted, "left")
        for rows, places in expand(starts, np.searchsorted(keys, wanted, "right") - starts):
            columns = order[places]
            near = np.bitwise_count(left[rows] ^ right[columns]) <= bits
            found.append(np.stack([rows[near], columns[near]], axis=1))
    return np.concatenate(found)


def _blocked(left: Hashes, right: Hashes, bits: int) -> np.ndarray[Any, Any]:
    found = [np.empty((0, 2), dtype=np.int64)]
    for start in range(0, len(left), BLOCK):
        near = np.bitwise_count(left[start : start + BLOCK, None] ^ right[None, :]) <= bits
        rows, columns = np.nonzero(near)
        found.append(np.stack([rows + start, columns], axis=1))
    return np.concatenate(found)
