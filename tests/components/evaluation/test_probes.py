"""Probes say nothing new: each one's truth follows from the item it is made of."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from components.evaluation.catalog import load_benchmarks
from components.evaluation.items import Answer, Item, Judged, item_from_pair
from components.evaluation.probes import is_shown, make_probes
from components.pairs.wording import chinese, english
from components.pairs.wording.language import TermMissing, Wording
from tests.fakes.items import make_item
from tests.fakes.tables import make_pair, make_record

BENCHMARK = load_benchmarks()["hallucination"]
LUNG = (("label", "lung"),)


def presence(question: str, gold: str, language: str = "en") -> Item:
    options = ("yes", "no") if language == "en" else ("是", "否")
    return make_item(question=f"<image>\n{question}", gold=gold, options=options, language=language, facts=LUNG)


@pytest.mark.parametrize(
    ("question", "gold", "language", "shown"),
    [
        ("Is a lung visible in this image?", "yes", "en", True),
        ("Is a lung visible in this image?", "no", "en", False),
        ("Is a lung missing from this image?", "yes", "en", False),
        ("Is it true that the image does not show a lung?", "no", "en", True),
        ("Does a lung lie outside this image?", "yes", "en", False),
        ("图像中是否有肺？只回答是或否。", "是", "zh", True),
        ("图中是否缺少肺？", "是", "zh", False),
        ("这张图里有没有肺？", "否", "zh", False),
    ],
)
def test_what_is_shown_follows_from_question_and_answer(
    question: str, gold: str, language: str, shown: bool
) -> None:
    assert is_shown(presence(question, gold, language)) is shown


@pytest.mark.parametrize("label", ["lung", "no tumour", "not stated object"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_wording_of_the_corpus_is_understood(language: str, label: str) -> None:
    """Each shape of a presence question, with each way of asking for yes or no behind it."""
    wording = {"en": english.WORDING, "zh": chinese.WORDING}[language]
    yes, no = ("yes", "no") if language == "en" else ("是", "否")
    for key, is_turned in (("presence_question", False), ("absence_question", True)):
        for shape in wording.shapes[key]:
            for ending in wording.shapes["yes_no"]:
                question = f"{shape.format(thing=_thing(wording, label))} {ending}"
                for gold in (yes, no):
                    item = replace(presence(question, gold, language), facts=(("label", label),))
                    assert is_shown(item) is ((gold == yes) != is_turned), question


def _thing(wording: Wording, label: str) -> str:
    try:
        return wording.thing(label, "")
    except TermMissing:
        return label


def test_other_items_say_nothing_of_presence() -> None:
    assert is_shown(make_item(question_type="modality", facts=LUNG)) is None
    assert is_shown(make_item()) is None  # no label is known
    assert is_shown(make_item(gold="perhaps", facts=LUNG)) is None


def test_probes_of_an_absent_object() -> None:
    probes = {probe.question_type: probe for probe in make_probes([presence("Is a lung in view?", "no")])}
    assert set(probes) == {"absent_object", "negation", "image_removed"}
    absent, negation, removed = (probes[name] for name in ("absent_object", "negation", "image_removed"))
    assert absent.question == "<image>\nDoes this image show the lung? Answer yes or no." and absent.gold == "no"
    assert negation.gold == "yes" and "does not show" in negation.question
    assert removed.record_ids == () and "<image>" not in removed.question
    assert len({probe.item_id for probe in probes.values()} | {"i"}) == 4
    assert all(BENCHMARK.takes(probe) and probe.patient_key == "p" for probe in probes.values())


def test_probes_of_a_present_object_in_chinese() -> None:
    probes = {p.question_type: p for p in make_probes([presence("图像中是否有肺？", "是", "zh")])}
    assert probes["present_object"].question == "<image>\n这幅图像显示了肺吗？请回答是或否。"
    assert probes["present_object"].gold == "是" and probes["negation"].gold == "否"
    assert probes["negation"].gold_index == 1


def test_both_sides_are_stated() -> None:
    side = make_item(question_type="side", options=("left", "right"), gold="left", facts=LUNG)
    probes = [probe for probe in make_probes([side]) if probe.question_type == "laterality"]
    assert {probe.question.split("patient's ")[1].split(" ")[0]: probe.gold for probe in probes} == {
        "left": "yes",
        "right": "no",
    }
    assert len({probe.item_id for probe in probes}) == 2


def test_pairs_carry_the_label_that_probes_need() -> None:
    pair = make_pair(
        make_record(1, patient="p", split="test"), "Is there a lung?", "yes", question_type="presence",
        options=("yes", "no"), labels=("lung",),
    )  # fmt: skip
    item = item_from_pair(pair)
    assert item.fact("label") == "lung" and item.fact("task") == "Organ Recognition - Thorax"
    assert {probe.question_type for probe in make_probes([item])} == {
        "present_object",
        "negation",
        "image_removed",
    }


def test_golden_predictions() -> None:
    probes = {p.question_type: p for p in make_probes([presence("Is a lung in view?", "no")])}
    said = BENCHMARK.score(Answer("Yes, a lung."), probes["absent_object"])
    assert said.scores == {"accuracy": 0.0, "absent_object_accuracy": 0.0} and said.parsed == "yes"
    assert BENCHMARK.score(Answer("yes"), probes["negation"]).scores["negation_accuracy"] == 1.0
    assert not BENCHMARK.score(Answer("hm"), probes["negation"]).is_parsed
    told = BENCHMARK.score(Answer("I cannot tell without the image."), probes["image_removed"])
    assert told.scores == {"accuracy": 1.0, "abstention": 1.0}
    assert BENCHMARK.score(Answer("The lung is normal."), probes["image_removed"]).scores["abstention"] == 0.0


def test_the_rate_of_hallucination_is_over_absent_objects_alone() -> None:
    items = [presence("Is a lung in view?", gold) for gold in ("no", "no", "yes")]
    probes = [p for p in make_probes(items) if p.question_type in ("absent_object", "present_object")]
    rows = [
        Judged(p, Answer(t), BENCHMARK.score(Answer(t), p))
        for p, t in zip(probes, ("yes", "no", "yes"), strict=True)
    ]
    mean, rate, yes = (metric.compute for metric in BENCHMARK.corpus_metrics)
    assert mean(rows) == pytest.approx((1 / 2 + 1) / 2)  # absent: one of two; present: one of one
    assert rate(rows) == pytest.approx(1 / 2) and yes(rows) == pytest.approx(2 / 3)
    assert math.isnan(rate([]))
