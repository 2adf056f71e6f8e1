from __future__ import annotations

import pytest

from components.pairs.claims import parse_boxes, read_claims
from components.pairs.glossary import MODALITY_NAMES
from components.pairs.lexicon import find_labels


@pytest.mark.parametrize("modality", sorted(MODALITY_NAMES))
def test_every_modality_is_recognised_in_both_languages(modality: str) -> None:
    english, chinese = MODALITY_NAMES[modality]
    assert read_claims(f"This is {english}.", "en").modalities == {modality}
    assert read_claims(f"这是{chinese}图像。", "zh").modalities == {modality}


@pytest.mark.parametrize(
    ("text", "modality"),
    [("An MRI scan.", "MR"), ("A chest radiograph.", "X-ray"), ("Seen under a microscope.", "Microscopy"),
     ("Sonography.", "Ultrasound"), ("Scintigraphy.", "Nuclear medicine"), ("A dermatoscope.", "Dermoscopy")],
)  # fmt: skip
def test_other_words_for_a_modality_are_recognised(text: str, modality: str) -> None:
    assert read_claims(text, "en").modalities == {modality}


def test_a_denied_modality_or_plane_is_not_claimed() -> None:
    claims = read_claims("This is not an axial CT image.", "en")
    assert (claims.modalities, claims.planes) == (frozenset(), frozenset())


def test_the_longest_name_at_a_place_wins() -> None:
    [mention] = find_labels("the transverse temporal gyrus", "en")
    assert "transverse temporal gyrus" in mention.labels
    assert [m.labels for m in find_labels("肺静脉", "zh")] == [frozenset({"pulmonary vein"})]
    assert read_claims("The transverse temporal gyrus.", "en").planes == frozenset()


def test_names_inside_words_are_not_labels() -> None:
    assert find_labels("unribbed liverish", "en") == []


def test_labels_that_the_glossary_lacks_are_found_when_given() -> None:
    assert find_labels("the zygomatic process", "en") == []
    [mention] = find_labels("the zygomatic process", "en", extra=("zygomatic process",))
    assert mention.labels == {"zygomatic process"}


def test_names_of_modalities_do_not_hold_organs() -> None:
    assert read_claims("这是皮肤镜图像。", "zh").mentions == ()
    assert read_claims("A fundus photograph.", "en").mentions == ()


def test_sides_counts_and_negation_are_read_per_mention() -> None:
    claims = read_claims("The left kidney and two lungs are seen, but the liver is not.", "en").mentions
    assert [(sorted(c.labels)[0], c.sides, c.count, c.is_negated) for c in claims] == [
        ("kidney", ("left",), 0, False), ("lung", (), 2, False), ("liver", (), 0, True),
    ]  # fmt: skip


def test_sides_of_the_image_are_not_sides_of_the_patient() -> None:
    [claim] = read_claims("The liver lies in the left part of the image.", "en").mentions
    assert (claim.sides, claim.place) == ((), (1, 0))
    [claim] = read_claims("肝脏位于图像左部。", "zh").mentions
    assert (claim.sides, claim.place) == ((), (1, 0))


@pytest.mark.parametrize("text", ["left and right lung", "both lungs", "bilateral lung"])
def test_both_sides_are_read(text: str) -> None:
    assert read_claims(f"The {text}.", "en").mentions[0].sides == ("left", "right")


def test_boxes_are_read_with_and_without_a_name() -> None:
    text = "<ref>left lung</ref><box> [[0.1, 0.2, 0.3, 0.4]]</box> <box> [[0.5, 0.5, 1, 1]]</box>"
    named, bare = read_claims(text, "en").boxes
    assert (named.box, named.sides, "lung" in named.labels) == ((0.1, 0.2, 0.3, 0.4), ("left",), True)
    assert (bare.box, bare.labels) == ((0.5, 0.5, 1.0, 1.0), frozenset())
    assert parse_boxes(text) == [(0.1, 0.2, 0.3, 0.4), (0.5, 0.5, 1.0, 1.0)]
    assert parse_boxes("<box> [[1, 2]]</box>") == [(-1.0, -1.0, -1.0, -1.0)]
