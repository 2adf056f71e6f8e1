"""Free text loses what may name a person: each find becomes its kind in brackets, and is counted.

Rules, not a language model: what stands beside a title or a label ("Dr. …", "MRN: …", 姓名：…), what has the form
of a date, telephone number, address, e-mail or link, and the identifiers that the record's own row, path or header
states. A name alone in a sentence, without any of these, is not seen; `docs/privacy.md` says so. The kinds follow
HIPAA's Safe Harbor list (45 CFR 164.514(b)(2)): a year by itself, and an age below 90, stay.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache

from components.records import SourceQuestion

VERSION = 1
SHORTEST_IDENTIFIER = 4
MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?"
    r"|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\.?"
)
YEAR, DAY, NUMBER_OF_MONTH = (
    r"(?:1[89]|20)\d{2}",
    r"(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?",
    r"(?:0?[1-9]|1[0-2])",
)
DATE_START, DATE_END = r"(?<![\w./\-])", r"(?![\w/\-])(?!\.\d)"
WORD = r"[A-Z](?:[A-Za-z'’\-]+|(?:\.[A-Z])*\.?)"
FULL_NAME = rf"{WORD}(?:(?:,\s*|\^|[ ]+){WORD}){{1,3}}(?:,?[ ]?M\.?D\.?(?![A-Za-z]))?"
STAFF = (
    r"(?:(?:referring|attending|ordering|reading|performing|consulting|requesting)[ ])?"
    r"(?:physician|radiologist|doctor|pathologist|surgeon|technologist|technician|sonographer|operator|consultant)"
    r"(?:'s[ ]name)?"
)
WRITERS = r"(?:electronically[ ])?(?:signed|dictated|reported|reviewed|transcribed|read)[ ]by"
NAME_LABEL = (
    r"patient(?:'s)?[ ]name|name[ ]of[ ](?:the[ ])?patient|surname|(?:first|last|full|maiden|family)[ ]name"
)
NUMBER_LABEL = (
    r"MRN|medical[ ]record(?:[ ]number)?|patient[ ]?(?:id|number)|accession(?:[ ]number)?|hospital[ ]number"
    r"|NHS(?:[ ]number)?|social[ ]security(?:[ ]number)?|SSN|account[ ]number|insurance[ ]number|study[ ]id"
)
CHINESE_NUMBER_LABEL = r"(?:病历|病案|住院|门诊|就诊|检查|影像|登记|身份证|医保)(?:卡)?号?"
STREET = r"(?:Street|St\.|Avenue|Ave\.?|Road|Rd\.|Lane|Boulevard|Blvd\.?|Drive|Terrace|Square|Highway)"
TOWN = r"(?:,\s*[A-Z][a-z]+(?:[ ][A-Z][a-z]+)*)*(?:,?\s*[A-Z]{2}\s+\d{5}(?:-\d{4})?)?"
OVER_89 = r"(?:9\d|1[0-3]\d)"
# (kind, pattern); a group named `kept` stays in the text. Links and e-mails go first: in them others seem to be.
RULES: tuple[tuple[str, str], ...] = (
    ("link", r"\b(?:https?://|www\.)[^\s<>\"')\]]+[^\s<>\"')\].,;:]"),
    ("e-mail", r"[A-Za-z0-9._%+\-]+@[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)+"),
    ("name", rf"(?i:\b(?P<kept>(?:{NAME_LABEL})\s*[:=]\s*))(?:{FULL_NAME}|{WORD})"),
    ("name", rf"(?i:\b(?P<kept>(?:{STAFF})\s*[:=]\s*|(?:{WRITERS})\s*[:=]?\s+))(?:Dr\.?\s+)?{FULL_NAME}"),
    ("name", rf"\b(?P<kept>(?:Patient|PATIENT)\s*[:=]\s*){FULL_NAME}"),
    (
        "name",
        r"\b(?P<kept>(?:Dr|Mr|Mrs|Ms|Miss|Prof)\.?\s+|Professor\s+|Doctor\s+|DR\.\s+)"
        rf"{WORD}(?:[ ]{WORD}){{0,2}}",
    ),
    (
        "name",
        r"\b[A-Z][a-z'’\-]+(?:[ ][A-Z]\.)?[ ][A-Z][a-z'’\-]+"
        r"(?=,?[ ](?:M\.?D\.?|Ph\.?D\.?|MBBS|FRCR)(?![A-Za-z]))",
    ),
    ("name", r"\b[A-Z][A-Za-z'\-]+\^[A-Z][A-Za-z'\-]+(?:\^[A-Za-z'.\-]*)*"),
    ("name", r"(?P<kept>(?:患者)?姓名\s*[:：]\s*)[\u4e00-\u9fff·]{2,6}"),
    ("name", r"(?P<kept>(?:报告|审核|检查|主治|主管)?(?:医师|医生)\s*[:：]\s*)[\u4e00-\u9fff·]{2,4}"),
    (
        "identifier",
        rf"(?i:\b(?P<kept>(?:{NUMBER_LABEL})\b\s*(?:no\.?|number|#)?\s*[:=#]?\s*))"
        r"(?=[\w\-/]*\d)\w[\w\-/]{3,}",
    ),
    ("identifier", rf"(?P<kept>{CHINESE_NUMBER_LABEL}\s*[:：]\s*)[A-Za-z0-9\-]{{4,}}"),
    ("identifier", r"\b\d{3}-\d{2}-\d{4}\b|(?<!\d)\d{17}[\dXx](?!\d)|\b[12](?:\.\d+){6,}\b"),
    (
        "phone",
        r"(?i:\b(?P<kept>(?:tel|telephone|phone|fax|mobile|pager)\b\.?\s*(?:no\.?|number)?\s*[:=]?\s*))"
        r"\+?\d[\d\s().\-]{5,}\d",
    ),
    ("phone", r"(?P<kept>(?:电话|手机|联系方式)\s*[:：]?\s*)\+?\d[\d\-]{6,}"),
    (
        "phone",
        r"(?<![\w.\-])(?:\+\d{1,3}[\s\-]?)?(?:\(\d{3}\)[\s\-]?|\d{3}[\s\-])\d{3}[\s\-]\d{4}(?![\w\-])",
    ),
    ("phone", r"(?<![\w.\-])\+\d{1,3}(?:[\s\-]\d{2,4}){2,5}(?!\d)|(?<!\d)1[3-9]\d{9}(?!\d)"),
    ("address", rf"\b\d{{1,5}}\s+(?:[A-Z][a-z]+\s+){{1,3}}{STREET}(?![a-z]){TOWN}"),
    ("address", r"(?i:\b(?P<kept>(?:home[ ])?address\s*[:=]\s*))[^\n;]{4,80}"),
    ("address", r"(?P<kept>(?:住址|地址)\s*[:：]\s*)[^\n;；，。]{3,40}"),
    ("date", rf"{DATE_START}{YEAR}(?P<a>[/.\-]){NUMBER_OF_MONTH}(?P=a){DAY}{DATE_END}"),
    ("date", rf"{DATE_START}{DAY}(?P<b>[/.\-]){NUMBER_OF_MONTH}(?P=b){YEAR}{DATE_END}"),
    ("date", rf"{DATE_START}{NUMBER_OF_MONTH}(?P<c>[/.\-]){DAY}(?P=c){YEAR}{DATE_END}"),
    ("date", rf"{DATE_START}(?:{NUMBER_OF_MONTH}/{DAY}|{DAY}/{NUMBER_OF_MONTH})/\d{{2}}{DATE_END}"),
    ("date", rf"\b{DAY}(?:\s+of)?[\s\-]+{MONTH},?[\s\-]+{YEAR}\b|\b{MONTH}\s+(?:{DAY},?\s+)?{YEAR}\b"),
    ("date", rf"(?<!\d){YEAR}\s*年\s*\d{{1,2}}\s*月(?:\s*\d{{1,2}}\s*[日号])?"),
    ("date", r"\b(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\b"),
    ("age over 89", rf"(?i:\b{OVER_89}(?:[\s\-]*(?:years?|yrs?)[\s\-]*old|[\s\-]?y(?:rs?)?[\s/.\-]?o)\b)"),
    ("age over 89", rf"(?i:\b(?P<kept>aged?\s*[:=]?\s*)){OVER_89}(?!\d|\.\d|\s?%)"),
    ("age over 89", rf"(?<!\d){OVER_89}\s*(?:岁|周岁)"),
)
# Words of a patient's folder that name nobody.
COMMON = frozenset(
    ("pat", "patient", "case", "subject", "sub", "study", "images", "image", "train", "test", "series")
)


@lru_cache(maxsize=1)
def _rules() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((kind, re.compile(pattern)) for kind, pattern in RULES)


def scrub(text: str, known: Iterable[str] = ()) -> tuple[str, Counter[str]]:
    """Return the text without what may name a person, and how many finds of each kind were taken out.

    `known` are identifiers that the text's own row, path or header states; they are found as they are, and their
    words as a name in any order.
    """
    counts: Counter[str] = Counter()
    for kind, pattern in (*_known_patterns(known), *_rules()):
        text = pattern.sub(_replacer(kind, counts), text)
    return text, counts


def _replacer(kind: str, counts: Counter[str]) -> Callable[[re.Match[str]], str]:
    def replaced(match: re.Match[str]) -> str:
        counts[kind] += 1
        return f"{match.groupdict().get('kept') or ''}[{kind}]"

    return replaced


def _known_patterns(known: Iterable[str]) -> Iterable[tuple[str, re.Pattern[str]]]:
    for value in filter(None, known):
        if len(value) >= SHORTEST_IDENTIFIER and re.search(r"\d", value):
            yield "identifier", re.compile(rf"(?<!\w){re.escape(value)}(?!\w)", re.IGNORECASE)
        words = [word for word in re.findall(r"[^\W\d_]{2,}", value) if word.lower() not in COMMON]
        if 2 <= len(words) <= 4:
            one = "|".join(map(re.escape, words))
            pattern = rf"\b(?:{one})(?:[\s,^_]+(?:[A-Za-z]\.?\s)?(?:{one}))+\b"
            yield "name", re.compile(pattern, re.IGNORECASE)


def scrub_questions(
    questions: tuple[SourceQuestion, ...], known: Iterable[str], counts: Counter[str]
) -> tuple[SourceQuestion, ...]:
    """Scrub questions, answers and options alike, so that a gold answer stays one of its options."""
    given = tuple(known)

    def clean(text: str) -> str:
        told, found = scrub(text, given)
        counts.update(found)
        return told

    return tuple(
        replace(
            asked, question=clean(asked.question), answer=clean(asked.answer),
            options=tuple(map(clean, asked.options)),
        )
        for asked in questions
    )  # fmt: skip
