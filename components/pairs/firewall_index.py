"""What the firewall has already measured and compared, on disk, so that only new images cost anything.

Everything is known by the hash of the pixels: an image that is already measured is not decoded again, and two
images that are already compared are not compared again. The answers are the same with and without the folder; it
may be deleted at any time. Another version of the comparison starts it anew.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.pairs import fingerprint, near_copies
from components.pairs.columns import KeyIndex, Keys, arrow_compute, keys_of, split_ranks
from components.pairs.fingerprint import in_blocks
from components.pairs.images import Measured
from components.pairs.near_copies import find_copies
from components.pairs.picture_column import Pictures
from components.tracking.commit import folder_aside, write_json
from components.tracking.digest import digest_json

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 1
SIDES = ("train", "held_out")
TRAIN, SAVED_ROWS = 2, 1 << 14
Links = dict[tuple[str, str], float]  # (training sha256, held-out sha256) -> likeness


def algorithm() -> str:
    """Return a digest of all that decides a measurement or a comparison."""
    copies = [near_copies.BANDS, near_copies.BAND_CELLS, near_copies.FARTHEST, near_copies.LIKENESS]
    pictures = [fingerprint.THUMBNAIL, fingerprint.BASE, fingerprint.SEARCHED, fingerprint.VERIFIED]
    return digest_json([VERSION, copies, pictures, fingerprint.LEAST_CONTRAST])


@dataclass
class FirewallIndex:
    """The memory; `compared` counts the comparisons that this run had to make (rows of both sides)."""

    folder: Path
    images: Any = None  # Arrow table sha256, entropy, thumbnail, base
    train: Keys = field(default_factory=lambda: np.empty(0, np.uint64))  # of what is already compared
    held_out: Keys = field(default_factory=lambda: np.empty(0, np.uint64))
    links: Links = field(default_factory=dict)
    compared: int = 0

    def __post_init__(self) -> None:
        self._index = None if self.images is None else KeyIndex(keys_of(self.images["sha256"]))

    def recall(self, sha256: str) -> Measured | None:
        """Return what is remembered of an image, or None."""
        if self._index is None:
            return None
        row = int(self._index.rows(keys_of([sha256]))[0])
        if row < 0 or self.images["sha256"][row].as_py() != sha256:
            return None
        return Measured(*(self.images[name][row].as_py() for name in ("entropy", "thumbnail", "base")))

    def forget_pictures(self) -> None:
        """Let go of what was measured, once nobody will recall it."""
        self.images = self._index = None

    def update(self, images: pa.Table) -> Links:
        """Return the altered copies among an image table's rows, comparing only what is new."""
        train, held_out = (_Side(images, is_train=is_train) for is_train in (True, False))
        is_new, held_is_new = ~np.isin(train.keys, self.train), ~np.isin(held_out.keys, self.held_out)
        known = self._still_here(train.keys[~is_new], held_out.keys[~held_is_new])
        known |= self._compare(train.only(is_new), held_out)
        known |= self._compare(train.only(~is_new), held_out.only(held_is_new))
        self.train, self.held_out, self.links = np.sort(train.keys), np.sort(held_out.keys), known
        return known

    def _still_here(self, train: Keys, held_out: Keys) -> Links:
        """Return the remembered copies of which both images are still in the corpus, on the same sides."""
        pairs = list(self.links)
        is_here = np.isin(keys_of([one for one, _ in pairs]), train)
        is_here &= np.isin(keys_of([other for _, other in pairs]), held_out)
        return {pair: self.links[pair] for pair, is_kept in zip(pairs, is_here, strict=True) if is_kept}

    def _compare(self, train: _Side, held_out: _Side) -> Links:
        if not len(train.keys) or not len(held_out.keys):
            return {}
        self.compared += len(train.keys) + len(held_out.keys)
        found = find_copies(train.pictures, held_out.pictures)
        pairs = zip(train.names(found.train), held_out.names(found.held_out), strict=True)
        return dict(zip(pairs, found.likeness.tolist(), strict=True))

    def save(self, images: pa.Table) -> None:
        """Remember this run's images in place of the ones before, a part in memory at a time."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        with folder_aside(self.folder) as scratch:
            kept, rows = images.select(["sha256", "entropy", "thumbnail", "base"]), _remembered(images)
            with pq.ParquetWriter(scratch / "images.parquet", kept.schema, compression="zstd") as writer:
                for block in in_blocks(len(rows), SAVED_ROWS):
                    writer.write_table(kept.take(pa.array(rows[block])))
            links = [[*pair, round(score, 6)] for pair, score in sorted(self.links.items())]
            for name, keys in (("train", self.train), ("held_out", self.held_out)):
                pq.write_table(pa.table({"key": keys}), scratch / f"{name}.parquet", compression="zstd")
            write_json(scratch / "links.json", {"algorithm": algorithm(), "links": links})


def load_index(folder: Path) -> FirewallIndex:
    """Return what is remembered in a folder; nothing when there is none or another version wrote it."""
    import pyarrow.parquet as pq

    path = folder / "links.json"
    content = json.loads(path.read_text()) if path.is_file() else {}
    if content.get("algorithm") != algorithm():
        return FirewallIndex(folder)
    train, held_out = (np.asarray(pq.read_table(folder / f"{name}.parquet")["key"]) for name in SIDES)
    return FirewallIndex(
        folder, pq.read_table(folder / "images.parquet"), train, held_out,
        {(left, right): score for left, right, score in content["links"]},
    )  # fmt: skip


class _Side:
    """The distinct images of one side of the firewall that have a picture; the table itself is never copied."""

    def __init__(self, images: pa.Table, *, is_train: bool) -> None:
        pc = arrow_compute()
        is_mine = (split_ranks(images) == TRAIN) == is_train
        is_mine &= np.asarray(pc.greater(pc.binary_length(images["thumbnail"]), 0))
        rows = np.flatnonzero(is_mine)
        keys, first = np.unique(keys_of(images["sha256"])[rows], return_index=True)
        order = np.argsort(first)
        self.keys, self._names = keys[order], images["sha256"]
        self.pictures = Pictures(images["thumbnail" if is_train else "base"], rows[first[order]])

    def only(self, chosen: Any) -> _Side:
        """Return some of the images."""
        part = object.__new__(_Side)
        part.keys, part._names, part.pictures = self.keys[chosen], self._names, self.pictures.only(chosen)
        return part

    def names(self, places: Any) -> list[str]:
        """Return the sha256 of the images at some places."""
        return self._names.take(self.pictures.rows[places]).to_pylist()


def _remembered(images: pa.Table) -> Any:
    """Return one row for each distinct image: a held-out one where there is one, because it has the base."""
    order = np.argsort(split_ranks(images) == TRAIN, kind="stable")
    _, first = np.unique(keys_of(images["sha256"])[order], return_index=True)
    return np.sort(order[first])
