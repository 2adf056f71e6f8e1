"""Texts written to deceive the parse-back: each true one passes, each false one has the reason that it earns."""

from __future__ import annotations

import pytest

from components.pairs.claims import read_claims
from components.pairs.negation import clauses, denied
from tests.components.pairs.test_parse_back import reasons

TRUE = [
    ("en", "The liver is visible and no lung tumour is seen."),
    ("en", "The liver shows no abnormality."),
    ("en", "The liver is seen, the heart is not."),
    ("en", "The liver is not absent."),
    ("en", "It is not true that the spleen is missing."),
    ("en", "Without a lung tumour, the liver lies in the left part of the image."),
    ("en", "Neither the heart nor the aorta is shown."),
    ("en", "A lung tumour is ruled out."),
    ("en", "The image is free of lung tumours and shows the liver."),
    ("en", "Absent: the heart, the aorta."),
    ("en", "Not only the liver but also the spleen is visible."),
    ("en", "The surgeon left kidney tissue in place."),
    ("en", "The liver is on the left side of the image."),
    ("en", "The liver lies left of the spleen."),
    ("en", "There are two large kidneys."),
    ("en", "A pair of kidneys is visible."),
    ("en", "The number of kidneys is two."),
    ("en", "The kidney measures 5 mm and the liver is seen."),
    ("en", "There are zero lung tumours."),
    ("en", "The spleen rather than the heart is visible."),
    ("en", "This is a CT image, not an MRI."),
    ("en", "The liver lies in the left part of the image and the spleen lies in the right part of the image."),
    ("en", "The tumour is not visible."),
    ("en", "The kidney on the patient's left is seen."),
    ("en", "The left and the right kidney are visible."),
    ("en", "The liver is visible, the heart isn't."),
    ("en", "The liver can't be missed. The heart can't be seen."),
    ("zh", "肝脏未见异常。"),
    ("zh", "肝脏无明显异常。"),
    ("zh", "并非没有肝脏。"),
    ("zh", "图中不缺少脾脏。"),
    ("zh", "心脏未见。"),
    ("zh", "共有两个肾脏。"),
    ("zh", "图中有二个肾脏。"),
    ("zh", "肾脏共2个。"),
    ("zh", "双肾可见。左肾和右肾均可见。"),
    ("zh", "图像左侧的肝脏可见。"),
    ("zh", "左边的肾脏可见。"),
    ("zh", "肾脏位于身体的右侧。"),
    ("zh", "图中未见：心脏、主动脉。"),
    ("zh", "肝脏可见，未见肺肿瘤。"),
    ("zh", "该CT图像没有显示心脏。"),
]
FALSE = [
    ("negation_contradicts", "en", "The heart is not absent."),
    ("negation_contradicts", "en", "There is no liver, and no lung tumour is seen."),
    ("negation_contradicts", "en", "The heart is visible and the aorta is not seen."),
    ("negation_contradicts", "en", "It is false that the liver is visible."),
    ("negation_contradicts", "en", "Instead of the liver the spleen is visible."),
    ("negation_contradicts", "en", "Missing: the liver."),
    ("negation_contradicts", "en", "There are zero kidneys."),
    ("negation_contradicts", "en", "The liver lies outside the image."),
    ("negation_contradicts", "en", "The absence of the spleen is evident."),
    ("negation_contradicts", "en", "A lung tumour cannot be ruled out."),
    ("side_contradicts", "en", "The spleen (left) is seen."),
    ("side_contradicts", "en", "The left-sided liver is seen."),
    ("side_contradicts", "en", "The spleen is seen on both sides."),
    ("side_contradicts", "en", "The spleen is found on the patient's right side."),
    ("side_contradicts", "en", "Bilateral livers are visible."),
    ("count_contradicts", "en", "There are three large kidneys."),
    ("count_contradicts", "en", "There are twenty-one kidneys."),
    ("count_contradicts", "en", "A dozen kidneys are visible."),
    ("count_contradicts", "en", "The number of kidneys is three."),
    ("count_contradicts", "en", "A single kidney is visible."),
    ("modality_contradicts", "en", "An MR image without a lung tumour."),
    ("modality_contradicts", "en", "The MRI does not show the heart."),
    ("plane_contradicts", "en", "The heart is not visible in this coronal slice."),
    ("label_not_annotated", "en", "A pneumothorax is visible."),
    ("label_not_annotated", "en", "There is a pleural effusion."),
    ("label_not_annotated", "en", "No fracture is seen."),
    ("label_not_annotated", "en", "An image of the forearm."),
    ("box_contradicts", "en", "The liver lies at [0.50, 0.40, 0.85, 0.70]."),
    ("box_contradicts", "en", "The liver lies right of the spleen."),
    (
        "box_contradicts",
        "en",
        "The liver lies in the left part of the image and the spleen lies in the left part of the image.",
    ),
    ("negation_contradicts", "zh", "并非看不到心脏。"),
    ("negation_contradicts", "zh", "肝脏缺失。"),
    ("negation_contradicts", "zh", "肝脏未见。"),
    ("negation_contradicts", "zh", "未见肝脏和脾脏。"),
    ("side_contradicts", "zh", "右边的脾脏可见。"),
    ("side_contradicts", "zh", "脾脏位于患者右侧。"),
    ("side_contradicts", "zh", "双侧脾脏可见。"),
    ("count_contradicts", "zh", "图中有十二个肾脏。"),
    ("count_contradicts", "zh", "肾脏共三个。"),
    ("count_contradicts", "zh", "图中有三个较大的肾脏。"),
    ("label_not_annotated", "zh", "可见气胸。"),
    ("label_not_annotated", "zh", "未见骨折。"),
    ("modality_contradicts", "zh", "该磁共振图像没有显示心脏。"),
    ("plane_contradicts", "zh", "冠状位图像未见心脏。"),
]


