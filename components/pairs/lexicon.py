"""Words that the parse-back knows, in English and Chinese: labels, sides, numbers, planes, modalities, negation.

It shares the glossary's names with the templates, and nothing else: it looks for cues in any finished text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from components.pairs.findings import FINDINGS
from components.pairs.glossary import CHINESE, chinese_term, plural

GENERIC = {"body", "tissue", "background", "bone", "empty background", "tissue present", "hip", "cells", "cell"}
SENTENCE_END = {
    "en": re.compile(r"(?<=[.!?;])\s+|,\s+(?=but\b|while\b|whereas\b|instead\b)|:\s+"),
    "zh": re.compile(r"(?<=[。！？；，：])"),
}
SIDES = {
    "en": {"left": ("left",), "right": ("right",), "left and right": ("left", "right"),
           "right and left": ("left", "right"), "both": ("left", "right"), "bilateral": ("left", "right"),
           "both sides": ("left", "right")},
    "zh": {"左侧": ("left",), "左": ("left",), "左边": ("left",), "右侧": ("right",), "右": ("right",),
           "右边": ("right",), "双侧": ("left", "right"), "左右": ("left", "right"), "两侧": ("left", "right"),
           "双": ("left", "right")},
}  # fmt: skip
# "The surgeon left kidney tissue": a pronoun or "has" before "left" makes a verb of it.
VERB_BEFORE = "".join(
    rf"(?<!\b{word} )" for word in ("it", "he", "she", "they", "we", "who", "which", "that", "has", "have", "had",
                                     "surgeon", "surgery", "nothing", "operation")
)  # fmt: skip
SIDE_BEFORE = {
    "en": re.compile(
        rf"\b(left and (?:the )?right|right and (?:the )?left|both|bilateral|{VERB_BEFORE}left|right)"
        r"(?:[- ](?:sided|hand))?\s+$", re.IGNORECASE,
    ),
    "zh": re.compile(r"(?<!图像)(?<!图像的)(?<!画面)(左侧|右侧|双侧|左右|两侧|左边|右边|左|右|双)的?$"),
}  # fmt: skip
SIDE_AFTER = {
    "en": re.compile(
        r"^\s+(?:(?:is|are|lies?|seen|located|found|visible|shown|present)\s+)*(?:on|of|at) "
        r"(?:(both sides)|(?:the |its )(?:patient's )?(left|right)(?!\w)"
        r"(?!(?:[- ]hand)?(?: side)?(?: of (?:the|this) (?:image|picture|screen|view)|"
        r" (?:part|half|edge|third))))|"
        r"^\s*\((left|right)\)", re.IGNORECASE,
    ),
    "zh": re.compile(r"^(?:位于|在)(?:患者|身体|体内)?的?(左侧|右侧|左边|右边)(?![上下部的\x00])"),
}  # fmt: skip
ONES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
        "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")  # fmt: skip
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
NUMBERS = {
    **{word: number for number, word in enumerate(ONES)},
    **{word: 10 * number for number, word in enumerate(TENS, 2)},
    **{f"{ten}-{ONES[one]}": 10 * number + one for number, ten in enumerate(TENS, 2) for one in range(1, 10)},
    "a pair of": 2, "a couple of": 2, "a dozen": 12, "a single": 1, "single": 1, "only one": 1,
}  # fmt: skip
CHINESE_DIGITS = {
    "零": 0,
    "一": 1,
    "两": 2,
    "二": 2,
    "三": 3,
    "四": 4,
    "五": 5,
    "六": 6,
    "七": 7,
    "八": 8,
    "九": 9,
}
WORDS = "|".join(sorted(NUMBERS, key=len, reverse=True))
KINDLY = (
    "large|small|larger|smaller|visible|separate|distinct|annotated|labelled|labeled|individual|different|round|dark|"
    "bright|further|marked|clear|complete|whole|identifiable"
)
MEASURES = "个枚处块只条颗例粒片"
COUNT_BEFORE = {
    "en": re.compile(rf"(?<![\w.-])(\d+|{WORDS})\s+(?:(?:{KINDLY}),?\s+){{0,2}}$", re.IGNORECASE),
    "zh": re.compile(
        rf"(?<![第\d.])(\d+|[零一两二三四五六七八九十百]+)\s*[{MEASURES}](?:(?:较大|较小|明显|独立|散在|圆形|可见)的?)?$"
    ),
}  # fmt: skip
COUNT_AFTER = {
    "en": re.compile(
        rf"^(?:\s+(?:visible|shown|seen|present|here|in (?:the|this) (?:image|picture)))*\s+(?:is|are|equals)\s+"
        rf"(\d+|{WORDS})(?!\w|\.\d|\s*(?:%|mm|cm|per))", re.IGNORECASE,
    ),
    "zh": re.compile(
        r"^(?:的?(?:数目|数量|个数|总数))?(?:共计|共有|共|一共|总共|合计)?(?:有|为|是)?"
        rf"(\d+|[零一两二三四五六七八九十百]+)\s*[{MEASURES}](?![的\x00\u4e00-\u9fff])"
    ),
}  # fmt: skip
NUMBER_OF = {"en": re.compile(r"\b(?:number|count|total) of (?:the )?$", re.IGNORECASE), "zh": re.compile("")}
PLACE = {
    "en": re.compile(
        r"\b(upper|lower|middle)?[ -]?(left|right|central|centre|center|middle|upper|lower)?"
        r"(?: (?:part|third|area|region|corner|half|side|edge|portion|quadrant))?"
        r" of (?:the|this) (?:image|picture|view)", re.IGNORECASE,
    ),
    "zh": re.compile(r"图像的?(左上|右上|左下|右下|上|下|左|右|中央)部?"),
}  # fmt: skip
ROWS = {"upper": 0, "lower": 2, "上": 0, "下": 2}
COLUMNS = {"left": 0, "right": 2, "左": 0, "右": 2}
RELATION = {
    "en": re.compile(
        r"\b(above|below|(?:to the )?left of|(?:to the )?right of)\b(?! (?:the|this) (?:image|picture|view))",
        re.IGNORECASE,
    ),
    "zh": re.compile(r"的(上方|下方|左方|右方)"),
}
DIRECTIONS = {
    "above": (0, -1), "below": (0, 1), "to the left of": (-1, 0), "to the right of": (1, 0), "left of": (-1, 0),
    "right of": (1, 0),
    "上方": (0, -1), "下方": (0, 1), "左方": (-1, 0), "右方": (1, 0),
}  # fmt: skip
COMPARED = {"en": re.compile(r"\bsame\b", re.IGNORECASE), "zh": re.compile(r"相同|一致|同样")}
MORE = {"en": re.compile(r"\b(?:more|greater number)\b", re.IGNORECASE), "zh": re.compile(r"更多|较多|多[？?]")}
PLANES = {
    "axial": re.compile(r"\b(?:axial|transverse|transaxial)\b|轴位|轴状|横断|横轴", re.IGNORECASE),
    "coronal": re.compile(r"\bcoronal\b|冠状[位面切]", re.IGNORECASE),
    "sagittal": re.compile(r"\bsagittal\b|矢状", re.IGNORECASE),
}
ANY_PLANE = re.compile(r"axial|transverse|coronal|sagittal|[轴横冠矢]", re.IGNORECASE)
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
    names = _names(language, unknown_of(extra))
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


@lru_cache(maxsize=1024)
def unknown_of(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return the labels that neither the glossary nor the list of findings has, sorted."""
    return tuple(sorted(set(labels).difference(CHINESE, FINDINGS)))


@lru_cache(maxsize=64)
def _names(language: str, extra: tuple[str, ...]) -> dict[str, list[tuple[str, frozenset[str]]]]:
    """Index names by their first word (English) or character (Chinese), longest first."""
    meanings: dict[str, set[str]] = {}
    for label in (*(term for term in CHINESE if term not in GENERIC), *FINDINGS, *extra):
        chinese = chinese_term(label) or FINDINGS.get(label, "")
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
