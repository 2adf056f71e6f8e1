"""The contamination firewall: what a training pair may not share with the benchmarks' held-out pairs.

A generated pair goes when both its image and its words are nearly a held-out pair's: an image alone may be alike
(slices, templates of one kind), and a template's text alone always is. A source's own words, which no template
made, go when a 13-gram of them is a held-out source's own. Images that share pixels, a study, a perceptual hash or
an alteration with a held-out one are listed with the benchmark item they touch (`touched.py`).
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from components.pairs.columns import Keys, runs, split_ranks
from components.pairs.dedupe import Reasons, near_matches, no_reasons
from components.pairs.grams import GRAM_WORDS, grams_of
from components.pairs.pair_batches import PairBatch

if TYPE_CHECKING:
    import pyarrow as pa

EXTRA_BITS = 4  # beyond the near-duplicate distance, at which images are refused whatever is said of them
CONTAMINATES = "contaminates_held_out_pair"
REPEATS = "repeats_held_out_words"
TRAIN = 2
Rows = np.ndarray[Any, np.dtype[np.int64]]


class ImageLinks:
    """Which training images are alike to which held-out ones; equal hashes are one group, linked once."""

    def __init__(self, images: pa.Table, *, bits: int, is_usable: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
        hashes, is_train = np.asarray(images["perceptual_hash"]), split_ranks(images) == TRAIN
        self.train_group, ours = _groups(hashes, is_train & is_usable)
        self.held_group, theirs = _groups(hashes, ~is_train & is_usable)
        pairs = near_matches(ours, theirs, bits=bits)
        self._starts = np.searchsorted(pairs[:, 0], np.arange(len(ours) + 1))
        self._linked = pairs[:, 1]
        self.is_guarded = np.zeros(len(theirs) + 1, dtype=bool)  # the last one answers for "no group"
        self.is_guarded[self._linked] = True
        self.is_linked = np.zeros(len(ours) + 1, dtype=bool)
        self.is_linked[pairs[:, 0]] = True

    def linked_to(self, groups: Rows) -> set[int]:
        """Return the held-out groups that some training groups are alike to."""
        return {int(to) for group in groups for to in self._linked[self._starts[group] : self._starts[group + 1]]}


def _groups(hashes: Keys, chosen: np.ndarray[Any, np.dtype[np.bool_]]) -> tuple[Rows, Keys]:
    """Return each row's group (-1 when it is not chosen) and the groups' hashes."""
    unique, inverse = np.unique(hashes[chosen], return_inverse=True)
    groups = np.full(len(hashes), -1)
    groups[chosen] = inverse
    return groups, unique


class Firewall:
    """Learns the held-out pairs batch by batch, then judges the training pairs batch by batch."""

    def __init__(self, links: ImageLinks) -> None:
        self.links = links
        self._speakers: dict[int, set[int]] = defaultdict(set)  # gram -> held-out groups it is said of
        self._source: Keys = np.empty(0, dtype=np.uint64)  # grams of held-out sources' own words
        self._items: Rows = np.empty(0, dtype=np.int64)  # the image row that each of them is said in
        self._learnt: list[tuple[Keys, Rows]] = [(self._source, self._items)]
        self._repeated: list[Keys] = [self._source]
        self.touched_words: set[int] = set()

    def learn(self, batch: PairBatch, items: Rows | None = None) -> None:
        """Remember the words of the held-out pairs that need guarding.

        `items` are the image rows by which the pairs are listed when training repeats them: by default the first
        that each shows, -1 for none.
        """
        guarded = self._entries(batch, self.links.held_group, self.links.is_guarded, ~batch.is_train)
        for text, groups in guarded:
            for key in grams_of([text]).keys.tolist():
                self._speakers[key].update(groups.tolist())
        own = np.flatnonzero(batch.is_source & ~batch.is_train)
        grams = grams_of([batch.texts[row] for row in own])
        is_long = grams.words[grams.rows] >= GRAM_WORDS
        listed = batch.firsts if items is None else items
        self._learnt.append((grams.keys[is_long], listed[own][grams.rows[is_long]]))

    def close(self) -> None:
        """End the learning."""
        self._source, self._items = (np.concatenate(column) for column in zip(*self._learnt, strict=True))
        self._learnt = []

    def repeated_items(self) -> Rows:
        """Return the image rows of the held-out items whose own words a training pair repeated."""
        items = np.unique(self._items[np.isin(self._source, np.concatenate(self._repeated))])
        return items[items >= 0]

    def reasons(self, batch: PairBatch) -> Reasons:
        """Return why each pair must go, "" where it may stay."""
        reasons = no_reasons(len(batch))
        own = np.flatnonzero(batch.is_source & batch.is_train)
        if len(own) and len(self._source):
            grams = grams_of([batch.texts[row] for row in own])
            is_said = np.isin(grams.keys, self._source) & (grams.words[grams.rows] >= GRAM_WORDS)
            reasons[own[np.unique(grams.rows[is_said])]] = REPEATS
            self._repeated.append(np.unique(grams.keys[is_said]))
        for row, text, groups in self._linked(batch):
            linked = self.links.linked_to(groups)
            heard = (self._speakers.get(key, set()) & linked for key in grams_of([text]).keys.tolist())
            touched = set().union(*heard)
            if touched:
                reasons[row] = CONTAMINATES
                self.touched_words |= touched
        return reasons

    def _linked(self, batch: PairBatch) -> Any:
        group, is_linked = self.links.train_group, self.links.is_linked
        for row, groups in _chosen(batch, group, is_linked, batch.is_train):
            yield row, batch.texts[row], groups

    def _entries(self, batch: PairBatch, group: Rows, is_wanted: Any, rows: Any) -> Any:
        for row, groups in _chosen(batch, group, is_wanted, rows):
            yield batch.texts[row], groups


def _chosen(batch: PairBatch, group: Rows, is_wanted: np.ndarray[Any, Any], rows: np.ndarray[Any, Any]) -> Any:
    """Yield (pair, groups of its images that are wanted) of the chosen pairs that have any."""
    groups = np.where(batch.images >= 0, group[batch.images], -1)
    kept = is_wanted[groups] & rows[batch.owners]
    owners, wanted = batch.owners[kept], groups[kept]
    for first, last in runs(owners):
        yield int(owners[first]), wanted[first:last]
