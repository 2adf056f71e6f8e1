"""Varying of finished pairs, off unless the settings ask: other words, shrunk boxes, several turns, balance.

Every varied pair is made from the annotation as the first one was, and read back before it is kept. Held-out pairs
are never varied, so that benchmarks ask what they always asked. Chance comes from pair ids alone.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from components.pairs.generate import TemplateGenerator
from components.pairs.mixture import unit_hash
from components.records import Box, Pair, Record, Region, Turn, stable_id
from components.settings import Augmentation

PLACEHOLDER = "<image>\n"
ROUNDING = 1e-5  # of a hundredth
OVER_SHARE = "question_type_over_share"
BALANCED_KIND = "percept"
JITTERED_TYPES = ("region",)  # the box stands in the question; a gold box is never moved
JITTERED_KINDS = ("region_caption", "percept")
Make = Callable[[Record, TemplateGenerator, Sequence[str]], Iterable[Pair]]


@dataclass(frozen=True)
class Augmenter:
    """Varies one record's pairs. `make` generates and reads back; `kept_share` is 0-1 by question type."""

    options: Augmentation
    templates: TemplateGenerator
    make: Make
    kept_share: Mapping[str, float] = field(default_factory=dict)

    def vary(self, pairs: Sequence[Pair], record: Record, *, kinds: Sequence[str]) -> list[Pair]:
        """Return a record's pairs with what was added, thinned and grouped; refused ones pass as they are."""
        if record.split != "train":
            return list(pairs)
        added = [*self._paraphrases(pairs, record, kinds), *self._jittered(pairs, record, kinds)]
        known = {pair.pair_id for pair in pairs}
        fresh = {pair.pair_id: pair for pair in added if pair.pair_id not in known}
        thinned = [self._thinned(pair) for pair in (*pairs, *fresh.values())]
        return group_turns(thinned, most=self.options.turns)

    def _thinned(self, pair: Pair) -> Pair:
        share = self.kept_share.get(pair.question_type, 1.0) if pair.kind == BALANCED_KIND else 1.0
        if pair.rejected_reason or unit_hash(pair.pair_id, self.templates.seed) < share:
            return pair
        return replace(pair, rejected_reason=OVER_SHARE)

    def _paraphrases(self, pairs: Sequence[Pair], record: Record, kinds: Sequence[str]) -> Iterator[Pair]:
        """Yield second wordings of the chosen pairs: the same question, answer and boxes in other words."""
        wanted = {meaning(pair) for pair in pairs if self._is_chosen(pair, "again", self.options.paraphrase_share)}
        if wanted:
            for pair in self.make(record, self._other(), kinds):
                if meaning(pair) in wanted and pair.generator.name == "templates":
                    yield pair

    def _jittered(self, pairs: Sequence[Pair], record: Record, kinds: Sequence[str]) -> Iterator[Pair]:
        """Yield questions about shrunk boxes in place of the chosen pairs' boxes."""
        chosen = [pair for pair in pairs if pair.kind in JITTERED_KINDS and base_type(pair) in JITTERED_TYPES]
        chosen = [pair for pair in chosen if self._is_chosen(pair, "shrink", self.options.jitter_share)]
        if chosen:
            rng = Random(stable_id(self.templates.seed, record.record_id, "jitter"))
            shrunk = replace(record, regions=tuple(shrink(r, rng, self.options.jitter) for r in record.regions))
            labels = {(pair.kind, pair.labels) for pair in chosen}
            wanted = [kind for kind in JITTERED_KINDS if kind in kinds]
            for pair in self.make(shrunk, self.templates, wanted):
                if base_type(pair) in JITTERED_TYPES and (pair.kind, pair.labels) in labels:
                    yield pair

    def _is_chosen(self, pair: Pair, purpose: str, share: float) -> bool:
        is_made = pair.generator.name != "source" and not pair.rejected_reason
        return is_made and unit_hash(f"{purpose}\x1f{pair.pair_id}", self.templates.seed) < share

    def _other(self) -> TemplateGenerator:
        return self.templates.again(seed=self.templates.seed + 1)


