"""Which items show a picture that training saw, so that a clean score can stand beside the full one.

The hashes are those of the contamination firewall (`components/pairs`): equal pixels, or perceptual hashes
within the firewall's distance. A picture alone counts here, whatever is asked of it: the stricter reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.evaluation.items import Item
from components.pairs.dedupe import near_matches
from components.pairs.firewall import EXTRA_BITS
from components.tracking.tables import iterate_rows

COLUMNS = ("record_id", "sha256", "perceptual_hash")


@dataclass(frozen=True)
class Seen:
    """Hashes of the training pictures: of their pixels, and perceptual ones (16 hex digits)."""

    pixels: frozenset[str]
    perceptual: frozenset[str]
    bits: int = EXTRA_BITS

    def near(self, perceptual: Sequence[str]) -> set[int]:
        """Return the places of the hashes that are within `bits` of a training picture's."""
        import numpy as np

        places = [place for place, value in enumerate(perceptual) if value]
        left = np.array([int(perceptual[place], 16) for place in places], dtype=np.uint64)
        right = np.array(sorted(int(value, 16) for value in self.perceptual), dtype=np.uint64)
        if not len(left) or not len(right):
            return set()
        return {places[i] for i, _ in near_matches(left, right, bits=self.bits)}


def pictures_trained_on(records: Path, curated: Path) -> Seen:
    """Collect the hashes of every picture of a training pair."""
    used = {
        name
        for row in iterate_rows(curated, ["record_ids", "split"])
        if row["split"] == "train"
        for name in row["record_ids"]
    }
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
