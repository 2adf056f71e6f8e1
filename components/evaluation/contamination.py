"""Which items training has seen something of, so that a clean score can stand beside the full one.

The ways are those of the contamination firewall (`components/pairs`): equal pixels, perceptual hashes within the
firewall's distance and, for published items, altered copies (resized, recompressed, cropped, flipped or
re-windowed), a patient's key, and 13-grams of the words of training's sources. A picture alone counts here,
whatever is asked of it: the stricter reading. Curation refused altered copies of the corpus's own held-out images
already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.evaluation.items import Item
from components.pairs.dedupe import near_matches
from components.pairs.firewall import EXTRA_BITS
from components.pairs.firewall_index import load_index
from components.pairs.grams import GRAM_WORDS, grams_of
from components.pairs.images import measure
from components.pairs.measure import measure_images
from components.pairs.near_copies import find_copies
from components.pairs.pair_batches import read_batches
from components.pairs.picture_column import Pictures
from components.tracking.tables import iterate_rows

COLUMNS = ("record_id", "sha256", "perceptual_hash")
MOST_SHARED = 10  # items that share a gram; beyond it the words are the benchmark's form, and no item's own


@dataclass(frozen=True)
class Seen:
    """Hashes of the training pictures: of their pixels, and perceptual ones (16 hex digits)."""

    pixels: frozenset[str]
    perceptual: frozenset[str]
    bits: int = EXTRA_BITS

    def near(self, perceptual: Sequence[str]) -> set[int]:
        """Return the places of the hashes that are within `bits` of a training picture's."""
        places = [place for place, value in enumerate(perceptual) if value]
        left = np.array([int(perceptual[place], 16) for place in places], dtype=np.uint64)
        right = np.array(sorted(int(value, 16) for value in self.perceptual), dtype=np.uint64)
        if not len(left) or not len(right):
            return set()
        return {places[i] for i, _ in near_matches(left, right, bits=self.bits)}


def pictures_trained_on(records: Path, curated: Path) -> Seen:
    """Collect the hashes of every picture of a training pair."""
    used = _trained_on(curated)
    rows = [row for row in iterate_rows(records, COLUMNS) if row["record_id"] in used]
    return Seen(
        frozenset(row["sha256"] for row in rows),
        frozenset(row["perceptual_hash"] for row in rows if row["perceptual_hash"]),
    )


def items_seen(items: Sequence[Item], rows: dict[str, dict[str, Any]], seen: Seen) -> set[str]:
    """Return the ids of the items with a picture in `seen`; `rows` holds the records' hashes by id."""
    names = sorted({name for item in items for name in item.record_ids})
    close = seen.near([rows[name]["perceptual_hash"] for name in names])
    known = {name for place, name in enumerate(names) if place in close or rows[name]["sha256"] in seen.pixels}
    return {item.item_id for item in items if known.intersection(item.record_ids)}


def _trained_on(curated: Path) -> set[str]:
    """Name the records of every training pair."""
    return {
        name
        for row in iterate_rows(curated, ["record_ids", "split"])
        if row["split"] == "train"
        for name in row["record_ids"]
    }


def copies_seen(pictures: Mapping[str, bytes], records: Path, curated: Path, *, index: Path) -> set[str]:
    """Return the names of the pictures of which a training picture is an altered copy.

    `index` is the firewall's memory: what it has measured is not decoded again.
    """
    names = sorted(pictures)
    bases = [measure(pictures[name], with_base=True).base for name in names]
    shown = [place for place, base in enumerate(bases) if base]
    if not shown:
        return set()
    used = _trained_on(curated)
    trained = measure_images(records, recall=load_index(index).recall)
    rows = [
        place
        for place, (name, small) in enumerate(
            zip(trained["record_id"].to_pylist(), trained["thumbnail"].to_pylist(), strict=True)
        )
        if name in used and small
    ]
    held: Any = np.stack([np.frombuffer(bases[place], dtype=np.uint8) for place in shown])
    found = find_copies(Pictures(trained["thumbnail"], np.array(rows, dtype=np.int64)), held)
    return {names[shown[place]] for place in np.unique(found.held_out).tolist()}


def words_seen(items: Sequence[Item], curated: Path) -> set[str]:
    """Return the ids of the items of which a training source's own text repeats 13 words."""
    grams = grams_of([f"{item.question}\x1f{item.reference}" for item in items])
    is_long = grams.words[grams.rows] >= GRAM_WORDS
    pairs = np.unique(np.stack([grams.keys[is_long], grams.rows[is_long].astype(np.uint64)], axis=1), axis=0)
    keys, shared = np.unique(pairs[:, 0], return_counts=True)
    own = keys[shared <= MOST_SHARED]
    repeated = np.zeros(len(own), dtype=bool)
    for batch in read_batches(curated, lambda wanted: np.full(len(wanted), -1)):
        chosen = np.flatnonzero(batch.is_source & batch.is_train)
        if len(chosen) and len(own):
            repeated |= np.isin(own, grams_of([batch.texts[row] for row in chosen]).keys)
    hit = pairs[np.isin(pairs[:, 0], own[repeated]), 1]
    return {items[int(row)].item_id for row in np.unique(hit)}


def patients_seen(items: Sequence[Item], curated: Path) -> set[str]:
    """Return the ids of the items of a patient whom training saw, where both sides state one key."""
    rows = iterate_rows(curated, ["patient_key", "split"])
    known = {row["patient_key"] for row in rows if row["split"] == "train" and row["patient_key"]}
    return {item.item_id for item in items if item.patient_key in known}
