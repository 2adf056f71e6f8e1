"""From one record to its finished pairs: made, read back, varied, cut by length.

What the pairs follow from besides the record is one value, `Making`, so that another process can be handed it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from components.pairs.augment import Augmenter, balanced_shares, is_off
from components.pairs.generate import PairGenerator, TemplateGenerator
from components.pairs.parse_back import Known, contradictions, is_told, known_of
from components.pairs.surroundings import Partner, Surroundings
from components.records import Pair, Record
from components.settings import Augmentation


@dataclass(frozen=True)
class Making:
    """How records become pairs: the generator, the kinds, how pairs are varied, the longest text.

    `counts` are of the plain pairs by type of question, which the balance of types rests on.
    """

    generator: PairGenerator
    kinds: tuple[str, ...]
    augmentation: Augmentation = field(default_factory=Augmentation)
    max_text: int | None = None
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def counts_first(self) -> bool:
        """True when all plain pairs must be counted before one is varied."""
        return not is_off(self.augmentation) and bool(self.augmentation.balance)

    def plain(self, record: Record, surroundings: Mapping[str, Surroundings]) -> list[Pair]:
        """Return a record's pairs as its generator makes them, read back."""
        return list(verified(record, self.generator, around=surroundings[record.source], kinds=self.kinds))

    def pairs_of(self, record: Record, surroundings: Mapping[str, Surroundings]) -> list[Pair]:
        """Return a record's finished pairs, each kept or with the reason why not."""
        made = self.plain(record, surroundings)
        if not is_off(self.augmentation):
            made = self._augmenter(surroundings).vary(made, record, kinds=self.kinds)
        return [within(pair, self.max_text) for pair in made]

    def _augmenter(self, surroundings: Mapping[str, Surroundings]) -> Augmenter:
        """Return what varies pairs; what it adds is made by templates and read back too."""
        templates: Any = getattr(self.generator, "templates", self.generator)

        def again(record: Record, other: TemplateGenerator, wanted: Sequence[str]) -> Iterator[Pair]:
            return verified(record, other, around=surroundings[record.source], kinds=wanted)

        shares = balanced_shares(self.counts, balance=self.augmentation.balance)
        return Augmenter(self.augmentation, templates, again, shares)


def within(pair: Pair, max_text: int | None) -> Pair:
    """Return the pair, refused as `text_too_long` when an assistant's turn has more characters than that."""
    longest = max((len(turn.value) for turn in pair.conversations if turn.speaker == "gpt"), default=0)
    if max_text is None or longest <= max_text or pair.rejected_reason:
        return pair
    return replace(pair, rejected_reason="text_too_long")


def verified(
    record: Record, generator: PairGenerator, *, around: Surroundings, kinds: Sequence[str]
) -> Iterator[Pair]:
    """Yield a record's pairs, the ones that contradict the annotation with their first reason.

    A pair that its generator refused already passes as it is.
    """
    known = known_of(record)
    partners = {partner.record_id: partner for partner in around.partners_of(record)}
    for pair in generator.generate(record, around=around, kinds=kinds):
        if pair.rejected_reason:
            yield pair
            continue
        images = (
            [known]
            if is_told(pair)
            else [
                known if record_id == record.record_id else _known_partner(partners.get(record_id), known)
                for record_id in pair.record_ids
            ]
        )
        reasons = contradictions(pair, images)
        yield replace(pair, rejected_reason=reasons[0]) if reasons else pair


def _known_partner(partner: Partner | None, known: Known) -> Known:
    """What is known of the second image; of a pair that the source itself compares, only the modality."""
    if partner is None:
        return Known(known.modality)
    return Known(
        known.modality, present=frozenset(partner.present), absent=frozenset(partner.absent),
        counts=dict(partner.counts),
    )  # fmt: skip
