from __future__ import annotations

from dataclasses import replace

import pytest

from components.pairs.facts import (
    AbsenceFact,
    BoxFact,
    ComparisonFact,
    LargestFact,
    ModalityFact,
    PlaneFact,
    PresenceFact,
    StatedFact,
    facts_of,
    is_box_sayable,
    rounded,
)
from components.records import Region
from tests.fakes.scans import REGIONS, make_scan


def facts(kind, **changes):
    return [fact for fact in facts_of(make_scan(**changes)) if isinstance(fact, kind)]


def test_modality_and_plane_are_stated_and_an_unknown_plane_is_not() -> None:
    assert facts(ModalityFact) == [ModalityFact("CT")]
    assert facts(PlaneFact) == [PlaneFact("axial")]
    assert facts(PlaneFact, plane="not stated") == []


def test_presence_gathers_sides_and_area_of_a_label() -> None:
    kidney = next(fact for fact in facts(PresenceFact) if fact.label == "kidney")
    assert kidney.sides == ("left", "right")
    assert kidney.area_fraction == pytest.approx(0.022)


def test_objects_are_counted_only_in_instance_masks_of_complete_images() -> None:
    instances = (("annotation", "instance mask"),)
    assert {fact.count for fact in facts(PresenceFact)} == {0}
    assert {fact.label: fact.count for fact in facts(PresenceFact, facts=instances)}["kidney"] == 2
    assert {fact.count for fact in facts(PresenceFact, facts=instances, regions_complete=False)} == {0}


def test_absence_needs_a_complete_annotation_or_an_explicit_statement() -> None:
    assert AbsenceFact("heart") in facts(AbsenceFact)
    assert AbsenceFact("liver") not in facts(AbsenceFact)
    assert facts(AbsenceFact, regions_complete=False) == []
    assert facts(AbsenceFact, regions_complete=False, absent_labels=("heart",)) == [AbsenceFact("heart")]


def test_an_object_is_named_by_its_side_when_its_label_is_not_alone() -> None:
    named = {(fact.label, fact.side): (fact.is_unique, fact.names_side) for fact in facts(BoxFact)}
    assert named["liver", "not stated"] == (True, False)
    assert named["kidney", "left"] == (True, True)


def test_two_objects_of_one_name_are_not_unique() -> None:
    twins = (REGIONS[1], replace(REGIONS[1], box=(0.5, 0.1, 0.6, 0.2)))
    assert [fact.is_unique for fact in facts(BoxFact, regions=twins)] == [False, False]
    unstated = (REGIONS[1], replace(REGIONS[1], side="not stated", box=(0.5, 0.1, 0.6, 0.2)))
    assert [fact.is_unique for fact in facts(BoxFact, regions=unstated)] == [False, False]


def test_the_largest_is_said_only_when_it_clearly_leads() -> None:
    [largest] = facts(LargestFact)
    assert (largest.label, largest.is_of_all) == ("liver", True)
    assert [label for label, _ in largest.smaller] == ["kidney", "spleen"]
    close = (REGIONS[0], replace(REGIONS[3], area_fraction=0.07), REGIONS[1])
    [unclear] = facts(LargestFact, regions=close)
    assert not unclear.is_of_all
    assert [label for label, _ in unclear.smaller] == ["kidney"]
    assert facts(LargestFact, regions_complete=False) == []


def test_age_and_sex_never_become_facts() -> None:
    stated = (("age band", "50-59 years"), ("sex", "female"), ("stain", "fluorescence"))
    assert facts(StatedFact, facts=stated) == [StatedFact("stain", "fluorescence")]


def test_a_comparison_needs_both_the_other_image_and_a_statement() -> None:
    said = facts(ComparisonFact, compared_with="other", comparison="same texture")
    assert said == [ComparisonFact("other", "same texture")]
    assert facts(ComparisonFact, compared_with="other") == []


@pytest.mark.parametrize(
    ("box", "sayable"),
    [((0.1, 0.1, 0.5, 0.5), True), ((0.1, 0.1, 0.1, 0.5), False), ((0.5, 0.1, 0.2, 0.5), False),
     ((-0.1, 0.1, 0.5, 0.5), False), ((0.1, 0.1, 0.5, 1.2), False), ((0.1, 0.1, 0.12, 0.13), False)],
)  # fmt: skip
def test_a_box_outside_its_image_or_too_small_to_write_is_not_said(box, sayable) -> None:
    assert is_box_sayable(box) is sayable


def test_a_box_that_rounding_collapses_makes_no_fact() -> None:
    assert rounded((0.104, 0.1049, 0.5051, 0.999)) == (0.1, 0.1, 0.51, 1.0)
    thin = (Region("liver", (0.101, 0.2, 0.104, 0.6)),)
    assert facts(BoxFact, regions=thin) == []
    assert [fact.label for fact in facts(PresenceFact, regions=thin)] == ["liver"]
