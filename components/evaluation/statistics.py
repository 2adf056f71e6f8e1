"""Intervals and tests that respect patients: questions about one patient are never counted as independent.

A mean's interval is Student's t on the cluster-robust standard error CR2 with Bell and McCaffrey's degrees of
freedom (Bell & McCaffrey 2002; Pustejovsky & Tipton 2018, doi 10.1080/07350015.2016.1247004), on the logit
scale so that it stays inside the metric's range. Two systems differ when their difference's interval leaves
out zero and its sign-flip test by patient says so too: the two models' answers are exchanged patient by
patient, which holds its level for any number of patients. Where all patients differ by the same, their spread
says nothing of those not asked: the interval is then that of the share of patients who are like them, never one
of no width. Measured by `benchmarks/statistics_calibration.py`:
the percentile bootstrap that stood here before found 6-17 % false differences among 3-14 patients.

C clusters, N items.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

FEW_CLUSTERS = 20
FEWEST_CLUSTERS = 6  # 2/2^5 > 0.05: with five patients no exchange of whole patients can speak
ROUNDING = 1e-9  # a spread below this share of the range is that of floating point
EXACT_CLUSTERS = 12  # up to here every one of the 2^C sign patterns is tried
CHUNK_CELLS = 4_000_000
JACKKNIFE_GROUPS = 100
ALPHA = 0.05
T = TypeVar("T")
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
        """True when there are so few patients that one more could move the interval far."""
        return self.num_clusters < FEW_CLUSTERS


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Mean difference of two systems on the same items, with wins, losses, ties and two p-values.

    `p` is the sign-flip test by patient; `mcnemar_p` takes items as independent and is a cross-check only.
    """

    interval: Interval
    wins: int
    losses: int
    ties: int
    mcnemar_p: float
    p: float

    @property
    def differs(self) -> bool:
        """True when both the test and the interval say so at 5 %."""
        return self.p <= ALPHA and not self.interval.low <= 0.0 <= self.interval.high


@dataclass(frozen=True, slots=True)
class _Totals:
    """Sum and number of values a cluster, in order of the clusters' names."""

    sums: Array
    counts: Array

    @property
    def mean(self) -> float:
        return float(self.sums.sum() / self.counts.sum())


def cluster_interval(
    values: Sequence[float], clusters: Sequence[str], *, limits: tuple[float, float] = (0.0, 1.0)
) -> Interval:
    """Return the mean of a bounded metric and its 95 % interval.

    Args:
        values: one score an item, within `limits`.
        clusters: the patient of each item (else its study, else its image).
        limits: the metric's range; one patient gives it whole, for he says nothing about others.

    Raises:
        ValueError: no values, or as many clusters as values do not lie beside them.
    """
    totals, (lowest, highest) = _totals(values, clusters), limits
    size, mean = len(totals.counts), totals.mean
    if size == 1:
        return Interval(mean, lowest, highest, len(values), 1)
    width = highest - lowest
    unit = _Totals((totals.sums - lowest * totals.counts) / width, totals.counts)
    low, high = (lowest + width * end for end in _unit_interval(unit))
    return Interval(mean, min(low, mean), max(high, mean), len(values), size)


def _unit_interval(totals: _Totals) -> tuple[float, float]:
    from scipy.special import betaincinv, expit, logit

    mean, error = totals.mean, robust_error(totals.sums, totals.counts)
    if error > 0 and 0 < mean < 1:
        reach = _quantile(totals.counts, 1 - ALPHA / 2) * error / (mean * (1 - mean))
        return float(expit(logit(mean) - reach)), float(expit(logit(mean) + reach))
    # All patients alike: Clopper and Pearson's interval with the effective number of patients as trials.
    trials = float(totals.counts.sum() ** 2 / (totals.counts**2).sum())
    hits = mean * trials
    low = float(betaincinv(hits, trials - hits + 1, ALPHA / 2)) if mean > 0 else 0.0
    high = float(betaincinv(hits + 1, trials - hits, 1 - ALPHA / 2)) if mean < 1 else 1.0
    return low, high


def difference_interval(values: Sequence[float], clusters: Sequence[str]) -> Interval:
    """Return the mean of paired differences (-1 to 1) and its 95 % interval, symmetric about the mean."""
    totals = _totals(values, clusters)
    size, mean = len(totals.counts), totals.mean
    if size == 1:
        return Interval(mean, -1.0, 1.0, len(values), 1)
    error = robust_error(totals.sums, totals.counts)
    reach = _quantile(totals.counts, 1 - ALPHA / 2) * error
    low, high = _around(mean, reach, width=1.0) if error > ROUNDING else _all_alike(mean, totals.counts, width=1.0)
    return Interval(mean, low, high, len(values), size)


