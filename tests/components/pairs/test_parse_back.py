from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings

from components.pairs.generate import TemplateGenerator
from components.pairs.parse_back import Known, contradictions, known_of, without_choices
from components.pairs.pieces import verified
from components.pairs.surroundings import look_around
from components.records import PAIR_KINDS, Generator, Record
from tests.fakes.scans import REGIONS, make_scan, make_study, make_text, studies
from tests.fakes.tables import GENERATOR

LIVER = "<box> [[0.10, 0.40, 0.45, 0.70]]</box>"
ELSEWHERE = "<box> [[0.50, 0.40, 0.85, 0.70]]</box>"
YES_NO = {"en": ("yes", "no"), "zh": ("是", "否")}


def reasons(
    said: str, *, question: str = "Describe.", language: str = "en", record: Record | None = None, **changes
):
    record = record or make_scan(facts=(("annotation", "instance mask"),))
    return contradictions(make_text(record, question, said, language=language, **changes), [known_of(record)])


TRUE_TEXTS = [
    ("en", "An axial CT image of the abdomen. It shows the left and right kidney, the liver and the spleen."),
    ("en", "There are two kidneys. The heart is not visible. The aorta cannot be seen."),
    ("en", "The right kidney lies in the lower left part of the image. The liver is to the left of the spleen."),
    ("en", f"<ref>left kidney</ref><box> [[0.70, 0.60, 0.80, 0.80]]</box> and <ref>liver</ref>{LIVER}"),
    ("en", "Computed tomography in the transverse plane, without a lung tumour."),
    ("zh", "这是腹部的轴位CT图像。可见双侧肾脏、肝脏和脾脏。"),
    ("zh", "图中有2个肾脏。未见心脏，没有主动脉。"),
    ("zh", "右侧肾脏位于图像左下部。肝脏位于脾脏的左方。"),
    ("zh", f"<ref>左侧肾脏</ref><box> [[0.70, 0.60, 0.80, 0.80]]</box>，<ref>肝脏</ref>{LIVER}"),
]
PLANTED = [
    ("side_contradicts", "en", "It shows the left spleen and the liver."),
    ("side_contradicts", "en", "The spleen is on the left."),
    ("side_contradicts", "en", "<ref>left kidney</ref><box> [[0.20, 0.60, 0.30, 0.80]]</box>"),
    ("side_contradicts", "zh", "可见右侧脾脏。"),
    ("side_contradicts", "zh", "<ref>左侧肾脏</ref><box> [[0.20, 0.60, 0.30, 0.80]]</box>"),
    ("box_contradicts", "en", f"<ref>liver</ref>{ELSEWHERE}"),
    ("box_contradicts", "en", "The liver is found in the lower right part of the image."),
    ("box_contradicts", "en", "The liver is to the right of the spleen."),
    ("box_contradicts", "en", "<ref>liver</ref><box> [[left, top]]</box>"),
    ("box_contradicts", "zh", f"<ref>肝脏</ref>{ELSEWHERE}"),
    ("box_contradicts", "zh", "肝脏位于图像右下部。"),
    ("box_contradicts", "zh", "肝脏位于脾脏的右方。"),
    ("label_not_annotated", "en", "It shows the liver and the pancreas."),
    ("label_not_annotated", "en", "A CT image of the brain."),
    ("label_not_annotated", "en", "The pancreas is not visible."),
    ("label_not_annotated", "zh", "可见肝脏和胰腺。"),
    ("label_not_annotated", "zh", "未见胰腺。"),
    ("count_contradicts", "en", "There are three kidneys."),
    ("count_contradicts", "en", "One can count 5 kidneys."),
    ("count_contradicts", "zh", "共计三个肾脏。"),
    ("count_contradicts", "zh", "图中有5个肾脏。"),
    ("negation_contradicts", "en", "The liver is not visible."),
    ("negation_contradicts", "en", "There is no sign of the spleen."),
    ("negation_contradicts", "en", "It shows the heart."),
    ("negation_contradicts", "zh", "图中看不到肝脏。"),
    ("negation_contradicts", "zh", "可见心脏。"),
    ("modality_contradicts", "en", "This is an MRI of the abdomen."),
    ("modality_contradicts", "en", "An ultrasound image."),
    ("modality_contradicts", "zh", "这是腹部的磁共振图像。"),
    ("modality_contradicts", "zh", "图像为超声图像。"),
    ("plane_contradicts", "en", "A coronal CT image."),
    ("plane_contradicts", "zh", "这是矢状位CT图像。"),
]