@pytest.mark.parametrize(("language", "text"), TRUE)
def test_a_true_text_is_no_false_alarm(language: str, text: str) -> None:
    assert reasons(text, language=language) == ()


@pytest.mark.parametrize(("reason", "language", "text"), FALSE)
def test_a_false_text_is_not_missed(reason: str, language: str, text: str) -> None:
    assert reasons(text, language=language) == (reason,)


@pytest.mark.parametrize(
    ("language", "text", "number"),
    [("en", "nineteen kidneys", 19), ("en", "Forty-two kidneys", 42), ("en", "a couple of kidneys", 2),
     ("en", "7 small, round kidneys", 7), ("en", "The total of kidneys is 12.", 12), ("en", "0.5 kidneys", 0),
     ("zh", "十个肾脏", 10), ("zh", "二十三个肾脏", 23), ("zh", "一百零五个肾脏", 105),
     ("zh", "肾脏的数目为十二个。", 12),
     ("zh", "第三个肾脏", 0), ("zh", "肾脏有两个囊肿", 0)],
)  # fmt: skip
def test_numbers_are_read_in_words_of_both_languages(language: str, text: str, number: int) -> None:
    assert read_claims(text, language).mentions[0].count == number


@pytest.mark.parametrize(
    ("text", "parts"),
    [("The liver is seen and the heart is not", 2), ("No tumour, cyst or clot is seen", 1),
     ("Without a cyst, the liver is seen", 2), ("The liver and the spleen are seen", 1),
     ("The liver is seen, the spleen and the heart are not, but the aorta is", 3)],
)  # fmt: skip
def test_a_sentence_is_parted_where_two_verbs_meet(text: str, parts: int) -> None:
    assert len(clauses(text, "en")) == parts


def test_a_denial_works_forward_or_backward_and_never_both() -> None:
    assert denied("\x00 shows no \x00", [0, 11], "en") == {11}
    assert denied("\x00 is not visible on this \x00", [0, 27], "en") == {0}
    assert denied("\x00未见\x00", [0, 3], "zh") == {3}
    assert denied("\x00不可见", [0], "zh") == {0}
    assert denied("no \x00", [], "en") == frozenset()


def test_a_stated_view_that_holds_an_organs_name_is_no_invented_organ() -> None:
    from tests.fakes.scans import make_scan

    heart = make_scan(modality="Ultrasound", body_part="heart", facts=(("view", "transesophageal"),))
    assert reasons("投照体位为经食管。", language="zh", record=heart) == ()
    assert reasons("可见食管。", language="zh", record=make_scan()) == ("label_not_annotated",)


@pytest.mark.parametrize("said", ["The tumour is visible.", "No tumour is seen."])
def test_a_wider_word_means_the_annotated_thing(said: str) -> None:
    from components.records import Region
    from tests.fakes.scans import make_scan

    tumour = make_scan(regions=(Region("lung tumour", (0.1, 0.1, 0.4, 0.4)),))
    assert reasons(said, record=tumour) == (("negation_contradicts",) if said.startswith("No") else ())
