"""Near-duplicate images inside the training split, of one source or of two: one figure in two collections.

Two images are near when their 64-bit perceptual hashes are at most a few bits apart. Images of one study are alike
on purpose (slices, frames, views) and never refuse each other. Of the others the first by record id stays. Off by
default. Time grows as sorting does: a hash is compared with the `WINDOW` next ones that share two of its bands, in
the order of their values, so that a million alike hashes cost no more than a million others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from components.pairs.columns import Keys, arrow_compute, keys_of, mixed, split_ranks
from components.pairs.dedupe import Hashes, Reasons, band_masks, no_reasons
from components.pairs.firewall import TRAIN

if TYPE_CHECKING:
    import pyarrow as pa

NEAR, NEAR_ACROSS = "near_duplicate_image", "near_duplicate_of_another_source"
COMPARED_WITHIN = ("record_id", "split", "source", "study_key", "perceptual_hash")
WINDOW = 32
Rows = np.ndarray[Any, np.dtype[np.int64]]


def training_duplicates(images: pa.Table, *, bits: int) -> Reasons:
    """Return the reason to refuse each training image within `bits` of an earlier one of another study."""
    reasons = no_reasons(len(images))
    rows = _by_record_id(images)
    if not len(rows):
        return reasons
    unique, hashes = np.unique(np.asarray(images["perceptual_hash"])[rows], return_inverse=True)
    studies, sources = (keys_of(images[name].take(rows)) for name in ("study_key", "source"))
    _, first, units = np.unique(
        mixed(studies, hashes.astype(np.uint64)), return_index=True, return_inverse=True
    )  # a unit: the images of one study with one hash
    near = _Neighbours(unique, bits=bits)
    found = _judge_units(np.sort(first), hashes, studies, sources, near)
    for why, members in found.items():
        reasons[rows[np.isin(units, units[members])]] = why
    return reasons


def _by_record_id(images: pa.Table) -> Rows:
    """Return the training rows in the order of their record ids."""
    import pyarrow as pa

    rows = np.flatnonzero(split_ranks(images) == TRAIN)
    ids = images["record_id"].take(pa.array(rows))
    return rows[np.asarray(arrow_compute().sort_indices(ids))]


def _judge_units(
    firsts: Rows, hashes: Rows, studies: Keys, sources: Keys, near: _Neighbours
) -> dict[str, list[int]]:
    """Return the first rows of the units to refuse, by reason; only hashes with a rival are looked at."""
    shared = np.bincount(hashes[firsts], minlength=near.number) > 1
    kept: dict[int, int] = {}  # hash -> the unit that stays
    refused: dict[str, list[int]] = {NEAR: [], NEAR_ACROSS: []}
    for unit in firsts[(shared | near.has_any)[hashes[firsts]]].tolist():
        own = int(hashes[unit])
        around = [kept[one] for one in (own, *near.of(own)) if one in kept]
        rivals = [one for one in around if studies[one] != studies[unit]]
        if not rivals:
            kept[own] = unit
        elif any(sources[one] == sources[unit] for one in rivals):
            refused[NEAR].append(unit)
        else:
            refused[NEAR_ACROSS].append(unit)
    return refused


class _Neighbours:
    """Which of some distinct, sorted hashes are near which."""

    def __init__(self, unique: Hashes, *, bits: int) -> None:
        self.number = len(unique)
        pairs = near_within(unique, bits=bits)
        both = np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)
        self._starts = np.searchsorted(both[:, 0], np.arange(self.number + 1))
        self._others = both[:, 1]
        self.has_any = np.diff(self._starts) > 0

    def of(self, place: int) -> list[int]:
        """Return the hashes near one."""
        return self._others[self._starts[place] : self._starts[place + 1]].tolist()


def near_within(unique: Hashes, *, bits: int) -> Rows:
    """Return (M, 2): places i < j of distinct, sorted hashes at most `bits` apart, of those compared.

    At most WINDOW comparisons a hash and pair of bands; in a more crowded band the nearest by value are compared.
    """
    found = [np.empty((0, 2), dtype=np.int64)]
    for mask in band_masks(bits) if bits else ():
        order = np.argsort(unique & mask, kind="stable")
        keys = (unique & mask)[order]
        places = np.arange(len(order))
        for step in range(1, WINDOW + 1):
            places = places[places + step < len(order)]
            places = places[keys[places] == keys[places + step]]
            if not len(places):
                break
            left, right = order[places], order[places + step]
            is_near = np.bitwise_count(unique[left] ^ unique[right]) <= bits
            found.append(np.stack([left[is_near], right[is_near]], axis=1))
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)
