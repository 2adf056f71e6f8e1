"""All reading of answers out of a model's text, once; what cannot be read is wrong, never guessed.

Rules for options follow VLMEvalKit's `can_infer` (open-compass/VLMEvalKit, vlmeval/utils/matching_util.py):
one option letter among the last words, or one option's text inside a short answer. Where that kit falls back
to a judge and then to a random choice, this returns None. `VERSION` rises with every change of a rule.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from components.records import Box

VERSION = 1
YES = {"yes", "true", "present", "correct", "是", "有", "存在", "对"}
NO = {"no", "false", "absent", "incorrect", "not", "否", "没有", "不存在", "无", "不是", "不"}
NUMBER_WORDS = {
    "zero": 0, "none": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9, "ten": 10, "零": 0, "一": 1, "二": 2, "两": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8,
    "九": 9, "十": 10,
}  # fmt: skip
LETTERS = "ABCDEFGHIJ"
BOX_ROWS = re.compile(r"\[\s*(-?[\d.]+)\s*,\s*(-?[\d.]+)\s*,\s*(-?[\d.]+)\s*,\s*(-?[\d.]+)\s*\]")
STATED = re.compile(r"answer\s*(?:is|:)\s*\(?([A-J])\b", re.IGNORECASE)
LETTER_TOKENS = 5
MAX_LENGTH_RATIO = 2.0


def normalise(text: str) -> str:
    """Lower-case, one form of each character, no punctuation at the ends, single spaces."""
    flat = unicodedata.normalize("NFKC", text).lower()
    return " ".join(re.sub(r"[^\w\s.%+/-]", " ", flat).split()).strip(" .")


def parse_yes_no(text: str) -> str | None:
    """Return "yes" or "no" as the answer opens with it, else None (also when it says both)."""
    first = normalise(text).split(" ")[0]
    says_no = first in NO or first.startswith(("没有", "不", "否", "无"))
    says_yes = first in YES or (first.startswith(("是", "有", "存在")) and not says_no)
    if says_yes == says_no:
        return None
    return "yes" if says_yes else "no"


def parse_count(text: str) -> int | None:
    """Return the one whole number an answer states (digits or a word to ten), None for none or several."""
    flat = normalise(text)
    found = {int(number) for number in re.findall(r"(?<![\d.])\d+(?![\d.]*\d)", flat)}
    if not found:
        words = re.findall(r"[a-z]+|[零一二两三四五六七八九十]", flat)
        found = {NUMBER_WORDS[word] for word in words if word in NUMBER_WORDS}
    return found.pop() if len(found) == 1 else None


def parse_option(text: str, options: Sequence[str]) -> int | None:
    """Return the index of the one option an answer names: its text, its letter, or its text in a short answer."""
    flat = normalise(text)
    exact = [index for index, option in enumerate(options) if normalise(option) == flat]
    if len(exact) == 1:
        return exact[0]
    letter = _parse_letter(text, len(options))
    return letter if letter is not None else _parse_inside(flat, options)


def _parse_letter(text: str, num_options: int) -> int | None:
    stated = STATED.search(text)
    if stated:
        index = LETTERS.index(stated.group(1).upper())
        return index if index < num_options else None
    words = re.sub(r"[().,:;!*#{}\[\]]", " ", text).split()
    found = {word for word in words if len(word) == 1 and word in LETTERS[:num_options]}
    if len(found) != 1 or (found == {"A"} and len(words) > 1 and words[0] == "A"):
        return None  # a lone leading "A" may be the article
    letter = found.pop()
    return LETTERS.index(letter) if letter in words[-LETTER_TOKENS:] else None


def _parse_inside(flat: str, options: Sequence[str]) -> int | None:
    wanted = [normalise(option) for option in options]
    if len(flat) > MAX_LENGTH_RATIO * sum(len(option) for option in wanted):
        return None
    found = [index for index, option in enumerate(wanted) if option and _contains(flat, option)]
    return found[0] if len(found) == 1 else None


def _contains(flat: str, option: str) -> bool:
    if option.isascii():
        return re.search(rf"(?<!\w){re.escape(option)}(?!\w)", flat) is not None
    return option in flat


def parse_boxes(text: str) -> list[Box]:
    """Return the ordered boxes (0-1) written as [l, t, r, b] in an answer; anything else is left out."""
    boxes: list[Box] = []
    for row in BOX_ROWS.findall(text):
        try:
            left, top, right, bottom = (float(number) for number in row)
        except ValueError:
            continue
        if 0 <= left <= right <= 1 and 0 <= top <= bottom <= 1:
            boxes.append((left, top, right, bottom))
    return boxes


def write_boxes(boxes: Sequence[Box]) -> str:
    """Write boxes as the training text does: [[0.18, 0.16, 0.50, 0.43]]."""
    return "[" + ", ".join("[" + ", ".join(f"{value:.2f}" for value in box) + "]" for box in boxes) + "]"
