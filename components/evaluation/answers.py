"""All reading of answers out of a model's text, once; what cannot be read is wrong, never guessed.

Where each rule comes from:
- `parse_option`: VLMEvalKit's `can_infer` (github.com/open-compass/VLMEvalKit, vlmeval/utils/matching_util.py):
  one option letter among the last words, or one option's text inside a short answer. Where that kit falls back
  to a judge and then to a random choice, this returns None.
- `parse_mmmu_option`, `parse_mmmu_open`, `is_mmmu_open_right`: MMMU (github.com/MMMU-Benchmark/MMMU,
  eval/eval_utils.py): "(A)", else " A ", else an option's text in an answer of more than five words; the last
  occurrence wins. Where it draws at random, this returns None.
- `nearest_option`: OmniMedVQA (github.com/OpenGVLab/Multi-Modality-Arena, MedicalEval/Question-answering_Score/
  utils/medicalqa.py): the option of greatest difflib ratio, first one on a tie.
- `normalise_short`: the VQA evaluation's words (github.com/GT-Vision-Lab/VQA, vqaEval.py): articles dropped,
  number words as digits, punctuation apart.
- `llava_med_normalise`, `llava_med_hit`: github.com/microsoft/LLaVA-Med tag v1.0.0, llava/eval/run_eval.py and
  eval_metrics/glossary.py.
- `parse_yes_no`, `parse_count`, `parse_boxes`, `states`, `is_abstention`: this project's.

`VERSION` rises with every change of a rule.
"""

from __future__ import annotations

import difflib
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
ARTICLES = {"a", "an", "the"}
MMMU_ENDS = ",.!?;:'"
MMMU_KEYS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
MMMU_NUMBERS = re.compile(
    r"-?\b\d{1,3}(?:,\d{3})+\b|-?\d+(?:\.\d+)?[eE][+-]?\d+|-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])"
)
LLAVA_MED_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
ABSTENTION = re.compile(
    r"\b(?:can ?not|can't|could not|unable to|impossible to|not possible to)\b.{0,30}?"
    r"\b(?:determine|tell|say|see|assess|answer|identify|judge|view|know"
    r"|be (?:determined|assessed|seen|identified))"
    r"|\bno (?:image|picture)\b|\bwithout (?:an|the|any) (?:image|picture)\b|\bnot enough information\b"
    r"|\b(?:insufficient|lacks?) information\b|\bi do(?: not|n't) know\b"
    r"|\b(?:image|picture) (?:is|was) (?:not|n't) (?:provided|attached|given|shown)\b",
    re.IGNORECASE,
)
ABSTENTION_ZH = re.compile(
    r"无法(?:判断|确定|看到|回答|识别|评估)|不能(?:判断|确定|回答)|没有(?:提供|看到)?(?:图像|图片)|看不到|不确定|不知道"
)


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


def normalise_short(text: str) -> str:
    """Return a short answer in the form that is compared: no articles, number words as digits, single spaces."""
    words = (word for word in normalise(text).replace("/", " ").split() if word not in ARTICLES)
    return " ".join(str(NUMBER_WORDS.get(word, word)) if word.isascii() else word for word in words)


def states(text: str, gold: str, *, question: str = "") -> bool:
    """Tell whether an answer states a closed gold answer: as whole words, not denied, not beside its alternative.

    "axial or coronal" does not state "axial" when the question offers both; "not enlarged" does not state
    "enlarged". A bare yes or no is read by `parse_yes_no` instead.
    """
    flat, wanted = normalise_short(text), normalise_short(gold)
    if not wanted or not _contains(flat, wanted):
        return False
    if flat != wanted and re.search(rf"\b(?:no|not|without|neither) (?:\w+ )?{re.escape(wanted)}\b", flat):
        return False
    return not any(
        _contains(flat, other) and not _contains(wanted, other) for other in _alternatives(question, wanted)
    )


def _alternatives(question: str, wanted: str) -> list[str]:
    """Return the words that a question offers beside the gold answer: "axial or coronal?" offers both."""
    asked = normalise_short(question)
    pairs = re.findall(r"(\w+) or (\w+)", asked)
    size = len(wanted)
    for left, right in re.findall(r"([\u3400-\u9fff]+)还是([\u3400-\u9fff]+)", asked):
        pairs.append((left[-size:], right[:size]))
    offered = [pair for pair in pairs if any(_contains(wanted, word) for word in pair)]
    return [word for pair in offered for word in pair if word != wanted]


def is_abstention(text: str) -> bool:
    """Tell whether an answer declines to answer, in English or Chinese."""
    flat = unicodedata.normalize("NFKC", text).replace("’", "'")
    return bool(ABSTENTION.search(flat) or ABSTENTION_ZH.search(flat))