def _around(value: float, reach: float, *, width: float) -> tuple[float, float]:
    return max(-width, value - reach), min(width, value + reach)


def _all_alike(value: float, counts: Array, *, width: float) -> tuple[float, float]:
    """Return the 95 % interval of a difference that is the same in every cluster.

    Patients who are not like those asked may differ as far the other way, or by the whole width this way: zero
    is left out from six patients on, as by the sign flips. No difference stays none: the same answers were given.
    """
    if abs(value) <= ROUNDING * width:
        return value, value
    like = _share_alike(counts)
    near, far = value * (2 * like - 1), like * value + (1 - like) * math.copysign(width, value)
    return min(near, far), max(near, far)


def _share_alike(counts: Array) -> float:
    """Return the least share (0-1) of all patients who are like those asked, when these are all alike.

    Clopper and Pearson's lower end for C hits of C, ALPHA/2 ^ (1/C), with the effective number of patients.
    """
    return float((ALPHA / 2) ** ((counts**2).sum() / counts.sum() ** 2))


def _totals(values: Sequence[float], clusters: Sequence[str]) -> _Totals:
    if not len(values) or len(values) != len(clusters):
        raise ValueError(f"{len(values)} values and {len(clusters)} clusters")
    names, index = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    sums = np.bincount(index, weights=np.asarray(values, float), minlength=len(names))
    return _Totals(sums, np.bincount(index, minlength=len(names)).astype(float))


def robust_error(sums: Array, counts: Array) -> float:
    """Return the CR2 standard error of the mean over all items, from sums and counts by cluster."""
    total = counts.sum()
    residuals = sums - counts * (sums.sum() / total)
    return float(np.sqrt((residuals**2 / (1 - counts / total)).sum()) / total)


def degrees_of_freedom(counts: Array) -> float:
    """Return Bell and McCaffrey's degrees of freedom of a mean; C - 1 for equal clusters, fewer otherwise.

    In closed form: the matrix of their Satterthwaite formula has the counts on its diagonal and
    -n_c n_d / (N sqrt((1 - n_c/N)(1 - n_d/N))) beside it.
    """
    total = counts.sum()
    leverage = counts**2 / (1 - counts / total)
    beside = (leverage.sum() ** 2 - (leverage**2).sum()) / total**2
    return max(1.0, float(total**2 / ((counts**2).sum() + beside)))


def _quantile(counts: Array, level: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees_of_freedom(counts), level))


def paired_difference(
    first: Sequence[float], second: Sequence[float], clusters: Sequence[str], *, resamples: int, seed: int
) -> PairedDifference:
    """Return first minus second over the same items, patients kept whole."""
    differences = np.asarray(first, float) - np.asarray(second, float)
    interval = difference_interval(differences.tolist(), clusters)
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    ties = len(differences) - wins - losses
    p = sign_flip_p(differences.tolist(), clusters, resamples=resamples, seed=seed)
    return PairedDifference(interval, wins, losses, ties, mcnemar_exact(wins, losses), p)


def sign_flip_p(differences: Sequence[float], clusters: Sequence[str], *, resamples: int, seed: int) -> float:
    """Return the two-sided p of "the systems are exchangeable within a patient".

    Exact over all sign patterns up to EXACT_CLUSTERS patients, else from `resamples` random ones, the
    observed one among them, so that p is never 0.
    """
    sums = _totals(differences, clusters).sums
    observed = abs(sums.sum()) - 1e-9 * max(1.0, float(np.abs(sums).sum()))
    exact = len(sums) <= EXACT_CLUSTERS
    hits = tried = 0
    for signs_BC in _all_signs(len(sums)) if exact else _random_signs(len(sums), resamples, seed):
        hits += int((np.abs(signs_BC @ sums) >= observed).sum())
        tried += len(signs_BC)
    return hits / tried if exact else (hits + 1) / (tried + 1)


def _all_signs(number: int) -> Iterator[Array]:
    patterns = np.arange(2 ** (number - 1))[:, None] >> np.arange(number)  # half of them: p is two-sided
    yield (patterns & 1) * 2.0 - 1.0


