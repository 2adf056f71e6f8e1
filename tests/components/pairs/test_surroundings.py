from __future__ import annotations

import pytest

from components.pairs.surroundings import PARTNERS_KEPT, Surroundings, look_around
from tests.fakes.scans import REGIONS, make_scan, make_study


def test_the_rarer_answer_is_always_asked_and_the_other_as_rarely() -> None:
    around = Surroundings()
    around.present["liver"], around.absent["liver"] = 30, 10
    assert around.acceptance("liver", is_present=False) == 1.0
    assert around.acceptance("liver", is_present=True) == pytest.approx(1 / 3)
    assert around.acceptance("heart", is_present=True) == 0.0


def test_a_label_that_never_varies_is_never_asked() -> None:
    around = look_around([make_scan(0), make_scan(1)])["scans"]
    assert around.acceptance("liver", is_present=True) == 0.0
    assert around.acceptance("heart", is_present=False) == 0.0


def test_each_source_is_looked_at_alone_and_the_order_does_not_count() -> None:
    study = make_study()
    other = [make_scan(50, source="other", regions=REGIONS[:1])]
    forward, backward = look_around(study + other), look_around(other + study[::-1])
    assert set(forward) == {"scans", "other"}
    assert forward["scans"].present == backward["scans"].present
    assert forward["scans"].is_two_sided("kidney")
    assert not forward["other"].is_two_sided("kidney")
    assert forward["scans"].partners_of(study[0]) == backward["scans"].partners_of(study[0])


def test_partners_are_complete_records_of_the_same_study_and_split() -> None:
    mine = make_scan(0)
    others = [
        make_scan(1), make_scan(2, study_key="s2"), make_scan(3, patient_key="p2"), make_scan(4, split="test"),
        make_scan(5, regions_complete=False),
    ]  # fmt: skip
    around = look_around([mine, *others])["scans"]
    assert [partner.record_id for partner in around.partners_of(mine)] == [others[0].record_id]


def test_memory_for_partners_is_bounded_and_their_choice_does_not_depend_on_the_order() -> None:
    records = [make_scan(number) for number in range(4 * PARTNERS_KEPT)]
    chosen = []
    for order in (records, records[::-1]):
        around = look_around(order)["scans"]
        assert all(len(kept) <= 2 * PARTNERS_KEPT for kept in around.partners.values())
        chosen.append(around.partners_of(make_scan(9999)))
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == PARTNERS_KEPT
