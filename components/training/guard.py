"""The guard against divergence: what counts as a loss that must not be learned from, and what is left out then.

A loss that is not finite always stops the stage, and so do gradients, before a step is made along them. With a
spike factor, so does a loss that is that many times the median of the micro-batches before it. When rollbacks are
allowed, the stage goes back to its last good checkpoint and leaves the packs to blame out: those of the
micro-batch whose own loss is refused, or all of it when it is the whole that is; of gradients, all packs of the
step. Without, it ends with `Diverged`. Several processes judge alone and act together.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Iterable, Mapping
from typing import NoReturn

from components.errors import Diverged


def refuse(reason: str, *, step: int, stage: str, packs: tuple[str, ...]) -> NoReturn:
    """Raise Diverged, naming the packs; `reason` says what is wrong ("loss is nan")."""
    raise Diverged(
        f"{reason} at step {step}",
        where=f"stage {stage}, packs {', '.join(packs)}",
        fix="lower the stage's learning_rate, or look at the packs with `gmai trace`",
        packs=packs,
    )


class DivergenceGuard:
    """Judge each micro-batch's loss by those before it."""

    def __init__(self, *, spike_factor: float = 0.0, window: int = 20, skipped: Iterable[str] = ()) -> None:
        self.spike_factor = spike_factor
        self.recent: deque[float] = deque(maxlen=window)
        self.skipped = frozenset(skipped)

    def note(self, value: float) -> None:
        """Remember a loss that was learned from."""
        self.recent.append(value)

    def blamed(self, losses: Mapping[str, float]) -> tuple[str, ...]:
        """Return the packs of a refused micro-batch whose own loss is refused; all of them when none is alone."""
        alone = tuple(pack for pack, loss in losses.items() if self.reason(loss))
        return alone or tuple(losses)

    def reason(self, value: float) -> str:
        """Return why a loss must not be learned from, "" when it may."""
        if not math.isfinite(value):
            return str(value)
        if not self.spike_factor or len(self.recent) < (self.recent.maxlen or 0):
            return ""
        usual = statistics.median(self.recent)
        return f"{value:.4g}, usually {usual:.4g}" if value > self.spike_factor * usual else ""
