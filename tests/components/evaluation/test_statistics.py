"""Intervals resample patients, cover their truth, and say when they cannot."""

from __future__ import annotations

import math

import numpy as np
import pytest

from components.evaluation import statistics
from components.evaluation.corpus_numbers import CorpusDifference
from components.evaluation.statistics import (
    Replicates,
    cluster_interval,
    degrees_of_freedom,
    difference_interval,
    holm,
    jackknife,
    jackknife_interval,
    mcnemar_exact,
    paired_difference,
    paired_jackknife,
    robust_error,
    sign_flip_p,
)


def test_value_is_the_mean_and_lies_in_its_interval() -> None:
    found = cluster_interval([1, 0, 1, 1, 0, 0], ["a", "a", "b", "b", "c", "c"])
    assert found.value == pytest.approx(0.5)
    assert (found.n, found.num_clusters) == (6, 3)
    assert 0.0 <= found.low <= found.value <= found.high <= 1.0


def test_equal_clusters_by_hand() -> None:
    """Means 0, 0.5, 1 of three patients: error sqrt(0.5 / (2 * 3)) on 2 degrees of freedom, on the logit scale."""
    counts = np.array([2.0, 2.0, 2.0])
    assert robust_error(np.array([0.0, 1.0, 2.0]), counts) == pytest.approx(np.sqrt(0.5 / 6))
    assert degrees_of_freedom(counts) == pytest.approx(2.0)
    found = cluster_interval([0, 0, 1, 0, 1, 1], ["a", "a", "b", "b", "c", "c"])
    reach = 4.302653 * np.sqrt(0.5 / 6) / 0.25
    assert found.high == pytest.approx(1 / (1 + np.exp(-reach)), abs=1e-6)
    assert found.low == pytest.approx(1 - found.high)


@pytest.mark.parametrize("counts", [[3, 1, 7], [1, 1, 40, 2, 9], [5, 5, 5, 5]])
def test_degrees_of_freedom_agree_with_the_matrices_they_shorten(counts: list[int]) -> None:
    total = sum(counts)
    columns = []
    for place, count in enumerate(counts):
        own = np.repeat(np.arange(len(counts)) == place, counts).astype(float)
        columns.append((own - count / total) / np.sqrt(1 - count / total) / total)
    product = np.array(columns) @ np.array(columns).T
    expected = np.trace(product) ** 2 / (product**2).sum()
    assert degrees_of_freedom(np.array(counts, float)) == pytest.approx(expected)


def test_order_of_items_does_not_matter() -> None:
    values, clusters = [1.0, 0.0, 0.25, 1.0, 0.5], ["a", "b", "c", "a", "d"]
    order = [3, 1, 4, 0, 2]
    moved = cluster_interval([values[i] for i in order], [clusters[i] for i in order])
    assert moved == cluster_interval(values, clusters)


def test_questions_of_one_patient_are_not_independent() -> None:
    values = [1.0] * 50 + [0.0] * 50
    as_patients = cluster_interval(values, ["a"] * 50 + ["b"] * 50)
    as_items = cluster_interval(values, [str(i) for i in range(100)])
    assert as_patients.low < 0.01 and as_patients.high > 0.99
    assert as_items.high - as_items.low < 0.25
    assert as_patients.is_rough and not as_items.is_rough


def test_one_patient_gives_no_interval_but_the_whole_range() -> None:
    found = cluster_interval([1.0, 0.0], ["a", "a"], limits=(-1.0, 1.0))
    assert (found.low, found.high, found.num_clusters) == (-1.0, 1.0, 1)
    assert difference_interval([0.5, 0.0], ["a", "a"]).high == 1.0


def test_patients_who_are_all_right_do_not_prove_that_everyone_is() -> None:
    all_right = cluster_interval([1.0] * 10, [str(i) for i in range(10)])
    assert all_right.high == 1.0 and all_right.low == pytest.approx(0.025 ** (1 / 10))
    none_right = cluster_interval([0.0] * 10, [str(i) for i in range(10)])
    assert (none_right.low, none_right.high) == (0.0, pytest.approx(1 - 0.025 ** (1 / 10)))
    alike = cluster_interval([0.5] * 4, list("abcd"))
    assert alike.low < 0.5 < alike.high


def test_coverage_of_simulated_patients() -> None:
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(400):
        abilities = rng.beta(4, 4, size=8)
        counts = np.maximum(1, rng.lognormal(1.5, 1, size=8)).astype(int)
        clusters = np.repeat(np.arange(8), counts)
        values = rng.random(len(clusters)) < abilities[clusters]
        found = cluster_interval(values.astype(float).tolist(), clusters.astype(str).tolist())
        hits += found.low <= 0.5 <= found.high
    assert 0.92 <= hits / 400 <= 0.99


