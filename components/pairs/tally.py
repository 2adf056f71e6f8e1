"""What the pair stage counts while it writes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from components.pairs.faithfulness import Faithfulness
from components.records import Pair


@dataclass
class Tally:
    """Pairs by each column worth a table, and the reasons of the refused ones."""

    kept: dict[str, Counter[str]] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    withdrawn: Counter[str] = field(default_factory=Counter)  # records, by reason
    faithfulness: Faithfulness = field(default_factory=Faithfulness)

    def add(self, pair: Pair) -> None:
        """Count a pair; a refused one by its first reason alone."""
        self.faithfulness.add(pair)
        if pair.rejected_reason:
            self.reasons[pair.rejected_reason] += 1
            return
        for column in ("kind", "language", "source", "question_type", "modality", "split"):
            self.kept.setdefault(column, Counter())[getattr(pair, column)] += 1

    def join(self, other: Tally) -> None:
        """Add what another process counted of other records; withdrawn records are counted once, before."""
        for column, counts in other.kept.items():
            self.kept.setdefault(column, Counter()).update(counts)
        self.reasons.update(other.reasons)
        self.faithfulness.join(other.faithfulness)

    def details(self) -> dict[str, dict[str, int]]:
        """Return the counts as plain, sorted mappings."""
        return {column: dict(sorted(counts.items())) for column, counts in sorted(self.kept.items())}
