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
from components.pairs.columns import KeyIndex, Keys, arrow_compute, keys_of
from components.pairs.images import Measured
from components.pairs.near_copies import find_copies
from components.tracking.commit import folder_aside, write_json
from components.tracking.digest import digest_json

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 1
SIDES = ("train", "held_out")
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

    def update(self, images: pa.Table) -> Links:
        """Return the altered copies among an image table's rows, comparing only what is new."""
        seen = _distinct(images)
        train, held_out = seen.filter(_is(seen, "train")), seen.filter(_is(seen, "train", negated=True))
        keys, held_keys = keys_of(train["sha256"]), keys_of(held_out["sha256"])
        is_new, held_is_new = ~np.isin(keys, self.train), ~np.isin(held_keys, self.held_out)
        known = self._still_here(keys[~is_new], held_keys[~held_is_new])
        known |= self._compare(train.filter(is_new), held_out)
        known |= self._compare(train.filter(~is_new), held_out.filter(held_is_new))
        self.train, self.held_out, self.links = np.sort(keys), np.sort(held_keys), known
        return known

    def _still_here(self, train: Keys, held_out: Keys) -> Links:
        """Return the remembered copies of which both images are still in the corpus, on the same sides."""
        pairs = list(self.links)
        is_here = np.isin(keys_of([one for one, _ in pairs]), train)
        is_here &= np.isin(keys_of([other for _, other in pairs]), held_out)
        return {pair: self.links[pair] for pair, is_kept in zip(pairs, is_here, strict=True) if is_kept}

    def _compare(self, train: pa.Table, held_out: pa.Table) -> Links:
        if not len(train) or not len(held_out):
            return {}
        self.compared += len(train) + len(held_out)
        found = find_copies(pictures(train["thumbnail"]), pictures(held_out["base"]))
        left, right = train["sha256"].take(found.train), held_out["sha256"].take(found.held_out)
        pairs = zip(left.to_pylist(), right.to_pylist(), strict=True)
        return dict(zip(pairs, found.likeness.tolist(), strict=True))

    def save(self, images: pa.Table) -> None:
        """Remember this run's images in place of the ones before."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        with folder_aside(self.folder) as scratch:
            kept = _distinct(images, keep_all=True).select(["sha256", "entropy", "thumbnail", "base"])
            pq.write_table(kept, scratch / "images.parquet", compression="zstd")
            rows = [[*pair, round(score, 6)] for pair, score in sorted(self.links.items())]
            for name, keys in (("train", self.train), ("held_out", self.held_out)):
                pq.write_table(pa.table({"key": keys}), scratch / f"{name}.parquet", compression="zstd")
            write_json(scratch / "links.json", {"algorithm": algorithm(), "links": rows})


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


def pictures(column: Any) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return a column of equally long bytes as (N, bytes) without making a Python object a row."""

    parts = [part for part in getattr(column, "chunks", [column]) if len(part)]
    return np.concatenate([_picture_rows(part) for part in parts]) if parts else np.empty((0, 0), np.uint8)


def _picture_rows(part: pa.BinaryArray) -> np.ndarray[Any, np.dtype[np.uint8]]:
    offsets = np.frombuffer(part.buffers()[1], dtype=np.int32)[part.offset : part.offset + len(part) + 1]
    content = np.frombuffer(part.buffers()[2], dtype=np.uint8)[offsets[0] : offsets[-1]]
    return content.reshape(len(part), -1)


def _is(table: pa.Table, split: str, *, negated: bool = False) -> Any:
    pc = arrow_compute()
    return pc.not_equal(table["split"], split) if negated else pc.equal(table["split"], split)


def _distinct(images: pa.Table, *, keep_all: bool = False) -> pa.Table:
    """Keep one row a (pixels, side of the firewall), the first; without `keep_all` only those with pictures."""
    pc = arrow_compute()
    if not keep_all:
        images = images.filter(pc.greater(pc.binary_length(images["thumbnail"]), 0))
    is_held_out = np.asarray(pc.not_equal(images["split"], "train"))
    if keep_all:
        order = np.argsort(~is_held_out, kind="stable")  # a held-out row has the base
        images, is_held_out = images.take(order), np.zeros(len(images), dtype=bool)
    keys = keys_of(images["sha256"]) ^ is_held_out.astype(np.uint64)
    _, first = np.unique(keys, return_index=True)
    return images.take(np.sort(first))