@pytest.mark.parametrize(("language", "text"), TRUE_TEXTS)
def test_a_true_text_passes(language: str, text: str) -> None:
    assert reasons(text, language=language) == ()


@pytest.mark.parametrize(("reason", "language", "text"), PLANTED)
def test_a_planted_contradiction_is_named(reason: str, language: str, text: str) -> None:
    assert reasons(text, language=language) == (reason,)


CLOSED = [
    ("en", "Is the liver visible? Answer yes or no.", ("yes", "no"), "yes", "no", "negation_contradicts"),
    ("en", "Is the heart missing? Yes or no?", ("yes", "no"), "yes", "no", "negation_contradicts"),
    ("zh", "图中能看到肝脏吗？请回答是或否。", ("是", "否"), "是", "否", "negation_contradicts"),
    ("zh", "图中是否缺少心脏？是还是否？", ("是", "否"), "是", "否", "negation_contradicts"),
    (
        "en",
        "Which plane is it? Options: axial, coronal.",
        ("axial", "coronal"),
        "axial",
        "coronal",
        "plane_contradicts",
    ),
    ("zh", "哪个平面？选项：轴位、冠状位。", ("轴位", "冠状位"), "轴位", "冠状位", "plane_contradicts"),
    ("en", "What modality? Options: CT, PET.", ("CT", "PET"), "CT", "PET", "modality_contradicts"),
    ("zh", "成像方式？选项：CT、超声。", ("CT", "超声"), "CT", "超声", "modality_contradicts"),
    (
        "en",
        "Which is visible? Options: heart, liver.",
        ("heart", "liver"),
        "liver",
        "heart",
        "negation_contradicts",
    ),
    ("en", "How many kidneys? Options: 1, 2.", ("1", "2"), "2", "1", "count_contradicts"),
    ("zh", "有几个肾脏？选项：1、2。", ("1", "2"), "2", "1", "count_contradicts"),
    (
        "en",
        f"What is inside {LIVER}? Options: liver, spleen.",
        ("liver", "spleen"),
        "liver",
        "spleen",
        "box_contradicts",
    ),
    ("zh", f"{LIVER}内是什么？选项：肝脏、脾脏。", ("肝脏", "脾脏"), "肝脏", "脾脏", "box_contradicts"),
]


@pytest.mark.parametrize(("language", "question", "options", "right", "wrong", "reason"), CLOSED)
def test_a_closed_answer_is_judged_with_its_question(language, question, options, right, wrong, reason) -> None:
    assert reasons(right, question=question, options=options, language=language) == ()
    assert reasons(wrong, question=question, options=options, language=language) == (reason,)


@pytest.mark.parametrize(
    ("language", "question", "options"),
    [("en", "Is the kidney the left or the right one? Options: left, right.", ("left", "right")),
     ("zh", "肾脏在哪一侧？选项：左侧、右侧。", ("左侧", "右侧"))],
)  # fmt: skip
def test_a_side_answer_is_judged_by_the_label_of_its_question(language, question, options) -> None:
    record = make_scan(regions=REGIONS[1:2])
    asked = {"question": question, "options": options, "language": language, "record": record}
    assert reasons(options[1], **asked) == ()
    assert reasons(options[0], **asked) == ("side_contradicts",)


def test_an_answer_that_is_no_option_is_named() -> None:
    assert reasons("PET", question="What? Options: CT, MR.", options=("CT", "MR"))[0] == "answer_not_an_option"


def test_gold_boxes_must_be_the_ones_in_the_answer() -> None:
    text = f"<ref>liver</ref>{LIVER}"
    assert reasons(text, boxes=((0.10, 0.40, 0.45, 0.70),)) == ()
    assert reasons(text, boxes=((0.10, 0.40, 0.45, 0.90),)) == ("box_contradicts",)


def test_a_description_is_judged_by_the_box_of_its_question() -> None:
    asked = f"Describe the region {LIVER}."
    assert reasons("This region shows the liver. It lies in the left part of the image.", question=asked) == ()
    assert reasons("This region shows the spleen.", question=asked) == ("box_contradicts",)
    assert reasons("This region is it. It lies in the upper right part of the image.", question=asked) == (
        "box_contradicts",
    )


