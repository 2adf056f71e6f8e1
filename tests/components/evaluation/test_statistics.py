"""Intervals resample patients, cover their truth, and say when they cannot."""

from __future__ import annotations

import numpy as np
import pytest

from components.evaluation import statistics
from components.evaluation.statistics import cluster_interval, mcnemar_exact, paired_difference


def test_same_seed_same_interval_and_value_is_the_mean() -> None:
    values, clusters = [1, 0, 1, 1, 0, 0], ["a", "a", "b", "b", "c", "c"]
    first = cluster_interval(values, clusters, resamples=500, seed=1)
    assert first == cluster_interval(values, clusters, resamples=500, seed=1)
    assert first.value == pytest.approx(0.5)
    assert (first.n, first.num_clusters) == (6, 3)
    assert first.low <= first.value <= first.high


def test_order_of_items_does_not_matter() -> None:
    values, clusters = [1.0, 0.0, 0.25, 1.0, 0.5], ["a", "b", "c", "a", "d"]
    order = [3, 1, 4, 0, 2]
    moved = cluster_interval([values[i] for i in order], [clusters[i] for i in order], resamples=300, seed=2)
    assert moved == cluster_interval(values, clusters, resamples=300, seed=2)


def test_questions_of_one_patient_are_not_independent() -> None:
    values = [1.0] * 50 + [0.0] * 50
    as_patients = cluster_interval(values, ["a"] * 50 + ["b"] * 50, resamples=1000, seed=0)
    as_items = cluster_interval(values, [str(i) for i in range(100)], resamples=1000, seed=0)
    assert (as_patients.low, as_patients.high) == (0.0, 1.0)
    assert as_items.high - as_items.low < 0.25
    assert as_patients.is_rough and not as_items.is_rough


def test_one_patient_gives_no_interval_but_the_whole_range() -> None:
    found = cluster_interval([1.0, 0.0], ["a", "a"], resamples=10, seed=0, limits=(-1.0, 1.0))
    assert (found.low, found.high, found.num_clusters) == (-1.0, 1.0, 1)


def test_coverage_of_simulated_patients() -> None:
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(120):
        abilities = rng.beta(4, 4, size=40)
        values = rng.random((40, 6)) < abilities[:, None]
        clusters = np.repeat(np.arange(40), 6).astype(str)
        found = cluster_interval(values.ravel().astype(float).tolist(), clusters.tolist(), resamples=200, seed=1)
        hits += found.low <= 0.5 <= found.high
    assert 0.88 <= hits / 120 <= 1.0


def test_chunks_do_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    values, clusters = [0.1, 0.9, 0.4], ["a", "b", "c"]
    whole = cluster_interval(values, clusters, resamples=100, seed=3)
    monkeypatch.setattr(statistics, "CHUNK_CELLS", 30)
    assert cluster_interval(values, clusters, resamples=100, seed=3) == whole


@pytest.mark.parametrize(("values", "clusters"), [([], []), ([1.0], ["a", "b"])])
def test_bad_calls_are_refused(values: list[float], clusters: list[str]) -> None:
    with pytest.raises(ValueError, match="values and"):
        cluster_interval(values, clusters, resamples=10, seed=0)


def test_paired_difference_counts_wins() -> None:
    found = paired_difference([1, 1, 0, 1], [0, 1, 1, 0], ["a", "b", "c", "d"], resamples=200, seed=0)
    assert (found.wins, found.losses, found.ties) == (2, 1, 1)
    assert found.interval.value == pytest.approx(0.25)
    assert found.interval.low < 0 < found.interval.high


def test_pairing_removes_what_both_share() -> None:
    easy = np.tile([1.0, 0.0], 30)
    better = easy.copy()
    better[1] = better[3] = 1.0
    found = paired_difference(better, easy, [str(i // 2) for i in range(60)], resamples=500, seed=0)
    assert found.interval.value == pytest.approx(2 / 60)
    assert found.interval.low >= 0.0


@pytest.mark.parametrize(
    ("wins", "losses", "expected"), [(0, 0, 1.0), (5, 0, 0.0625), (8, 2, 0.109375), (2, 8, 0.109375), (3, 3, 1.0)]
)
def test_mcnemar_by_hand(wins: int, losses: int, expected: float) -> None:
    assert mcnemar_exact(wins, losses) == pytest.approx(expected)
