from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from components.pairs.mixture import sample_mixture, unit_hash

IDS = [f"pair{n}" for n in range(2000)]
KINDS = ["caption", "percept"] * 1000
SOURCES = ["big", "big", "small", "small"] * 500


LANGUAGES = (["en"] * 5 + ["zh"] * 5) * 200


def sampled(
    ids=IDS, kinds=KINDS, sources=SOURCES, *, seed=1, source_ratios=None, language_ratios=None, **kind_ratios
) -> list[int]:
    return sample_mixture(
        ids, kinds, sources, (LANGUAGES * 2)[: len(ids)], kind_ratios=kind_ratios,
        source_ratios=source_ratios or {}, language_ratios=language_ratios or {}, seed=seed,
    ).tolist()  # fmt: skip


def test_a_language_has_a_ratio_of_its_own() -> None:
    assert {LANGUAGES[row] for row in sampled(percept=1.0, language_ratios={"zh": 0.0})} == {"en"}
    chinese = sum(LANGUAGES[row] == "zh" for row in sampled(percept=1.0, language_ratios={"zh": 0.2}))
    assert 60 < chinese < 140


def test_a_ratio_of_one_reads_all_and_an_absent_kind_nothing() -> None:
    assert sampled(caption=1.0) == list(range(0, 2000, 2))
    assert sampled() == []


def test_a_share_keeps_about_that_share_and_the_same_rows_each_time() -> None:
    rows = sampled(caption=0.3)
    assert 250 < len(rows) < 350
    assert rows == sampled(caption=0.3)
    assert rows != sampled(caption=0.3, seed=2)


def test_a_larger_share_holds_the_smaller_one() -> None:
    assert set(sampled(caption=0.3)) < set(sampled(caption=0.6))


def test_a_ratio_above_one_repeats_rows_floor_or_ceiling_times() -> None:
    copies = Counter(sampled(percept=2.3))
    assert set(copies.values()) == {2, 3}
    assert 250 < sum(count == 3 for count in copies.values()) < 350


def test_kind_and_source_ratios_multiply() -> None:
    rows = sampled(caption=1.0, percept=1.0, source_ratios={"small": 0.0})
    assert {SOURCES[row] for row in rows} == {"big"}
    assert len(sampled(caption=0.5, source_ratios={"big": 2.0, "small": 0.0})) == 500


def test_adding_rows_does_not_change_the_others_fate() -> None:
    before = {IDS[row] for row in sampled(percept=0.4)}
    ids, kinds, sources = ["new", *IDS], ["percept", *KINDS], ["big", *SOURCES]
    after = {ids[row] for row in sampled(ids, kinds, sources, percept=0.4)}
    assert after - {"new"} == before


def test_the_hash_is_spread_evenly() -> None:
    values = np.array([unit_hash(name, 3) for name in IDS])
    assert values.min() >= 0
    assert values.max() < 1
    assert np.histogram(values, bins=4, range=(0, 1))[0].min() > 420


def test_wrong_input_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="rows"):
        sampled(IDS[:3], caption=1.0)
    with pytest.raises(ValueError, match="negative"):
        sampled(caption=-1.0)