def test_sign_flips_by_hand() -> None:
    """Four patients, all for the first system: 2 of 16 patterns are as extreme."""
    assert sign_flip_p([1.0, 1.0, 1.0, 1.0], list("abcd"), resamples=9, seed=0) == pytest.approx(2 / 16)
    assert sign_flip_p([0.0, 0.0], list("ab"), resamples=9, seed=0) == 1.0
    assert sign_flip_p([1.0, -1.0, 0.0], list("abc"), resamples=9, seed=0) == 1.0


def test_random_sign_flips_agree_with_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    differences = [1.0, 1.0, 1.0, 0.0, 1.0, -1.0, 1.0, 1.0, 1.0, -1.0]
    exact = sign_flip_p(differences, list("abcdefghij"), resamples=9, seed=0)
    monkeypatch.setattr(statistics, "EXACT_CLUSTERS", 2)
    drawn = sign_flip_p(differences, list("abcdefghij"), resamples=20_000, seed=0)
    assert drawn == pytest.approx(exact, abs=0.01) and drawn > 0
    monkeypatch.setattr(statistics, "CHUNK_CELLS", 1000)
    assert sign_flip_p(differences, list("abcdefghij"), resamples=20_000, seed=0) == pytest.approx(exact, abs=0.01)


def test_a_difference_needs_six_patients() -> None:
    five = paired_difference([1.0] * 5, [0.0] * 5, list("abcde"), resamples=99, seed=0)
    six = paired_difference([1.0] * 6, [0.0] * 6, list("abcdef"), resamples=99, seed=0)
    assert not five.differs and six.differs
    assert six.p == pytest.approx(2 / 64)


def test_few_false_differences_among_like_systems() -> None:
    rng = np.random.default_rng(2)
    clusters = np.repeat(np.arange(8), [30, 3, 5, 12, 1, 2, 8, 6]).astype(str).tolist()
    false = 0
    for _ in range(1000):
        lean = np.repeat(rng.normal(0, 0.3, size=8), [30, 3, 5, 12, 1, 2, 8, 6])
        first = (rng.random(len(lean)) < 0.5 + lean / 2).astype(float)
        second = (rng.random(len(lean)) < 0.5 - lean / 2).astype(float)
        false += paired_difference(first, second, clusters, resamples=200, seed=1).differs
    assert false / 1000 <= 0.05


@pytest.mark.parametrize("patients", [14, 30])
def test_few_false_differences_where_sign_flips_are_drawn(patients: int) -> None:
    """As many comparisons as the issue asks for: at most 5 % of 1,000, and so much that chance allows."""
    rng = np.random.default_rng(3)
    counts = rng.integers(1, 20, size=patients)
    clusters = np.repeat(np.arange(patients), counts).astype(str).tolist()
    false = 0
    for _ in range(1000):
        lean = np.repeat(rng.normal(0, 0.3, size=patients), counts)
        first = (rng.random(len(lean)) < 0.5 + lean / 2).astype(float)
        second = (rng.random(len(lean)) < 0.5 - lean / 2).astype(float)
        false += paired_difference(first, second, clusters, resamples=200, seed=1).differs
    assert false / 1000 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 1000)


def test_holm_by_hand() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == {"a": pytest.approx(0.03), "b": 0.06, "c": 0.06}
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


def test_a_mean_by_jackknife_is_the_mean_with_its_usual_interval() -> None:
    values = [0.2, 0.4, 0.5, 0.8]
    found = jackknife_interval(values, list("abcd"), lambda rows: float(np.mean(rows)), limits=(0.0, 1.0))
    reach = 3.182446 * np.std(values, ddof=1) / 2
    assert (found.value, found.high) == (pytest.approx(0.475), pytest.approx(0.475 + reach, abs=1e-6))


def test_paired_jackknife_of_a_mean_is_the_paired_t_test() -> None:
    first, second, names = [0.9, 0.7, 0.8, 0.6], [0.2, 0.9, 0.5, 0.1], list("abcd")
    ours, theirs = (jackknife(values, names, lambda rows: float(np.mean(rows))) for values in (first, second))
    found, p = paired_jackknife(ours, theirs, width=1.0)
    gaps = np.array(first) - np.array(second)
    reach = 3.182446 * gaps.std(ddof=1) / 2
    assert (found.value, found.low) == (pytest.approx(gaps.mean()), pytest.approx(gaps.mean() - reach, abs=1e-6))
    t = gaps.mean() / (gaps.std(ddof=1) / 2)
    density = [(1 + x**2 / 3) ** -2 for x in np.arange(0, t, 1e-4)]  # Student's t with 3 degrees, by its integral
    assert p == pytest.approx(1 - 2 * sum(density) * 1e-4 * 2 / (math.pi * math.sqrt(3)), abs=1e-3)
    assert paired_jackknife(ours, ours, width=1.0)[1] == 1.0