def test_a_sources_own_words_are_believed_for_labels_but_not_for_the_modality() -> None:
    record = make_scan(text="A pancreas.", text_kind="caption", modality="Pathology", body_part="not stated")
    source = Generator("source", "1", "", "none", 0)
    quoted = make_text(record, "Describe.", "A pancreas under a microscope.", generator=source)
    assert contradictions(quoted, [known_of(record)]) == ()
    for said in ("A pancreas in ultrasound.", "A pancreas, sagittal."):
        wrong = make_text(record, "Describe.", said, generator=source)
        assert len(contradictions(wrong, [known_of(record)])) == 1
    made = make_text(record, "Describe.", "A pancreas under a microscope.")
    assert contradictions(made, [known_of(record)]) == ("modality_contradicts",)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_two_images_are_compared_with_what_each_shows(language: str) -> None:
    question, options = {
        "en": ("Which of the two images shows the heart? Options: first, second.", ("first", "second")),
        "zh": ("两幅图像中哪一张显示心脏？选项：第一张、第二张。", ("第一张", "第二张")),
    }[language]
    has, lacks = Known("CT", present=frozenset({"heart"})), Known("CT", absent=frozenset({"heart"}))
    pair = make_text(make_scan(), question, options[1], options=options, language=language)
    assert contradictions(pair, [lacks, has]) == ()
    assert contradictions(pair, [has, lacks]) == ("negation_contradicts",)


def test_numbers_in_two_images_are_compared() -> None:
    pair = make_text(make_scan(), "Which image has more kidneys? Options: first, second.", "first",
                     options=("first", "second"))  # fmt: skip
    many, few = (Known("CT", present=frozenset({"kidney"}), counts={"kidney": n}) for n in (5, 2))
    assert contradictions(pair, [many, few]) == ()
    assert contradictions(pair, [few, many]) == ("count_contradicts",)


@pytest.mark.parametrize(("answer", "stated", "agrees"), [
    ("yes", "same texture", True), ("no", "different texture", True), ("yes", "different texture", False),
    ("no", "same texture", False), ("yes", "", False),
])  # fmt: skip
def test_a_stated_comparison_is_checked(answer: str, stated: str, agrees: bool) -> None:
    question = "Do these two images show the same texture? Answer yes or no."
    pair = make_text(make_scan(), question, answer, options=("yes", "no"))
    found = contradictions(pair, [Known("Dermoscopy", comparison=stated), Known("Dermoscopy")])
    assert (found == ()) is agrees


def test_the_choices_are_cut_from_the_question_and_nothing_else() -> None:
    cut = without_choices(
        "Is the kidney the left or the right one? Options: left, right.", ("left", "right"), "en"
    )
    assert cut.removesuffix(" Options") == "Is the kidney the left or the right one?"
    assert without_choices("Where is it?", ("a", "b"), "en") == "Where is it?"


def refused(records: list[Record], generator: TemplateGenerator) -> list[tuple[str, str, str]]:
    around = look_around(records)
    return [
        (pair.rejected_reason, pair.conversations[0].value, pair.conversations[1].value)
        for record in records
        for pair in verified(record, generator, around=around[record.source], kinds=PAIR_KINDS)
        if pair.rejected_reason
    ]


@given(studies())
@hypothesis_settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
def test_templates_never_contradict_a_random_annotation(records: list[Record]) -> None:
    generator = TemplateGenerator(
        seed=len(records), chinese_share=0.5, max_questions=12, max_regions=4, writes=("report", "text_only")
    )
    assert refused(records, generator) == []


@pytest.mark.parametrize("seed", range(12))
def test_templates_never_contradict_a_study(seed: int) -> None:
    generator = TemplateGenerator(
        seed=seed, chinese_share=0.5, max_questions=12, max_regions=4, writes=("report", "text_only")
    )
    assert refused(make_study(), generator) == []


def test_a_sources_caption_may_name_the_plane_that_its_record_does_not_state() -> None:
    source = Generator("source", "1", "", "none", 0)
    for plane, reasons in (("not stated", ()), ("axial", ("plane_contradicts",))):
        record = make_scan(text="A sagittal view.", text_kind="caption", plane=plane)
        for made_by, expected in ((source, reasons), (GENERATOR, ("plane_contradicts",))):
            pair = make_text(record, "Describe.", "A sagittal view.", generator=made_by)
            assert contradictions(pair, [known_of(record)]) == expected
