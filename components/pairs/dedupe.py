"""Duplicate images: exact by the hash of their pixels, near by the distance of 64-bit perceptual hashes.

Of one split, the first of equal images by record id stays. Across splits the held-out one stays, whatever its
id: test before validation before train. Near duplicates are looked for across splits only, because slices of
one volume are alike on purpose. Nothing here is quadratic in Python; distances are taken by numpy over hash
bands (two hashes within d bits agree on at least one of d + 1 bands).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from components.pairs.images import ImageFacts

HELD_OUT_FIRST = ("test", "validation", "train")
BANDED_BITS = 7  # above it bands get so short that a blocked comparison is cheaper
BLOCK = 1024
Hashes = np.ndarray[Any, np.dtype[np.uint64]]


def exact_duplicates(images: Sequence[ImageFacts]) -> dict[str, str]:
    """Return record id -> reason for every image whose pixels another, kept image has."""
    refused: dict[str, str] = {}
    first: dict[str, str] = {}
    for facts in sorted(images, key=lambda one: (HELD_OUT_FIRST.index(one.split), one.record_id)):
        keeper = first.setdefault(facts.sha256, facts.split)
        if keeper != facts.split:
            refused[facts.record_id] = f"duplicate_of_{keeper}_image"
        elif facts.record_id != _first_id(first, facts):
            refused[facts.record_id] = "duplicate_image"
    return refused


def _first_id(first: dict[str, str], facts: ImageFacts) -> str:
    return first.setdefault(f"id\x1f{facts.sha256}", facts.record_id)


def near_duplicates(images: Sequence[ImageFacts], *, bits: int) -> dict[str, str]:
    """Return record id -> reason for images within `bits` of a held-out one of another split."""
    refused: dict[str, str] = {}
    for index, keeper in enumerate(HELD_OUT_FIRST):
        kept = [facts for facts in images if facts.split == keeper and facts.record_id not in refused]
        others = [facts for facts in images if facts.split in HELD_OUT_FIRST[index + 1 :]]
        for left, _ in near_matches(hashes_of(others), hashes_of(kept), bits=bits):
            refused.setdefault(others[left].record_id, f"near_duplicate_of_{keeper}_image")
    return refused


def hashes_of(images: Sequence[ImageFacts]) -> Hashes:
    """Return the images' perceptual hashes as one array (N,) of uint64."""
    return np.array([facts.perceptual_hash for facts in images], dtype=np.uint64)


def near_matches(left: Hashes, right: Hashes, *, bits: int) -> list[tuple[int, int]]:
    """Return all (i, j) with left[i] and right[j] at most `bits` apart (Hamming), in order."""
    left_unique, left_inverse = np.unique(left, return_inverse=True)
    right_unique, right_inverse = np.unique(right, return_inverse=True)
    matcher = _banded if bits <= BANDED_BITS else _blocked
    pairs = matcher(left_unique, right_unique, bits)
    left_rows, right_rows = _positions(left_inverse), _positions(right_inverse)
    return sorted((i, j) for a, b in pairs for i in left_rows[a] for j in right_rows[b])


def _positions(inverse: np.ndarray[Any, Any]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for position, value in enumerate(inverse.tolist()):
        found.setdefault(value, []).append(position)
    return found


def _banded(left: Hashes, right: Hashes, bits: int) -> set[tuple[int, int]]:
    edges = np.linspace(0, 64, bits + 2).astype(int)
    found: set[tuple[int, int]] = set()
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        rows, columns = _equal_bands(_band(left, low, high), _band(right, low, high))
        near = np.bitwise_count(left[rows] ^ right[columns]) <= bits
        found.update(zip(rows[near].tolist(), columns[near].tolist(), strict=True))
    return found


def _band(hashes: Hashes, low: int, high: int) -> Hashes:
    if high - low == 64:
        return hashes
    return (hashes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)


def _equal_bands(left: Hashes, right: Hashes) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the index pairs (rows, columns) with equal keys: a sort-merge join."""
    order = np.argsort(right, kind="stable")
    keys = right[order]
    starts, ends = np.searchsorted(keys, left, "left"), np.searchsorted(keys, left, "right")
    counts = ends - starts
    rows = np.repeat(np.arange(len(left)), counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows, order[np.repeat(starts, counts) + within]


def _blocked(left: Hashes, right: Hashes, bits: int) -> set[tuple[int, int]]:
    found: set[tuple[int, int]] = set()
    for start in range(0, len(left), BLOCK):
        near = np.bitwise_count(left[start : start + BLOCK, None] ^ right[None, :]) <= bits
        rows, columns = np.nonzero(near)
        found.update(zip((rows + start).tolist(), columns.tolist(), strict=True))
    return found
