"""Words that the parse-back knows, in English and Chinese: labels, sides, numbers, planes, modalities, negation.

It shares the glossary's names with the templates, and nothing else: it looks for cues in any finished text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from components.pairs.glossary import CHINESE, chinese_term, plural

GENERIC = {"body", "tissue", "background", "bone", "empty background", "tissue present", "hip", "cells", "cell"}
SENTENCE_END = {
    "en": re.compile(r"(?<=[.!?;])\s+|,\s+(?=but\b|while\b|whereas\b|instead\b)|:\s+"),
    "zh": re.compile(r"(?<=[。！？；，：])"),
}
NEGATION = {
    "en": re.compile(
        r"\b(?:no|not|without|absent|cannot|can't|isn't|aren't|neither|nor|missing|free of|lacks?|lie outside|"
        r"lies outside)\b", re.IGNORECASE,
    ),
    "zh": re.compile(r"未见|没有|无|不可见|看不到|看不见|不包含|缺少|缺失|未显示|并非|不存在"),
}  # fmt: skip
SIDES = {
    "en": {"left": ("left",), "right": ("right",), "left and right": ("left", "right"),
           "right and left": ("left", "right"), "both": ("left", "right"), "bilateral": ("left", "right")},
    "zh": {"左侧": ("left",), "左": ("left",), "右侧": ("right",), "右": ("right",), "双侧": ("left", "right"),
           "左右": ("left", "right"), "两侧": ("left", "right")},
}  # fmt: skip
SIDE_BEFORE = {
    "en": re.compile(
        r"\b(left and right|right and left|both|bilateral|left|right)(?:[- ]sided)?\s+$", re.IGNORECASE
    ),
    "zh": re.compile(r"(左侧|右侧|双侧|左右|两侧|左|右)的?$"),
}
SIDE_AFTER = {
    "en": re.compile(r"^\s+(?:is\s+|lies\s+|seen\s+)?on the (left|right)\b(?! (?:part|half|edge))", re.IGNORECASE),
    "zh": re.compile(r"^(?:位于|在)(?:患者|身体)的?(左侧|右侧)"),
}
NUMBERS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "eleven": 11, "twelve": 12, "一": 1, "两": 2, "二": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8,
    "九": 9, "十": 10,
}  # fmt: skip
COUNT_BEFORE = {
    "en": re.compile(r"\b(\d+|" + "|".join(w for w in NUMBERS if w.isascii()) + r")\s+$", re.IGNORECASE),
    "zh": re.compile(r"(\d+|[一两二三四五六七八九十])\s*[个枚处块]$"),
}
PLACE = {
    "en": re.compile(
        r"\b(upper|lower|middle)?[ -]?(left|right|central|centre|center|middle|upper|lower)?"
        r"(?: (?:part|third|area|region|corner|half))? of (?:the|this) (?:image|picture)", re.IGNORECASE,
    ),
    "zh": re.compile(r"图像的?(左上|右上|左下|右下|上|下|左|右|中央)部?"),
}  # fmt: skip
ROWS = {"upper": 0, "lower": 2, "上": 0, "下": 2}
COLUMNS = {"left": 0, "right": 2, "左": 0, "右": 2}
RELATION = {
    "en": re.compile(r"\b(above|below|to the left of|to the right of)\b", re.IGNORECASE),
    "zh": re.compile(r"的(上方|下方|左方|右方)"),
}
DIRECTIONS = {
    "above": (0, -1), "below": (0, 1), "to the left of": (-1, 0), "to the right of": (1, 0),
    "上方": (0, -1), "下方": (0, 1), "左方": (-1, 0), "右方": (1, 0),
}  # fmt: skip
COMPARED = {"en": re.compile(r"\bsame\b", re.IGNORECASE), "zh": re.compile(r"相同|一致|同样")}
MORE = {"en": re.compile(r"\b(?:more|greater number)\b", re.IGNORECASE), "zh": re.compile(r"更多|较多|多[？?]")}
PLANES = {
    "axial": re.compile(r"\b(?:axial|transverse|transaxial)\b|轴位|轴状|横断|横轴", re.IGNORECASE),
    "coronal": re.compile(r"\bcoronal\b|冠状[位面切]", re.IGNORECASE),
    "sagittal": re.compile(r"\bsagittal\b|矢状", re.IGNORECASE),
}
MODALITIES = {
    "CT": re.compile(r"(?<![A-Za-z])CT(?![A-Za-z])|computed tomograph\w*|计算机断层"),
    "MR": re.compile(r"(?<![A-Za-z])MRI?(?![A-Za-z])|magnetic resonance|磁共振"),
    "X-ray": re.compile(r"\b[Xx]-?rays?\b|\bradiograph\w*|[Xx]线|[Xx]光|[Xx]射线"),
    "Ultrasound": re.compile(r"\b(?:ultraso\w+|sonogra\w+|echocardio\w+)|超声", re.IGNORECASE),
    "PET": re.compile(r"(?<![A-Za-z])PET(?![A-Za-z])|positron emission"),
    "Endoscopy": re.compile(r"\bendoscop\w+|内镜", re.IGNORECASE),
    "Pathology": re.compile(r"\bhistopatholog\w+|\bwhole-slide|病理", re.IGNORECASE),
    "Microscopy": re.compile(r"\bmicroscop\w+|显微镜?", re.IGNORECASE),
    "Fundus": re.compile(r"\bfundus (?:photo\w*|image)|眼底(?:照相|照片|图像)", re.IGNORECASE),
    "OCT": re.compile(r"(?<![A-Za-z])OCT(?![A-Za-z])|optical coherence|光学相干"),
    "Infrared reflectance": re.compile(r"\binfrared\b|红外", re.IGNORECASE),
    "Dermoscopy": re.compile(r"\b(?:dermosc|dermatosc)\w+|皮肤镜", re.IGNORECASE),
    "Ophthalmoscope": re.compile(r"\bophthalmosc\w+|检眼镜", re.IGNORECASE),
    "Nuclear medicine": re.compile(r"\bnuclear medicine|\bscintigra\w+|核医学", re.IGNORECASE),
}
ANY_MODALITY = re.compile(  # a quick look before the exact cues
    r"CT|MR|magnetic|[Xx]|radio|ultraso|sonogra|echocard|PET|positron|scop|histopath|whole-slide|fundus|"
    r"coherence|infrared|dermosc|nuclear|scintigra|tomograph|"
    r"断层|磁共振|射线|超声|内镜|病理|显微|眼底|相干|红外|皮肤镜|检眼镜|核医学", re.IGNORECASE,
)  # fmt: skip
WORD_START = {"en": re.compile(r"\b[a-z0-9]+", re.IGNORECASE), "zh": re.compile(r"[一-鿿A-Za-z0-9]")}


@dataclass(frozen=True, slots=True)
class Mention:
    """A label's name in a text: where it stands and which canonical labels it may mean."""

    start: int
    end: int
    labels: frozenset[str]


