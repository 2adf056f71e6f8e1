"""The guard against divergence: what counts as a loss that must not be learned from, and what is left out then.

A loss that is not finite always stops the stage. With a spike factor, so does one that is that many times the
median of the micro-batches before it. When rollbacks are allowed, the stage goes back to its last good checkpoint
and leaves the packs of that micro-batch out; without, it ends with `Diverged`.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Iterable

from components.errors import Diverged


class DivergenceGuard:
    """Judge each micro-batch's loss by those before it."""

    def __init__(self, *, spike_factor: float = 0.0, window: int = 20, skipped: Iterable[str] = ()) -> None:
        self.spike_factor = spike_factor
        self.recent: deque[float] = deque(maxlen=window)
        self.skipped = frozenset(skipped)

    def check(self, value: float, *, step: int, stage: str, packs: tuple[str, ...]) -> None:
        """Note a loss; raise Diverged, naming the packs, when it must not be learned from."""
        reason = self._reason(value)
        if reason:
            raise Diverged(
                f"loss is {reason} at step {step}",
                where=f"stage {stage}, packs {', '.join(packs)}",
                fix="lower the stage's learning_rate, or look at the packs with `gmai trace`",
                packs=packs,
            )
        self.recent.append(value)

    def _reason(self, value: float) -> str:
        if not math.isfinite(value):
            return str(value)
        if not self.spike_factor or len(self.recent) < (self.recent.maxlen or 0):
            return ""
        usual = statistics.median(self.recent)
        return f"{value:.4g}, usually {usual:.4g}" if value > self.spike_factor * usual else ""
