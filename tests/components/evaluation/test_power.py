"""What can be shown is said before the run, and it is what simulation finds."""

from __future__ import annotations

import numpy as np
import pytest

from components.evaluation.power import smallest_difference
from components.evaluation.statistics import paired_difference


def test_independent_items_by_hand() -> None:
    """400 patients with an item each: (1.966 + 0.843) * sqrt(0.3 / 400), and 1.5 / 400 more."""
    found = smallest_difference([str(i) for i in range(400)])
    assert found.value == pytest.approx(2.809 * np.sqrt(0.3 / 400) * (1 + 1.5 / 400), abs=1e-4)
    assert (found.n, found.num_clusters, found.power) == (400, 400, 0.8)


def test_more_patients_show_more_and_more_items_of_one_patient_hardly() -> None:
    patients = smallest_difference([str(i // 4) for i in range(400)]).value
    twice_the_items = smallest_difference([str(i // 8) for i in range(800)]).value
    twice_the_patients = smallest_difference([str(i // 4) for i in range(800)]).value
    assert twice_the_patients < twice_the_items < patients


def test_five_patients_show_nothing() -> None:
    assert smallest_difference([str(i % 5) for i in range(5000)]).value == 1.0


def test_the_promised_power_is_kept() -> None:
    """Planted differences of the promised size, independent items: found about as often as promised."""
    rng = np.random.default_rng(1)
    clusters = [str(i // 10) for i in range(400)]
    promised = smallest_difference(clusters, correlation=0.0)
    win, lose = (promised.discordance + promised.value) / 2, (promised.discordance - promised.value) / 2
    found = 0
    for _ in range(200):
        draws = rng.random(400)
        first, second = (draws < win).astype(float), ((draws >= win) & (draws < win + lose)).astype(float)
        found += paired_difference(first, second, clusters, resamples=400, seed=0).differs
    assert found / 200 >= 0.74


def test_the_promised_power_is_kept_for_patients_of_unlike_size() -> None:
    """As above with items of one patient alike by the assumed correlation, and one to twenty items a patient."""
    rng = np.random.default_rng(2)
    counts = rng.integers(1, 20, size=40)
    clusters = np.repeat(np.arange(40), counts).astype(str).tolist()
    promised = smallest_difference(clusters)
    win, lose = (promised.discordance + promised.value) / 2, (promised.discordance - promised.value) / 2
    found = 0
    for _ in range(400):
        own, shared = rng.random(len(clusters)), np.repeat(rng.random(40), counts)
        draws = np.where(rng.random(len(clusters)) < promised.correlation**0.5, shared, own)
        first, second = (draws < win).astype(float), ((draws >= win) & (draws < win + lose)).astype(float)
        found += paired_difference(first, second, clusters, resamples=200, seed=0).differs
    assert found / 400 >= promised.power - 2 * (0.8 * 0.2 / 400) ** 0.5
