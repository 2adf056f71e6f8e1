"""What a set of items can show before anything is run: the smallest difference it would find.

Two systems answer the same items. DISCORDANCE is the share of items on which exactly one is right, CORRELATION
how alike the differences of one patient's items are; both are assumptions, stated with the number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.evaluation.statistics import ALPHA, FEWEST_CLUSTERS, degrees_of_freedom

DISCORDANCE, CORRELATION, POWER = 0.3, 0.1, 0.8
SIGN_FLIP_COST = 1.5  # measured: with C patients the sign-flip test needs a difference greater by about 1.5 / C


@dataclass(frozen=True, slots=True)
class Detectable:
    """The smallest true difference (0-1) found with the stated power; `value` is 1.0 when none is."""

    value: float
    n: int
    num_clusters: int
    discordance: float
    correlation: float
    power: float


def smallest_difference(
    clusters: Sequence[str],
    *,
    discordance: float = DISCORDANCE,
    correlation: float = CORRELATION,
    power: float = POWER,
) -> Detectable:
    """Return the minimum detectable paired difference at 5 % for items of these patients.

    The variance of a patient's mean grows with his items' likeness: design effect 1 + (m - 1) correlation
    with m = sum n_c^2 / N (Kish 1965), t quantiles by Bell and McCaffrey's degrees of freedom.
    """
    from scipy.special import stdtrit

    counts = np.array(list(Counter(clusters).values()), dtype=float)
    value = 1.0
    if len(counts) >= FEWEST_CLUSTERS:
        total, degrees = counts.sum(), degrees_of_freedom(counts)
        design = 1 + ((counts**2).sum() / total - 1) * correlation
        quantiles = stdtrit(degrees, 1 - ALPHA / 2) + stdtrit(degrees, power)
        cost = 1 + SIGN_FLIP_COST / len(counts)
        value = min(1.0, float(cost * quantiles * np.sqrt(discordance * design / total)))
    return Detectable(value, len(clusters), len(counts), discordance, correlation, power)
