"""Are the statistics calibrated? 1,000 comparisons of two equally good systems, and planted differences.

`python benchmarks/statistics_calibration.py` prints one JSON line last: `false_rate` (share of the null
comparisons in which a difference was claimed; `target` is 0.05), `power` (share of planted differences of the
promised size that were found; `promised_power`), the intervals' coverage, and what the usual unclustered ways
do on the same comparisons (`peer`: scipy's percentile bootstrap over items, and its paired t-test).
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass

import numpy as np
from scipy import stats

from components.evaluation.power import CORRELATION, DISCORDANCE, POWER, smallest_difference
from components.evaluation.statistics import cluster_interval, paired_difference

PATIENTS = (6, 8, 14, 30, 60)
SPREADS = (0.3, 1.0, 1.3)  # of the log of a patient's number of items: equal to very unequal
ITEMS, RESAMPLES, TARGET = 12, 400, 0.05
Array = np.ndarray


@dataclass(frozen=True)
class Trial:
    """Answers of two systems (0 or 1) to the same items, and each item's patient."""

    first: Array
    second: Array
    clusters: list[str]


def item_counts(rng: np.random.Generator, patients: int, spread: float) -> Array:
    """Draw each patient's number of items, about ITEMS on average."""
    return np.maximum(1, np.round(ITEMS * rng.lognormal(-(spread**2) / 2, spread, patients))).astype(int)


def null_trial(rng: np.random.Generator, patients: int, spread: float) -> Trial:
    """Two systems of one quality, each with leanings of its own for each patient."""
    counts = item_counts(rng, patients, spread)
    ability = rng.beta(4, 4, patients)
    answers = [
        (rng.random(counts.sum()) < np.repeat(np.clip(ability + rng.normal(0, 0.15, patients), 0, 1), counts))
        for _ in range(2)
    ]
    names = np.repeat(np.arange(patients), counts).astype(str).tolist()
    return Trial(answers[0].astype(float), answers[1].astype(float), names)


def planted_trial(rng: np.random.Generator, patients: int, spread: float) -> Trial:
    """A difference of just the size that `smallest_difference` promises to find, patients alike by CORRELATION.

    With chance CORRELATION^0.5 an item's outcome is its patient's own draw, so two items of a patient
    correlate by CORRELATION.
    """
    counts = item_counts(rng, patients, spread)
    names = np.repeat(np.arange(patients), counts).astype(str).tolist()
    size = smallest_difference(names).value
    win, lose = (DISCORDANCE + size) / 2, (DISCORDANCE - size) / 2
    shared = np.repeat(rng.random(patients), counts)
    draws = np.where(rng.random(counts.sum()) < CORRELATION**0.5, shared, rng.random(counts.sum()))
    first, second = draws < win, (draws >= win) & (draws < win + lose)
    return Trial(first.astype(float), second.astype(float), names)


def is_claimed(trial: Trial) -> bool:
    """Say whether this project claims a difference."""
    return paired_difference(trial.first, trial.second, trial.clusters, resamples=RESAMPLES, seed=0).differs


def t_test_claims(trial: Trial) -> bool:
    """scipy's paired t-test, items as if they were independent."""
    return bool(stats.ttest_rel(trial.first, trial.second).pvalue < TARGET)


def bootstrap_claims(trial: Trial) -> bool:
    """scipy's percentile bootstrap over items."""
    differences = (trial.first - trial.second,)
    found = stats.bootstrap(differences, np.mean, n_resamples=200, method="percentile", rng=0)
    interval = found.confidence_interval
    return not interval.low <= 0 <= interval.high


def covers(rng: np.random.Generator, patients: int, spread: float) -> bool:
    """Say whether the interval of a mean accuracy of 0.8 holds it."""
    counts = item_counts(rng, patients, spread)
    values = rng.random(counts.sum()) < np.repeat(rng.beta(4, 1, patients), counts)
    names = np.repeat(np.arange(patients), counts).astype(str).tolist()
    found = cluster_interval(values.astype(float).tolist(), names)
    return found.low <= 0.8 <= found.high


def main() -> None:
    """Simulate, print, and print the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comparisons", type=int, default=1000)
    number, started = parser.parse_args().comparisons, time.perf_counter()
    rng = np.random.default_rng(20_241_122)
    cells = [(patients, spread) for patients in PATIENTS for spread in SPREADS]
    chosen = [cells[index % len(cells)] for index in range(number)]
    nulls = [null_trial(rng, *cell) for cell in chosen]
    claims = np.array([is_claimed(trial) for trial in nulls])
    by_patients = {
        size: float(claims[[cell[0] == size for cell in chosen]].mean())
        for size in PATIENTS
        if number >= len(cells)
    }
    possible = [cell for cell in chosen if cell[0] >= 30]  # below, the promise is often "nothing can be found"
    power = float(np.mean([is_claimed(planted_trial(rng, *cell)) for cell in possible]))
    false_rate, of_test = float(claims.mean()), float(np.mean([t_test_claims(trial) for trial in nulls]))
    result = {
        "name": "statistics_calibration", "ratio": round(false_rate / of_test, 4), "target": TARGET,
        "false_rate": round(false_rate, 4), "comparisons": number,
        "false_rate_by_patients": {size: round(rate, 4) for size, rate in by_patients.items()},
        "power": round(power, 4), "promised_power": POWER,
        "coverage": round(float(np.mean([covers(rng, *cell) for cell in chosen])), 4),
        "peer": {
            "scipy.stats.ttest_rel": round(of_test, 4),
            "scipy.stats.bootstrap": round(float(np.mean([bootstrap_claims(trial) for trial in nulls[:300]])), 4),
        },
        "seconds": round(time.perf_counter() - started, 1),
    }  # fmt: skip
    print(f"false differences {result['false_rate']:.1%} of {number}; power {power:.1%} at the promised size")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