def base_type(pair: Pair) -> str:
    """Return a pair's question type without its level: "region" of "region/hard"."""
    return pair.question_type.partition("/")[0]


def meaning(pair: Pair) -> tuple[object, ...]:
    """Return what two wordings of one question share."""
    answer = pair.answer if pair.options else ""
    return pair.kind, pair.question_type, pair.language, pair.record_ids, pair.labels, pair.boxes, answer


def shrink(region: Region, rng: Random, most: float) -> Region:
    """Move each side inwards by up to `most` of the box, then to the next hundredth inwards.

    So the box never leaves the object's own box, not even as it is written, with two decimals. A box that is too
    small for that comes back with no area, and nothing is said of it.
    What the source measured of the whole object is not said of a part of it.
    """
    left, top, right, bottom = region.box
    wide, high = right - left, bottom - top
    inner: Box = (
        inwards(left + rng.random() * most * wide), inwards(top + rng.random() * most * high),
        -inwards(-(right - rng.random() * most * wide)), -inwards(-(bottom - rng.random() * most * high)),
    )  # fmt: skip
    return replace(region, box=inner, area_fraction=0.0, area_mm2=0.0)


def inwards(edge: float) -> float:
    """Return the next hundredth that is not less; boxes are kept in 32 bits, so their last digits are noise."""
    return math.ceil(edge * 100 - ROUNDING) / 100


def group_turns(pairs: Sequence[Pair], *, most: int) -> list[Pair]:
    """Join pairs about one image, in one language, into conversations of up to `most` questions.

    A conversation keeps the kind of its parts; only the first question shows the image. Pairs with gold boxes or
    the source's own words stay alone, and so do refused ones.
    """
    if most == 1:
        return list(pairs)
    groups: dict[tuple[object, ...], list[Pair]] = {}
    alone: list[Pair] = []
    for pair in pairs:
        if pair.rejected_reason or pair.boxes or pair.generator.name == "source" or len(pair.record_ids) != 1:
            alone.append(pair)
        else:
            groups.setdefault((pair.record_ids, pair.language, pair.kind, pair.generator), []).append(pair)
    joined = [_joined(group[i : i + most]) for group in groups.values() for i in range(0, len(group), most)]
    return alone + joined


def _joined(pairs: Sequence[Pair]) -> Pair:
    first, rest = pairs[0], pairs[1:]
    if not rest:
        return first
    later = [
        Turn(turn.speaker, turn.value.removeprefix(PLACEHOLDER)) for pair in rest for turn in pair.conversations
    ]
    return replace(
        first, pair_id=stable_id("conversation", *(pair.pair_id for pair in pairs)),
        conversations=(*first.conversations, *later), question_type="conversation", answer="", options=(),
        labels=tuple(sorted({label for pair in pairs for label in pair.labels})),
    )  # fmt: skip


def balanced_shares(counts: Counter[str], *, balance: float) -> dict[str, float]:
    """Return the share of each question type to keep, so that none has more than `balance` times the mean."""
    if not balance or not counts:
        return {}
    most = balance * counts.total() / len(counts)
    return {name: min(1.0, most / count) for name, count in counts.items()}


def is_off(options: Augmentation) -> bool:
    """Tell whether nothing is to be varied."""
    shares = (options.paraphrase_share, options.jitter_share, options.balance)
    return options.turns == 1 and not any(shares)


def count_types(pairs: Iterable[Pair]) -> Counter[str]:
    """Count the question types that balance looks at, of training pairs that are kept."""
    return Counter(
        pair.question_type for pair in pairs
        if pair.kind == BALANCED_KIND and pair.split == "train" and not pair.rejected_reason
    )  # fmt: skip
