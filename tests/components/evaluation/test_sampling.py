"""Items are spread over types and patients; the blind system never sees the item's own patient."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.evaluation.sampling import blind_images, sample_items, why_no_blind
from tests.fakes.items import make_item


def crowd(*sizes: int, per_record: int = 2):
    """Patients with so many items each, two items a record."""
    return [
        make_item(
            item_id=f"{patient}-{k}", patient_key=f"p{patient}", record_ids=(f"r{patient}-{k // per_record}",)
        )
        for patient, size in enumerate(sizes)
        for k in range(size)
    ]


def test_a_cap_cuts_the_largest_patient_first() -> None:
    chosen = sample_items(crowd(30, 3, 3), number=12, seed=1)
    assert Counter(item.patient_key for item in chosen) == {"p0": 6, "p1": 3, "p2": 3}


def test_question_types_get_equal_turns() -> None:
    items = [*crowd(20), *(make_item(item_id=f"c{k}", question_type="count") for k in range(4))]
    assert Counter(item.question_type for item in sample_items(items, number=8, seed=1)) == {
        "presence": 4,
        "count": 4,
    }


def test_sampling_does_not_depend_on_order() -> None:
    items = crowd(9, 5, 2)
    assert sample_items(items, number=7, seed=3) == sample_items(items[::-1], number=7, seed=3)
    assert sample_items(items, number=7, seed=3) != sample_items(items, number=7, seed=4)
    assert len(sample_items(items, number=100, seed=3)) == 16


@given(st.lists(st.integers(1, 12), min_size=2, max_size=6), st.integers(0, 5))
def test_blind_images_are_of_another_patient(sizes: list[int], seed: int) -> None:
    items = crowd(*sizes)
    owner = {name: item.patient_key for item in items for name in item.record_ids}
    assigned = blind_images(items, seed=seed)
    assert assigned == blind_images(items[::-1], seed=seed)
    for item in items:
        foreign = assigned[item.item_id]
        assert len(foreign) == len(item.record_ids)
        assert all(owner[name] != item.patient_key for name in foreign)


def test_blind_assignment_is_a_rearrangement_when_no_patient_has_half() -> None:
    items = crowd(4, 4, 4, 3)
    assigned = blind_images(items, seed=0)
    assert Counter(assigned.values()) == Counter(item.record_ids for item in items)


def test_two_images_are_replaced_by_two() -> None:
    pair = make_item(item_id="two", patient_key="p0", record_ids=("r0-0", "r0-1"), question_type="comparison")
    foreign = blind_images([pair, *crowd(1, 4)], seed=0)["two"]
    assert len(foreign) == 2 and len(set(foreign)) == 2
    assert all(name.startswith("r1") for name in foreign)


SHARED = [make_item(item_id=str(k), patient_key=f"p{k}", record_ids=("same",)) for k in range(3)]
WIDE = make_item(item_id="wide", patient_key="p9", record_ids=("r0-0", "r1-0"))


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        (crowd(3), "one patient"),
        (crowd(1), "one patient"),
        (SHARED, "one image"),
        ([make_item(record_ids=())], "no images"),
        ([*crowd(1, 1), WIDE], "no other patient's image for 1 of 3 items"),
    ],
)
def test_items_without_a_foreign_image_have_no_blind_system(items, reason: str) -> None:
    assert why_no_blind(items) == f"no blind row: {reason}"
    assert blind_images(items, seed=0) == {}


def test_two_patients_have_a_blind_system_and_a_question_without_image_is_put_as_it_is() -> None:
    items = [*crowd(1, 1), make_item(item_id="text", patient_key="p0", record_ids=())]
    assert why_no_blind(items) == ""
    assert blind_images(items, seed=0) == {"0-0": ("r1-0",), "1-0": ("r0-0",), "text": ()}
