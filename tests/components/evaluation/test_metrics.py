"""Scores of single answers, against values worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.evaluation.metrics import bleu_4, coco_rouge_l, iou, matched_iou, overlap_f1, rouge_l, tokenise

unit = st.floats(0, 1)
boxes = st.tuples(unit, unit, unit, unit).map(
    lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
)


def test_iou_by_hand() -> None:
    assert iou((0, 0, 0.5, 0.5), (0.25, 0, 0.75, 0.5)) == pytest.approx(1 / 3)
    assert iou((0, 0, 0.5, 0.5), (0.5, 0.5, 1, 1)) == 0.0
    assert iou((0.3, 0.3, 0.3, 0.3), (0.3, 0.3, 0.3, 0.3)) == 0.0


@given(boxes, boxes)
def test_iou_is_symmetric_and_a_share(left, right) -> None:
    assert iou(left, right) == pytest.approx(iou(right, left))
    assert 0.0 <= iou(left, right) <= 1.0 + 1e-9


def test_a_box_too_many_costs_like_a_box_missed() -> None:
    gold = [(0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0)]
    assert matched_iou(gold[::-1], gold) == pytest.approx(1.0)
    assert matched_iou(gold[:1], gold) == matched_iou(gold, gold[:1]) == pytest.approx(0.5)
    assert matched_iou([gold[0], gold[0]], gold) == pytest.approx(0.5)
    assert matched_iou([], gold) == 0.0


def test_words_numbers_and_chinese_characters() -> None:
    assert tokenise("A T1.5 scan, 轴位 CT!") == ["a", "t1.5", "scan", "轴", "位", "ct"]


def test_rouge_l_by_hand() -> None:
    # longest common subsequence "an axial of the": 4 of 6 and 4 of 5 words
    value = rouge_l("an axial scan of the liver", "an axial image of the"[:21])
    assert value == pytest.approx(2 * (4 / 6) * (4 / 5) / (4 / 6 + 4 / 5))
    assert rouge_l("轴位图像", "轴位图像") == 1.0
    assert rouge_l("nothing", "alike") == 0.0


def test_rouge_l_of_coco_weighs_recall_more() -> None:
    # 4 of 6 words said, 4 of 5 wanted: (1 + 1.44) P R / (R + 1.44 P)
    said, wanted = "an axial scan of the liver", "an axial image of the"
    expected = 2.44 * (4 / 6) * (4 / 5) / (4 / 5 + 1.44 * 4 / 6)
    assert coco_rouge_l(said, wanted) == pytest.approx(expected) and expected > rouge_l(said, wanted)
    assert coco_rouge_l(wanted, said) == pytest.approx(2.44 * (4 / 6) * (4 / 5) / (4 / 6 + 1.44 * 4 / 5))
    assert coco_rouge_l("the the cat", "the cat the") == pytest.approx(2 / 3)  # in order: "the cat" or "the the"
    assert coco_rouge_l("nothing", "alike") == coco_rouge_l("", "alike") == coco_rouge_l("alike", "") == 0.0
    assert coco_rouge_l("轴位图像", "轴位图像") == 1.0


def test_bleu_is_one_for_equal_texts_in_both_languages() -> None:
    assert bleu_4("An axial CT image of the chest.", "an axial CT image of the chest.", "en") == pytest.approx(1.0)
    assert bleu_4("这是一张胸部图像", "这是一张胸部图像", "zh") == pytest.approx(1.0)
    assert bleu_4("a fundus", "an axial CT image of the chest", "en") < 0.1
    assert bleu_4("这是一张胸部图像", "这是一张腹部图像", "zh") > bleu_4("腹", "这是一张胸部图像", "zh")


def test_overlap_of_bags() -> None:
    assert overlap_f1(["a", "b"], ["b", "c"]) == pytest.approx(0.5)
    assert overlap_f1([], []) == 0.0
