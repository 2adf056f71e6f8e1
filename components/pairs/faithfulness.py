"""How faithful texts are to the annotation: of what a generator wrote for a source, the share that reads back."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from components.records import Pair


@dataclass
class Faithfulness:
    """Pairs made and accepted, by (source, generator); one without words was never written and does not count."""

    made: Counter[tuple[str, str]] = field(default_factory=Counter)
    accepted: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, pair: Pair) -> None:
        """Count a pair that has words."""
        if pair.conversations[-1].value:
            key = (pair.source, pair.generator.name)
            self.made[key] += 1
            self.accepted[key] += not pair.rejected_reason

    def join(self, other: Faithfulness) -> None:
        """Add what was counted elsewhere."""
        self.made.update(other.made)
        self.accepted.update(other.accepted)

    def scores(self) -> dict[str, dict[str, dict[str, float]]]:
        """Return {source: {generator: {made, accepted, score}}}; `score` is a share of 0-1."""
        found: dict[str, dict[str, dict[str, float]]] = {}
        for (source, name), made in sorted(self.made.items()):
            accepted = self.accepted[source, name]
            row = {"made": made, "accepted": accepted, "score": round(accepted / made, 6)}
            found.setdefault(source, {})[name] = row
        return found
