"""Answers are read by rule; what cannot be read is None, never a guess."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.evaluation.answers import (
    normalise,
    parse_boxes,
    parse_count,
    parse_option,
    parse_yes_no,
    write_boxes,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yes.", "yes"), ("yes, there is a lung", "yes"), ("No", "no"), ("not visible", "no"), ("是的。", "yes"),
        ("没有看到", "no"), ("不是", "no"), ("否。", "no"), ("有", "yes"), ("perhaps", None), ("", None),
        ("The answer is unclear", None),
    ],
)  # fmt: skip
def test_yes_no(text: str, expected: str | None) -> None:
    assert parse_yes_no(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", 7), ("There are 12 nuclei.", 12), ("three", 3), ("共有五个", 5), ("2 or 3", None), ("many", None),
        ("3.5 mm", None), ("four of four", 4), ("", None),
    ],
)  # fmt: skip
def test_count(text: str, expected: int | None) -> None:
    assert parse_count(text) == expected


OPTIONS = ("axial", "coronal", "sagittal")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("axial", 0), ("Coronal.", 1), ("The plane is sagittal.", 2), ("B", 1), ("(C)", 2), ("Answer: A", 0),
        ("The answer is B because", 1), ("axial or coronal", None), ("oblique", None), ("", None), ("E", None),
        ("A scan", None), ("paraaxial", None), ("answer is J", None),
        ("a very long story in which the plane is named only once as axial among many other words", None),
    ],
)  # fmt: skip
def test_option(text: str, expected: int | None) -> None:
    assert parse_option(text, OPTIONS) == expected


def test_chinese_option_is_found_inside_an_answer() -> None:
    assert parse_option("图像为冠状面", ("轴位", "冠状面")) == 1
    assert parse_option("ＣＴ", ("CT", "MR")) == 0  # full-width letters


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<ref>lung</ref><box> [[0.18, 0.16, 0.50, 0.43]]</box>", [(0.18, 0.16, 0.5, 0.43)]),
        ("[[0.1,0.1,0.2,0.2], [0.3, 0.3, 0.4, 0.4]]", [(0.1, 0.1, 0.2, 0.2), (0.3, 0.3, 0.4, 0.4)]),
        ("[0.5, 0.1, 0.2, 0.2]", []), ("[0.1, 0.1, 1.2, 0.2]", []), ("[1.1.1, 0, 1, 1]", []), ("left lung", []),
    ],
)  # fmt: skip
def test_boxes(text: str, expected: list) -> None:
    assert parse_boxes(text) == expected


@given(st.lists(st.tuples(*[st.integers(0, 100)] * 4), max_size=4))
def test_written_boxes_are_read_back(corners: list[tuple[int, int, int, int]]) -> None:
    boxes = [(min(a, c) / 100, min(b, d) / 100, max(a, c) / 100, max(b, d) / 100) for a, b, c, d in corners]
    assert parse_boxes(write_boxes(boxes)) == boxes


@given(st.text(max_size=40))
def test_no_text_breaks_a_reader(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)
    assert parse_yes_no(text) in ("yes", "no", None)
    assert parse_option(text, OPTIONS) in (0, 1, 2, None)
    parse_count(text)
    parse_boxes(text)
