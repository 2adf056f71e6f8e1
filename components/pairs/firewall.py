"""The contamination firewall: a training pair goes when both its image and its words are nearly a held-out pair's.

An image alone may be alike (slices, templates of one kind), and a text alone always is (wording templates), so
only both together count. Words are compared by 13-grams, as lm-evaluation-harness does; a shorter text counts
as one gram. Chinese is compared by characters.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from components.pairs.dedupe import hashes_of, near_matches
from components.pairs.images import ImageFacts

GRAM_WORDS = 13
EXTRA_BITS = 4  # beyond the near-duplicate distance, at which images are refused whatever is said of them
TOKEN = re.compile(r"[a-z0-9]+|[一-鿿]")
REASON = "contaminates_held_out_pair"


def held_out_links(images: Sequence[ImageFacts], *, bits: int) -> dict[str, set[str]]:
    """Return training record id -> held-out record ids whose image is within `bits`."""
    train = [facts for facts in images if facts.split == "train"]
    held_out = [facts for facts in images if facts.split != "train"]
    links: dict[str, set[str]] = defaultdict(set)
    for left, right in near_matches(hashes_of(train), hashes_of(held_out), bits=bits):
        links[train[left].record_id].add(held_out[right].record_id)
    return dict(links)


def grams_of(text: str) -> set[tuple[str, ...]]:
    """Return a text's 13-grams of words (characters in Chinese); a shorter text is one gram."""
    tokens = TOKEN.findall(text.lower())
    return {tuple(tokens[i : i + GRAM_WORDS]) for i in range(max(1, len(tokens) - GRAM_WORDS + 1))}


def text_of(row: dict[str, Any]) -> str:
    """Return a pair's turns as one text, without placeholders."""
    return " ".join(turn["value"].replace("<image>", "") for turn in row["conversations"])


class Firewall:
    """Knows the grams of the held-out pairs whose image is like some training image."""

    def __init__(self, links: dict[str, set[str]], rows: Iterable[dict[str, Any]]) -> None:
        self.links = links
        guarded = {record_id for linked in links.values() for record_id in linked}
        self.grams: dict[str, set[tuple[str, ...]]] = defaultdict(set)
        for row in rows if guarded else ():
            for record_id in guarded.intersection(row["record_ids"]):
                self.grams[record_id] |= grams_of(text_of(row))

    def reason(self, row: dict[str, Any]) -> str:
        """Return why a pair must go, or ""."""
        linked = {other for record_id in row["record_ids"] for other in self.links.get(record_id, ())}
        if row["split"] != "train" or not linked:
            return ""
        grams = grams_of(text_of(row))
        return REASON if any(grams & self.grams[other] for other in linked if other in self.grams) else ""
