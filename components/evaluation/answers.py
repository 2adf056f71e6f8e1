"""All reading of answers out of a model's text, once; what cannot be read is wrong, never guessed.

Where each rule comes from:
- `parse_option`, in this order:
  the whole answer is one option's text (lm-evaluation-harness, exact match after normalising);
  a letter behind a cue, "the answer is B", "答案：B" (`STATED`; this project's. MMLU-Pro's compute_accuracy in
  github.com/TIGER-AI-Lab/MMLU-Pro has the English cue; VLMEvalKit has none);
  one option letter among the last words, "A" before a word being the article (VLMEvalKit's `can_infer_option`,
  github.com/open-compass/VLMEvalKit, vlmeval/utils/matching_util.py), or a small letter in brackets or alone
  (this project's);
  one option's text inside a short answer, or behind "the answer is" (its `can_infer_text`), but whole words and
  not denied (this project's).
  Letters and texts that the answer denies are not read. Where that kit falls back to a judge and then to a
  random choice, this returns None.
- `parse_yes_no`: abstentions first, None where both are said (this project's); "There is no …" is no and "There is
  a …" is yes (POPE, github.com/RUCAIBox/POPE, evaluate.py, which reads every "no" or "not" as no and the rest
  as yes; here what says neither is None).
- `parse_mmmu_option`, `parse_mmmu_open`, `is_mmmu_open_right`: MMMU (github.com/MMMU-Benchmark/MMMU,
  eval/eval_utils.py): "(A)", else " A ", else an option's text in an answer of more than five words; the last
  occurrence wins. Where it draws at random, this returns None.
- `nearest_option`: OmniMedVQA (github.com/OpenGVLab/Multi-Modality-Arena, MedicalEval/Question-answering_Score/
  utils/medicalqa.py): the option of greatest difflib ratio, first one on a tie.
- `normalise_short`: the VQA evaluation's words (github.com/GT-Vision-Lab/VQA, vqaEval.py): articles dropped,
  number words as digits, punctuation apart.
- `llava_med_normalise`, `llava_med_hit`: github.com/microsoft/LLaVA-Med tag v1.0.0, llava/eval/run_eval.py and
  eval_metrics/glossary.py.
- `parse_count`, `parse_boxes`, `states`, `is_abstention`: this project's; what is denied, `denial.py` tells.

`VERSION` rises with every change of a rule.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Sequence

from components.evaluation.denial import contains, flat_text, is_denied
from components.records import Box

VERSION = 2
YES = {"yes", "true", "present", "correct", "是", "有", "存在", "对"}
NO = {"no", "false", "absent", "incorrect", "not", "否", "没有", "不存在", "无", "不是", "不"}
NUMBER_WORDS = {
    "zero": 0, "none": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9, "ten": 10, "零": 0, "一": 1, "二": 2, "两": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8,
    "九": 9, "十": 10,
}  # fmt: skip
LETTERS = "ABCDEFGHIJ"
BOX_ROWS = re.compile(r"\[\s*(-?[\d.]+)\s*,\s*(-?[\d.]+)\s*,\s*(-?[\d.]+)\s*,\s*(-?[\d.]+)\s*\]")
CUE = (
    r"(?:(?i:\banswer\b[\s*_]*(?:is|would be|should be|[:=])|\b(?:option|choice)\b[\s*_]*(?:is\b|[:=])?"
    r"|\b(?:choose|pick|select)\b)|(?:答案|选项|应选|选择|选)\s*(?:应该|应)?\s*(?:是|为|[:=])?|(?<![不非])是)"
    r"[\s*_:\"'(\[{\\]*(?i:(?:option|choice|letter|boxed)[\s({\[]*)?"
)
REASON = r"(?:because|since|as|due|for|and|or|but|is|was)\b"  # "A" before another word is the article
LETTER = rf"([B-HJ]|[AI](?!\s+(?!{REASON})[A-Za-z]{{2,}}))"
STATED = re.compile(rf"{CUE}(?:{LETTER}(?![\w'’])|([a-j])(?:\W*$|[)\]}}]))")
ANSWER_IS = re.compile(r"\banswer\b[\s*_]*(?:is\b|:)|答案\s*(?:是|为|:)", re.IGNORECASE)
ALONE = re.compile(r"\W*([A-Ja-j])\W*")
BRACKETED = re.compile(r"[(\[]([a-j])[)\]]")
ENDS = r"\s().,:;!*#{}\[\]。、\"'"
LONE_LETTER = re.compile(rf"(?<![^{ENDS}]){LETTER}(?![^{ENDS}])(?!['’]\w)")
DENIED_LETTER = re.compile(
    r"(?:(?i:\bnot|n['’]t|\brather than|\binstead of|\bexcept|\bexclude[sd]?|\bneither|\bnor|\brule[sd]? out)"
    r"|不是|不选|并非|而非|排除)\s*(?i:(?:be\s+)?(?:option\s+|choice\s+)?)[(\[]?[A-J](?![\w'’])[)\]]?"
    r"(?:\s*(?:or|nor|或)\s*[(\[]?[A-J](?!\w)[)\]]?)*"
    r"|(?<!\w)[A-J]\)?\s+(?:is|are)\s+(?:not|wrong|incorrect|false|excluded|ruled)\b"
)
LETTER_TOKENS = 5
MAX_LENGTH_RATIO = 2.0
ARTICLES = {"a", "an", "the"}
MMMU_ENDS = ",.!?;:'"
MMMU_KEYS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
MMMU_NUMBERS = re.compile(
    r"-?\b\d{1,3}(?:,\d{3})+\b|-?\d+(?:\.\d+)?[eE][+-]?\d+|-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])"
)
LLAVA_MED_FULL_STOPS = 32  # re.UNICODE, passed where re.sub takes a count
LLAVA_MED_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
CANNOT = (
    r"\b(?:can ?not|can't|could not|unable to|impossible to|not possible to|(?:hard|difficult) to)\b.{0,30}?\b"
)
TELL = r"(?:determine|tell|say|assess|answer|judge|know|be (?:determined|assessed|judged|answered)"
UNSURE = re.compile(
    rf"{CANNOT}{TELL})|\bno (?:image|picture)\b|\bwithout (?:an|the|any) (?:image|picture)\b"
    r"|\bnot enough information\b|\b(?:insufficient|lacks?) information\b|\b(?:do not|don't) know\b"
    r"|(?:\bnot|n't) (?:\w+ ){0,2}?(?:sure|certain)\b|\bunsure\b|\b(?:is|am|it's) uncertain\b"
    r"|\b(?:image|picture) (?:is|was) (?:not|n't) (?:provided|attached|given|shown)\b"
    r"|无法(?:判断|确定|回答|识别|评估)|(?:不能|难以)(?:判断|确定|回答)"
    r"|没有(?:提供|看到)?(?:图像|图片)"
    r"|不(?:是)?(?:很|太|十分)?确定|不知道",
    re.IGNORECASE,
)
UNSEEN = re.compile(rf"{CANNOT}(?:see|identify|view|be (?:seen|identified))|无法看到|看不到", re.IGNORECASE)
NO_VERDICT = re.compile(
    r"^(?:not applicable|n/a|not necessarily|not only|no doubt|no question)\b"
    r"|看不清|不清楚|不好说|不适用|不仅|不但|^(?:是否|是不是|有没有|有无|有可能|无疑)", re.IGNORECASE,
)  # fmt: skip
VERDICT_YES = re.compile(r"\b(?:yes|yeah)\b")
VERDICT_NO = re.compile(r"\b(?:no|nope)\b(?=[\W_]*$|[*_]*[.,;:!?)/]|\s+(?:or|and|but|because|since|yes)\b)")
THERE_IS = re.compile(r"there (?:is|are|was|were)( no\b| not\b|n't\b)?(?! nothing| neither| little| hardly)")
CHINESE_JOINTS = re.compile(
    r"[\s,.;:!?/。、]|或者?|还是|也|和|(?:答案|回答|结论)(?:应该)?(?:是|为)|我(?:认为|觉得)"
)
YES_ZH, NO_ZH = {"是", "是的", "有", "有的", "对", "存在"}, {"否", "不", "不是", "没有", "无", "不对", "不存在"}


def normalise(text: str) -> str:
    """Lower-case, one form of each character, no punctuation at the ends, single spaces."""
    flat = unicodedata.normalize("NFKC", text).lower()
    return " ".join(re.sub(r"[^\w\s.%+/-]", " ", flat).split()).strip(" .")


def parse_yes_no(text: str) -> str | None:
    """Return "yes" or "no" where an answer says the one and not the other, else None.

    A verdict opens the answer or stands by itself ("I say no"): the "no" of "Yes, there is no effusion" denies
    the effusion. An answer that abstains is None whatever else it says.
    """
    flat = flat_text(text)
    if UNSURE.search(flat) or NO_VERDICT.search(flat.lstrip("*_\"' ")):
        return None
    said = _verdicts(flat) | _opening(flat)
    return said.pop() if len(said) == 1 else None


def _verdicts(flat: str) -> set[str]:
    pieces = set(CHINESE_JOINTS.split(flat))
    says_yes = VERDICT_YES.search(flat) is not None or not pieces.isdisjoint(YES_ZH)
    says_no = VERDICT_NO.search(flat) is not None or not pieces.isdisjoint(NO_ZH)
    return {verdict for verdict, is_said in (("yes", says_yes), ("no", says_no)) if is_said}


def _opening(flat: str) -> set[str]:
    there = THERE_IS.match(flat)
    if there:
        return {"no" if there[1] else "yes"}
    first = normalise(flat).split(" ")[0]
    if first in NO or first.startswith(("没有", "不", "否", "无")):
        return {"no"}
    return {"yes"} if first in YES or first.startswith(("是", "有", "存在")) else set()


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
    tail = ANSWER_IS.split(unicodedata.normalize("NFKC", text))[-1]
    return letter if letter is not None else _parse_inside(tail, options)


def _parse_letter(text: str, num_options: int) -> int | None:
    kept = DENIED_LETTER.sub(" ", unicodedata.normalize("NFKC", text))
    alone = ALONE.fullmatch(kept)
    stated = [upper or lower for upper, lower in STATED.findall(kept)]
    for letters in ([alone[1]] if alone else [], stated, _lone_letters(kept)):
        places = {LETTERS.index(letter.upper()) for letter in letters}
        inside = {place for place in places if place < num_options}
        if len(inside) == 1:
            return inside.pop()
    return None


def _lone_letters(text: str) -> list[str]:
    """Return the letters that stand by themselves; none when the only capital is not among the last words."""
    found = list(LONE_LETTER.finditer(text))
    tail = re.sub(rf"[{ENDS}]", " ", text[found[-1].end() :]).split() if found else []
    capitals = [match[1] for match in found]
    if len(set(capitals)) == 1 and len(tail) >= LETTER_TOKENS:
        capitals = []
    return capitals + BRACKETED.findall(text)


def _parse_inside(text: str, options: Sequence[str]) -> int | None:
    flat, wanted = normalise(text), [normalise(option) for option in options]
    if len(flat) > MAX_LENGTH_RATIO * sum(len(option) for option in wanted):
        return None
    found = [
        index
        for index, option in enumerate(wanted)
        if option and contains(flat, option) and not is_denied(text, option, normalise)
    ]
    return found[0] if len(found) == 1 else None


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
    if not wanted or not contains(flat, wanted):
        return False
    if flat != wanted and is_denied(text, wanted, normalise_short):
        return False
    return not any(
        contains(flat, other) and not contains(wanted, other) for other in _alternatives(question, wanted)
    )


def _alternatives(question: str, wanted: str) -> list[str]:
    """Return the words that a question offers beside the gold answer: "axial or coronal?" offers both."""
    asked = normalise_short(question)
    pairs = re.findall(r"(\w+) or (\w+)", asked)
    size = len(wanted)
    for left, right in re.findall(r"([\u3400-\u9fff]+)还是([\u3400-\u9fff]+)", asked):
        pairs.append((left[-size:], right[:size]))
    offered = [pair for pair in pairs if any(contains(wanted, word) for word in pair)]
    return [word for pair in offered for word in pair if word != wanted]


def is_abstention(text: str) -> bool:
    """Tell whether an answer declines to answer, in English or Chinese."""
    flat = flat_text(text)
    return bool(UNSURE.search(flat) or UNSEEN.search(flat))


def nearest_option(text: str, options: Sequence[str]) -> int | None:
    """Return the option most like the answer by difflib's ratio; None when nothing is alike at all.

    OmniMedVQA's published rule, whose fault is that an answer which names no option still gets the nearest one.
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
    """Normalise as LLaVA-Med's scorer: punctuation, articles, number words, the first 32 full stops (sic).

    Left out: its list of contractions, which rewrites "dont" alike on both sides and makes no yes or no.
    """
    has_number_comma = re.search(r"\d,\d", text) is not None
    flat = text
    for mark in LLAVA_MED_PUNCTUATION:
        beside_space = f"{mark} " in text or f" {mark}" in text
        flat = flat.replace(mark, "" if beside_space or has_number_comma else " ")
    words = re.sub(r"\.(?!\d)", "", flat, count=LLAVA_MED_FULL_STOPS).lower().split()
    numbers = {word: str(value) for word, value in NUMBER_WORDS.items() if word.isascii()}
    return " ".join(numbers.get(word, word) for word in words if word not in ARTICLES)


def llava_med_hit(text: str, gold: str) -> bool | None:
    """Return whether a closed answer is a hit by LLaVA-Med's rule, None where its loop drops the answer.

    "yes" or "no" occurs, and so does the gold; when the gold does not, nothing is appended and the answer leaves
    the denominator. Letters count inside words ("no" in "diagnosis").
    """
    said, wanted = llava_med_normalise(text.lower()), llava_med_normalise(gold.lower())
    if "yes" not in said and "no" not in said:
        return False
    return True if wanted in said else None


def is_none_found(text: str) -> bool:
    """Tell whether an answer says that there is nothing to find, and no more: "none", "no lung", "未见"."""
    flat = normalise(text)
    return flat.split(" ")[0] in {"none", "no", "nothing", "not", "absent"} or flat.startswith(
        ("无", "没有", "未见")
    )