def nearest_option(text: str, options: Sequence[str]) -> int | None:
    """Return the option most like the answer by difflib's ratio; None when nothing is alike at all.

    OmniMedVQA's published rule. Its fault: an answer that names no option still gets the nearest one, so it
    reads more answers than were given; its accuracy is printed under its own name.
    """
    ratios = [difflib.SequenceMatcher(None, option, text).ratio() for option in options]
    best = max(ratios, default=0.0)
    return ratios.index(best) if best > 0 else None


def parse_mmmu_option(text: str, options: Sequence[str]) -> int | None:
    """Return the option by MMMU's rule, or None where that rule draws at random."""
    padded = f" {_strip_one_by_one(text)} "
    letters = LETTERS[: len(options)]
    for form in ("({})", " {} "):
        places = {padded.rfind(form.format(letter)): index for index, letter in enumerate(letters)}
        if max(places) >= 0:
            return places[max(places)]
    if len(padded.split()) <= 5:
        return None
    lower = padded.lower()
    found = {lower.rfind(option.lower()): index for index, option in reversed(list(enumerate(options)))}
    return found[max(found)] if max(found) >= 0 else None


def _strip_one_by_one(text: str) -> str:
    for character in MMMU_ENDS:
        text = text.strip(character)
    return text


def parse_mmmu_open(text: str) -> list[str | float]:
    """Return the strings and numbers that MMMU's rule reads out of an open answer, in order."""
    found: list[str | float] = []
    for phrase in _mmmu_phrases(text):
        for piece in (phrase, *MMMU_NUMBERS.findall(phrase)):
            found.extend(form for form in _mmmu_forms(piece) if form not in found)
    return found


def _mmmu_phrases(text: str) -> list[str]:
    whole = text.strip().strip(".").lower()
    sentences = re.split(r"\.\s(?=[A-Z])|\n", whole)
    phrases = []
    for index, sentence in enumerate(sentences):
        keys = (*MMMU_KEYS, "=") if index == len(sentences) - 1 else MMMU_KEYS
        tails = [sentence.split(key)[-1].strip() for key in keys if key in sentence]
        shortest = min(tails, key=len, default="")
        if shortest and shortest not in MMMU_ENDS:
            phrases.append(shortest)
    return phrases or [whole]


def _mmmu_forms(piece: str) -> list[str | float]:
    stripped = piece.strip()
    try:
        return [round(float(stripped.replace(",", "")), 2)]
    except ValueError:
        lower = stripped.lower()
    return [f" {lower}", f"{lower} "] if len(lower) == 1 else [lower]


def is_mmmu_open_right(text: str, golds: Sequence[str]) -> bool:
    """Tell whether an open answer is right by MMMU's rule: a gold string inside, or an equal number (2 places)."""
    wanted = [form for gold in golds for form in _mmmu_forms(gold)]
    said = parse_mmmu_open(text)
    strings = [form for form in said if isinstance(form, str)]
    numbers = {form for form in said if isinstance(form, float)}
    inside = any(form in whole for form in wanted if isinstance(form, str) for whole in strings)
    return inside or not numbers.isdisjoint(wanted)


def llava_med_normalise(text: str) -> str:
    """Normalise as LLaVA-Med's scorer: punctuation, articles, number words.

    Left out: its list of contractions, which rewrites "dont" alike on both sides, and the slip by which only
    the first 32 full stops of a text are dropped (a flag passed as a count).
    """
    has_number_comma = re.search(r"\d,\d", text) is not None
    flat = text
    for mark in LLAVA_MED_PUNCTUATION:
        beside_space = f"{mark} " in text or f" {mark}" in text
        flat = flat.replace(mark, "" if beside_space or has_number_comma else " ")
    words = re.sub(r"\.(?!\d)", "", flat).lower().split()
    numbers = {word: str(value) for word, value in NUMBER_WORDS.items() if word.isascii()}
    return " ".join(numbers.get(word, word) for word in words if word not in ARTICLES)


def llava_med_hit(text: str, gold: str) -> bool:
    """Tell whether a closed answer is a hit by LLaVA-Med's rule: "yes" or "no" occurs, and so does the gold.

    Faults of the rule, kept because the name says whose it is: letters count inside words ("no" in
    "diagnosis"), "yes or no" hits both, and a closed answer that is neither yes nor no can hit only by chance
    (61 of 416 SLAKE-en, 21 of 272 VQA-RAD). Fault not kept: the published loop appends nothing when yes or no
    occurs and the gold does not, so its plainly wrong answers leave the denominator; here they count as wrong.
    """
    said, wanted = llava_med_normalise(text.lower()), llava_med_normalise(gold.lower())
    return ("yes" in said or "no" in said) and wanted in said


def is_none_found(text: str) -> bool:
    """Tell whether an answer says that there is nothing to find, and no more: "none", "no lung", "未见"."""
    flat = normalise(text)
    return flat.split(" ")[0] in {"none", "no", "nothing", "not", "absent"} or flat.startswith(
        ("无", "没有", "未见")
    )