def test_paired_jackknife_says_nothing_of_too_little() -> None:
    alone = jackknife([1.0, 0.0], ["a", "a"], lambda rows: float(np.mean(rows)))
    found, p = paired_jackknife(alone, alone, width=10.0)
    assert (found.low, found.high, p) == (-10.0, 10.0, 1.0)
    with pytest.raises(ValueError, match="3 items in 3 groups, 2 in 0"):
        paired_jackknife(jackknife([1.0] * 3, list("abc"), sum), alone, width=1.0)


def test_paired_jackknife_finds_few_false_differences() -> None:
    rng = np.random.default_rng(4)
    names = [str(k) for k in range(30)]
    found = 0
    for _ in range(200):
        ours, theirs = (
            jackknife(rng.normal(size=30).tolist(), names, lambda rows: float(np.std(rows))) for _ in range(2)
        )
        found += paired_jackknife(ours, theirs, width=8.0)[1] <= 0.05
    assert found / 200 <= 0.08


def test_what_is_not_defined_has_no_interval() -> None:
    def only_with_all(rows) -> float:
        return 0.5 if len(rows) == 3 else math.nan

    assert jackknife_interval([1, 2, 3], list("abc"), only_with_all, limits=(0.0, 1.0)).high == 1.0
    alone = jackknife_interval([1, 2], ["a", "a"], lambda rows: 0.5, limits=(0.0, 1.0))
    assert (alone.low, alone.high, alone.num_clusters) == (0.0, 1.0, 1)


@pytest.mark.parametrize(("values", "clusters"), [([], []), ([1.0], ["a", "b"])])
def test_bad_calls_are_refused(values: list[float], clusters: list[str]) -> None:
    with pytest.raises(ValueError, match="values and"):
        cluster_interval(values, clusters)


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
    assert found.interval.low >= -0.02 and found.interval.high < 0.1


@pytest.mark.parametrize(
    ("wins", "losses", "expected"), [(0, 0, 1.0), (5, 0, 0.0625), (8, 2, 0.109375), (2, 8, 0.109375), (3, 3, 1.0)]
)
def test_mcnemar_by_hand(wins: int, losses: int, expected: float) -> None:
    assert mcnemar_exact(wins, losses) == pytest.approx(expected)


def shifted(rows: list[float], by: float) -> float:
    return float(np.mean(rows)) + by


@pytest.mark.parametrize("patients", [2, 3, 5])
@pytest.mark.parametrize("by", [0.1, 1.0])
def test_few_patients_who_all_differ_alike_say_nothing(patients: int, by: float) -> None:
    names = [str(k) for k in range(patients)]
    ours, theirs = (jackknife([0.0] * patients, names, lambda rows, up=up: shifted(rows, up)) for up in (by, 0.0))
    found, p = paired_jackknife(ours, theirs, width=1.0)
    assert found.low < 0 < found.value <= found.high and p > 0.05
    pair = paired_difference([by] * patients, [0.0] * patients, names, resamples=99, seed=0)
    assert pair.interval.low < 0 < pair.interval.value <= pair.interval.high and not pair.differs


def test_gaps_that_differ_by_rounding_are_alike() -> None:
    rough = Replicates(0.3, (0.1 + 0.2, 0.3, 0.3), 3, 3)
    found, p = paired_jackknife(rough, Replicates(0.0, (0.0,) * 3, 3, 3), width=1.0)
    assert found.low < 0 and p == pytest.approx(2 / 8)


def test_six_patients_all_for_one_system_are_enough_and_leave_a_width() -> None:
    found = paired_difference([1.0] * 6, [0.0] * 6, list("abcdef"), resamples=99, seed=0)
    assert found.interval.low == pytest.approx(2 * 0.025 ** (1 / 6) - 1) and found.interval.low > 0
    five = paired_difference([1.0] * 5, [0.0] * 5, list("abcde"), resamples=99, seed=0)
    assert five.interval.low == pytest.approx(2 * 0.025 ** (1 / 5) - 1) and five.interval.low < 0
    same = paired_difference([1.0] * 5, [1.0] * 5, list("abcde"), resamples=99, seed=0)
    assert (same.interval.low, same.interval.high, same.differs) == (0.0, 0.0, False)


def test_three_patients_never_differ_in_a_number_of_many_items() -> None:
    """Student's t alone claimed a difference here, its two degrees of freedom resting on normal gaps."""
    first, second, names = [0.9, 0.71, 0.8], [0.2, 0.0, 0.1], list("abc")
    ours, theirs = (jackknife(values, names, lambda rows: float(np.mean(rows))) for values in (first, second))
    found, p = paired_jackknife(ours, theirs, width=1.0)
    assert found.low > 0 and p == pytest.approx(2 / 8)
    assert not CorpusDifference("boxes", "map", found, p).differs


@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
def test_a_number_that_no_patient_moves_still_has_a_width(value: float) -> None:
    found = jackknife_interval([value] * 3, list("abc"), lambda rows: rows[0], limits=(0.0, 1.0))
    assert (found.value, found.high - found.low) == (value, pytest.approx(1 - 0.025 ** (1 / 3)))
    assert 0.0 <= found.low <= value <= found.high <= 1.0
