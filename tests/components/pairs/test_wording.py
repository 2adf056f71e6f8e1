from __future__ import annotations

import string
from random import Random

import pytest

from components.pairs.glossary import (
    CHINESE,
    MODALITY_NAMES,
    STATED_CHOICES,
    STATED_TERMS,
    body_regions,
    chinese_term,
    modality_group,
    plural,
)
from components.pairs.wording.chinese import WORDING as ZH
from components.pairs.wording.english import WORDING as EN
from components.pairs.wording.language import TermMissing, box_text, referred
from components.records import MODALITIES, PLANES

FREQUENT = (
    "presence",
    "count",
    "side",
    "plane",
    "modality",
    "organ",
    "structure",
    "largest",
    "region",
    "caption",
    "box",
)
STATEMENTS = ("opening", "contents", "placed", "largest", "absent", "region", "region_place", "size", "relation")


def slots(shape: str) -> frozenset[str]:
    return frozenset(name for _, name, _, _ in string.Formatter().parse(shape) if name)


def test_both_languages_have_the_same_keys_and_slots() -> None:
    assert set(EN.shapes) == set(ZH.shapes)
    for key in EN.shapes:
        assert len({slots(shape) for wording in (EN, ZH) for shape in wording.shapes[key]}) == 1, key


@pytest.mark.parametrize("wording", [EN, ZH], ids=["en", "zh"])
def test_frequent_facts_have_many_wordings_and_none_twice(wording) -> None:
    assert all(len(wording.shapes[f"{name}_question"]) >= 8 for name in FREQUENT)
    assert all(len(wording.shapes[name]) >= 6 for name in STATEMENTS)
    assert all(len(set(shapes)) == len(shapes) for shapes in wording.shapes.values())


def test_every_modality_plane_and_stated_choice_has_a_chinese_name() -> None:
    assert set(MODALITY_NAMES) == set(MODALITIES)
    assert all(ZH.image("CT", plane) for plane in PLANES)
    choices = [value for families in STATED_CHOICES.values() for family in families for value in family]
    assert all(chinese_term(value) for value in (*choices, *STATED_CHOICES))


def test_no_term_begins_with_a_side_or_has_two_homes() -> None:
    assert not [term for term in CHINESE if term.split()[0] in ("left", "right")]
    assert not [term for term, name in CHINESE.items() if name[0] in "左右"]
    assert not set(CHINESE) & set(STATED_TERMS)


def test_an_unknown_term_is_never_half_translated() -> None:
    assert EN.term("zygomatic process") == "zygomatic process"
    with pytest.raises(TermMissing):
        ZH.thing("zygomatic process", "left")


def test_numbered_terms_are_translated_by_rule() -> None:
    assert [chinese_term(t) for t in ("rib 5", "vertebra t7", "T7", "nothing")] == ["第5肋", "T7椎体", "T7", ""]


def test_english_articles_sides_and_numbers() -> None:
    assert EN.thing("kidney", "left") == "the left kidney"
    assert EN.thing("lung tumour", "") == "a lung tumour"
    assert EN.thing("microaneurysms", "") == "the microaneurysms"
    assert EN.several("kidney", ("left", "right"), 0) == "the left and right kidney"
    assert EN.several("cell nucleus", ("not stated",) * 3, 3) == "three cell nuclei"
    assert EN.several("cell nucleus", ("not stated",) * 30, 30) == "30 cell nuclei"
    assert EN.image("MR", "not stated") == "an MR image"
    assert EN.image("CT", "axial") == "an axial CT image"
    assert EN.image("Fundus", "not stated") == "a fundus photograph"
    assert EN.joined(["a", "b", "c"]) == "a, b and c"


def test_chinese_sides_and_numbers() -> None:
    assert ZH.several("kidney", ("left", "right"), 0) == "双侧肾脏"
    assert ZH.several("cell nucleus", ("not stated",) * 3, 3) == "3个细胞核"
    assert ZH.thing("kidney", "left") == "左侧肾脏"
    assert ZH.image("MR", "sagittal") == "矢状位磁共振图像"


@pytest.mark.parametrize(
    ("label", "many"),
    [("kidney", "kidneys"), ("cell nucleus", "cell nuclei"), ("grey matter", "grey matter"), ("ribs", "ribs"),
     ("ovary", "ovaries"), ("lumbar vertebra", "lumbar vertebrae")],
)  # fmt: skip
def test_plurals(label: str, many: str) -> None:
    assert plural(label) == many


def test_a_place_is_the_cell_of_a_box_centre() -> None:
    box = (0.0, 0.0, 0.3, 0.3)
    assert (EN.place(box), ZH.place(box)) == ("upper left", "左上部")
    assert EN.place((0.4, 0.9, 0.6, 1.0)) == "lower central"
    assert EN.place((0.9, 0.9, 1.0, 1.0)) == "lower right"


def test_geometry_is_written_as_in_the_paper() -> None:
    assert box_text((0.179, 0.164, 0.5, 0.434)) == "<box> [[0.18, 0.16, 0.50, 0.43]]</box>"
    assert (
        referred("white blood cell", (0, 0, 1, 1))
        == "<ref>white blood cell</ref><box> [[0.00, 0.00, 1.00, 1.00]]</box>"
    )


def test_a_sentence_begins_with_a_capital() -> None:
    said = {EN.say("opening", Random(seed), image="an MR image", part="brain") for seed in range(40)}
    assert len(said) >= 5
    assert all(text[0].isupper() for text in said)


def test_regions_of_the_body_overlap_as_they_should() -> None:
    assert body_regions("chest and upper abdomen") == {"chest", "abdomen"}
    assert body_regions("brain") & body_regions("head")
    assert body_regions("whole body") >= body_regions("knee")
    assert body_regions("elsewhere") == {"elsewhere"}
    assert "CT" not in modality_group("CT")
    assert "MR" in modality_group("CT")


@pytest.mark.parametrize(
    ("rough", "smooth"),
    [("The ribs is in view.", "The ribs are in view."), ("Is the ribs visible?", "Are the ribs visible?"),
     ("Where does the left carpal bones lie?", "Where do the left carpal bones lie?"),
     ("In the upper part lies the cell nuclei.", "In the upper part lie the cell nuclei."),
     ("The pancreas is seen.", "The pancreas is seen."), ("Is the cuneus visible?", "Is the cuneus visible?"),
     ("The area of the ribs is small.", "The area of the ribs is small."),
     ("Which way from the ribs is the heart?", "Which way from the ribs is the heart?"),
     ("This region is the ribs.", "This region is the ribs.")],
)  # fmt: skip
def test_verbs_agree_with_labels_that_are_plurals(rough: str, smooth: str) -> None:
    assert EN.finished(rough) == smooth