def find_labels(text: str, language: str, *, extra: tuple[str, ...] = ()) -> list[Mention]:
    """Find label names, the longest at each place; `extra` are labels that the glossary may not know."""
    names = _names(language, tuple(sorted(set(extra).difference(CHINESE))))
    low = text.lower()
    found: list[Mention] = []
    for match in WORD_START[language].finditer(low):
        if found and match.start() < found[-1].end:
            continue
        for name, labels in names.get(match.group(), ()):
            end = match.start() + len(name)
            if low.startswith(name, match.start()) and (language == "zh" or not low[end : end + 1].isalnum()):
                found.append(Mention(match.start(), end, labels))
                break
    return found


@lru_cache(maxsize=64)
def _names(language: str, extra: tuple[str, ...]) -> dict[str, list[tuple[str, frozenset[str]]]]:
    """Index names by their first word (English) or character (Chinese), longest first."""
    meanings: dict[str, set[str]] = {}
    for label in (*(term for term in CHINESE if term not in GENERIC), *extra):
        chinese = chinese_term(label)
        same = {other for other in CHINESE if chinese and CHINESE[other] == chinese} | {label}
        forms = {label.lower(), plural(label).lower()} if language == "en" else {chinese.lower()} - {""}
        for form in forms:
            meanings.setdefault(form, set()).update(same)
    index: dict[str, list[tuple[str, frozenset[str]]]] = {}
    for form, labels in sorted(meanings.items(), key=lambda item: -len(item[0])):
        first = WORD_START[language].match(form)
        if first is not None:
            index.setdefault(first.group(), []).append((form, frozenset(labels)))
    return index