def _random_signs(number: int, resamples: int, seed: int) -> Iterator[Array]:
    rng, done = np.random.default_rng(seed), 0
    while done < resamples:
        rows = min(resamples - done, max(1, CHUNK_CELLS // number))
        yield rng.integers(0, 2, size=(rows, number)) * 2.0 - 1.0
        done += rows


@dataclass(frozen=True, slots=True)
class Replicates:
    """A number of many items, and the same number computed again without each group of patients.

    `without` is in the order of the groups; nan where the number is not defined without a group.
    """

    value: float
    without: tuple[float, ...]
    n: int
    num_clusters: int


def jackknife(rows: Sequence[T], clusters: Sequence[str], compute: Callable[[Sequence[T]], float]) -> Replicates:
    """Compute a number that exists over many items only (mAP, CIDEr, AUROC), with and without each group.

    Patients are left out one by one up to JACKKNIFE_GROUPS patients, else in that many groups by their sorted
    names, so that two systems on the same items have the same groups.
    """
    names = sorted(set(clusters))
    groups = min(len(names), JACKKNIFE_GROUPS)
    group_of = {name: index % groups for index, name in enumerate(names)}
    value = compute(rows)
    kept = (
        [row for row, name in zip(rows, clusters, strict=True) if group_of[name] != group]
        for group in range(groups if groups > 1 and not math.isnan(value) else 0)
    )
    return Replicates(value, tuple(compute(part) for part in kept), len(rows), len(names))


def jackknife_interval(
    rows: Sequence[T],
    clusters: Sequence[str],
    compute: Callable[[Sequence[T]], float],
    *,
    limits: tuple[float, float],
) -> Interval:
    """Return such a number with its interval; groups without which it is not defined are passed over."""
    found = jackknife(rows, clusters, compute)
    without = [value for value in found.without if not math.isnan(value)]
    if len(without) < 2:
        return Interval(found.value, *limits, found.n, found.num_clusters)
    error, alike = _jackknife_error(without), np.ones(len(without))
    if error <= ROUNDING * max(1.0, abs(found.value)):  # no patient moves it; those not asked may
        like = _share_alike(alike)
        low, high = (like * found.value + (1 - like) * end for end in limits)
    else:
        reach = _quantile(alike, 1 - ALPHA / 2) * error
        low, high = max(limits[0], found.value - reach), min(limits[1], found.value + reach)
    return Interval(found.value, low, high, found.n, found.num_clusters)


def paired_jackknife(first: Replicates, second: Replicates, *, width: float) -> tuple[Interval, float]:
    """Return first minus second of a number of many items, and its two-sided p by Student's t.

    The difference is computed again without each group of patients, so that what both systems share goes out.
    The p is never below what sign flips of as many groups could reach, so fewer than FEWEST_CLUSTERS never differ.

    Args:
        first: one system's number on some items.
        second: another's on the same items.
        width: the metric's range, high minus low; the interval when nothing can be said.

    Raises:
        ValueError: the two are not of the same items.
    """
    if (first.n, len(first.without)) != (second.n, len(second.without)):
        raise ValueError(f"{first.n} items in {len(first.without)} groups, {second.n} in {len(second.without)}")
    value = first.value - second.value
    gaps = [a - b for a, b in zip(first.without, second.without, strict=True) if math.isfinite(a - b)]
    if len(gaps) < 2 or math.isnan(value):
        return Interval(value, -width, width, first.n, first.num_clusters), 1.0
    (low, high), p = _spread_of(value, gaps, width=width)
    return Interval(value, low, high, first.n, first.num_clusters), p


def _spread_of(value: float, gaps: Sequence[float], *, width: float) -> tuple[tuple[float, float], float]:
    error, alike = _jackknife_error(gaps), np.ones(len(gaps))
    scale = width if math.isfinite(width) else max(1.0, abs(value))
    least = 2.0 ** (1 - len(gaps))  # what the sign flips of as many patients can say at most
    if error > ROUNDING * scale:
        reach = _quantile(alike, 1 - ALPHA / 2) * error
        return _around(value, reach, width=width), max(least, _two_sided(abs(value) / error, len(gaps) - 1))
    return _all_alike(value, alike, width=width), least if abs(value) > ROUNDING * scale else 1.0


def _two_sided(t: float, degrees: int) -> float:
    from scipy.special import stdtr

    return 2 * float(stdtr(degrees, -t))


def _jackknife_error(without: Sequence[float]) -> float:
    spread = np.asarray(without) - np.mean(without)
    return float(np.sqrt((len(without) - 1) / len(without) * (spread**2).sum()))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return p-values corrected for looking at all of them (Holm 1979, step down), in the given order."""
    ranked = sorted(p_values, key=lambda name: p_values[name])
    corrected: dict[str, float] = {}
    reached = 0.0
    for rank, name in enumerate(ranked):
        reached = max(reached, min(1.0, (len(ranked) - rank) * p_values[name]))
        corrected[name] = reached
    return {name: corrected[name] for name in p_values}


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
