"""Texts and boxes become the numbers and truth values that the rules judge."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.quality.features import are_valid_text_boxes, conversation_features, is_valid_box, row_features
from components.quality.report import bar_rows


@pytest.mark.parametrize(
    ("box", "valid"),
    [
        ((0, 0, 1, 1), True), ((0.1, 0.2, 0.1, 0.4), False), ((0.5, 0.1, 0.2, 0.3), False), ((0, 0, 1), False),
        ((-0.1, 0, 1, 1), False), ((0, 0, 1.0001, 1), False), ((float("nan"), 0, 1, 1), False),
    ],
)  # fmt: skip
def test_boxes(box, valid: bool) -> None:
    assert is_valid_box(box) is valid


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("no box here", True),
        ("<ref>lung</ref><box> [[0.18, 0.16, 0.50, 0.43]]</box>", True),
        ("<box> [[0.1, 0.1, 0.2, 0.2], [0.3, 0.3, 0.4, 0.4]]</box>", True),
        ("<box> [[0.10, 0.1, 0.10, 0.2]]</box>", True),  # rounded to no width
        ("<box> [[0.5, 0.1, 0.2, 0.2]]</box>", False),
        ("<box> [[0.1, 0.1, 0.2]]</box>", False),
        ("<box> [[a, 0.1, 0.2, 0.2]]</box>", False),
        ("<box> [[]]</box>", False),
        ("<box> [[0.1, 0.1, 0.2, 0.2]]", False),
        ("<box>0.1, 0.1, 0.2, 0.2</box>", False),
    ],
)
def test_boxes_in_text(text: str, valid: bool) -> None:
    assert are_valid_text_boxes(text) is valid


@given(st.lists(st.integers(0, 100), min_size=4, max_size=4))
def test_written_box_is_valid_exactly_when_ordered(numbers: list[int]) -> None:
    box = [number / 100 for number in numbers]
    text = "<box> [[" + ", ".join(f"{value:.2f}" for value in box) + "]]</box>"
    assert are_valid_text_boxes(text) == (box[0] <= box[2] and box[1] <= box[3])


def test_conversation_is_flattened() -> None:
    found = conversation_features(
        [{"speaker": "human", "value": "<image>\n<image>\nSame?"}, {"speaker": "gpt", "value": " no "}]
    )
    assert found["num_placeholders"] == found["num_first_placeholders"] == 2
    assert found["turns_alternate"] and found["text_boxes_valid"]
    assert (found["shortest_question"], found["shortest_answer"], found["longest_answer"]) == (5, 2, 2)


def test_an_empty_conversation_is_not_fine() -> None:
    found = conversation_features([])
    assert not found["turns_alternate"] and found["shortest_answer"] == -1


def test_open_answer_needs_no_option() -> None:
    row = dict.fromkeys(
        ("pair_id", "kind", "language", "modality", "department", "task", "patient_key", "split", "source"), None
    )
    row |= {"conversations": None, "record_ids": None, "boxes": None, "options": None, "answer": "free text"}
    found = row_features(row)
    assert found["answer_among_options"] and found["boxes_valid"] and found["pair_id"] == ""
    assert not row_features({**row, "options": ["yes"]})["answer_among_options"]


def test_bars_are_stacked_to_the_widest() -> None:
    rows = bar_rows({"train": {"CT": 6, "MR": 2}, "test": {"CT": 2}})
    assert [(row["value"], row["total"]) for row in rows] == [("CT", 8), ("MR", 2)]
    assert rows[0]["parts"] == [
        {"split": "test", "offset": 0.0, "width": 25.0}, {"split": "train", "offset": 25.0, "width": 75.0}
    ]  # fmt: skip
    assert bar_rows({}) == []
