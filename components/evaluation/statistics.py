"""Intervals that respect patients: questions about one patient are never counted as independent.

The unit of resampling is the patient. A percentile interval from few patients is too narrow, so results say
when there are fewer than FEW_CLUSTERS, and one patient gives the whole range of the metric, not an interval.

C clusters, B resamples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

FEW_CLUSTERS = 20
CHUNK_CELLS = 4_000_000
Array = np.ndarray


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % interval, the items and patients behind it."""

    value: float
    low: float
    high: float
    n: int
    num_clusters: int

    @property
    def is_rough(self) -> bool:
        """True when there are too few patients for the interval to hold its level."""
        return self.num_clusters < FEW_CLUSTERS


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Mean difference of two systems on the same items, with wins, losses, ties and McNemar's exact p."""

    interval: Interval
    wins: int
    losses: int
    ties: int
    mcnemar_p: float


def cluster_interval(
    values: Sequence[float], clusters: Sequence[str], *, resamples: int, seed: int,
    limits: tuple[float, float] = (0.0, 1.0), level: float = 0.95,
) -> Interval:  # fmt: skip
    """Return the mean and its percentile interval from a cluster bootstrap.

    Args:
        values: one score an item.
        clusters: the patient of each item.
        resamples: B, draws of C patients with replacement.
        seed: fixes the draws.
        limits: the metric's range, returned when there is only one patient.
        level: the interval's nominal coverage.

    Raises:
        ValueError: no values, or as many clusters as values do not lie beside them.
    """
    if not len(values) or len(values) != len(clusters):
        raise ValueError(f"{len(values)} values and {len(clusters)} clusters")
    sums, counts = _cluster_totals(values, clusters)
    mean = float(sums.sum() / counts.sum())
    if len(sums) == 1:
        return Interval(mean, limits[0], limits[1], len(values), 1)
    means = np.concatenate(list(_resampled_means(sums, counts, resamples, seed)))
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    return Interval(mean, float(low), float(high), len(values), len(sums))


def _cluster_totals(values: Sequence[float], clusters: Sequence[str]) -> tuple[Array, Array]:
    names, index = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    sums = np.bincount(index, weights=np.asarray(values, float), minlength=len(names))
    return sums, np.bincount(index, minlength=len(names)).astype(float)


def _resampled_means(sums: Array, counts: Array, resamples: int, seed: int) -> Iterator[Array]:
    rng = np.random.default_rng(seed)
    num_clusters, done = len(sums), 0
    chance = np.full(num_clusters, 1.0 / num_clusters)
    while done < resamples:
        rows = min(resamples - done, max(1, CHUNK_CELLS // num_clusters))
        weights_BC = rng.multinomial(num_clusters, chance, size=rows)
        yield (weights_BC @ sums) / (weights_BC @ counts)
        done += rows


def paired_difference(
    first: Sequence[float], second: Sequence[float], clusters: Sequence[str], *, resamples: int, seed: int
) -> PairedDifference:
    """Return first minus second over the same items, by the paired cluster bootstrap."""
    differences = np.asarray(first, float) - np.asarray(second, float)
    interval = cluster_interval(differences.tolist(), clusters, resamples=resamples, seed=seed, limits=(-1.0, 1.0))
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    ties = len(differences) - wins - losses
    return PairedDifference(interval, wins, losses, ties, mcnemar_exact(wins, losses))


def mcnemar_exact(wins: int, losses: int) -> float:
    """Return the two-sided exact p of McNemar's test: discordant items split like a fair coin.

    It takes items as independent, which items of one patient are not: a cross-check, not the verdict.
    """
    trials = wins + losses
    if not trials:
        return 1.0
    logs = [_log_chance(trials, k) for k in range(min(wins, losses) + 1)]
    return min(1.0, 2.0 * math.fsum(math.exp(value) for value in logs))


def _log_chance(trials: int, successes: int) -> float:
    chosen = math.lgamma(trials + 1) - math.lgamma(successes + 1) - math.lgamma(trials - successes + 1)
    return chosen - trials * math.log(2.0)
