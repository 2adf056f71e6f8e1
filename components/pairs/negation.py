"""Which words of a clause are denied: what stands behind "no", what stands before "is not visible".

A denial works forward ("without a tumour") or backward ("the liver is missing"), never over the whole
sentence: "the liver shows no abnormality" says that the liver is there. Denials that cancel each other ("not
absent", 并非没有) deny nothing. The method is that of NegEx (Chapman et al. 2001, J Biomed
Inform 34:301), with our own words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

FILLER = "\x01"
SEEN = (
    r"(?:visible|seen|shown|present|identified|included|found|depicted|displayed|detected|appear|in (?:view|the "
    r"image|this image|the picture)|there|part of|demonstrated|evident|apparent|discernible|visuali[sz]ed|"
    r"annotated|noted|observed|lie|imaged|covered|contained)"
)
QUICK = {
    "en": re.compile(
        r"\b(?:no|not|nor|none|never|neither|without|absen\w*|cannot|missing|lack\w*|free|devoid|outside|zero|0|"
        r"negative|instead|rather|rul\w+ out|exclud\w+|fails?|out of|false)\b|n't\b", re.IGNORECASE,
    ),
    "zh": re.compile(r"[未没無无不缺非]|排除|除外"),
}  # fmt: skip
# Words that look like a denial and deny nothing.
NEUTRAL = {
    "en": re.compile(
        r"(?:\bnot|n't|\bnever) (?:only|just|merely|absent|missing|without|free of|lacking|excluded|"
        r"ruled out|outside)\b|"
        r"\b(?:cannot|can not|could not|can't) be (?:excluded|ruled out|missed|overlooked|mistaken)|"
        r"\bno (?:absence|lack|doubt)\b(?: of)?|"
        r"\bno (?:abnormalit\w+|changes?|damage)(?: (?:of|in|to|within|is seen in|are seen in))?\b", re.IGNORECASE,
    ),
    "zh": re.compile(
        r"(?:并非|不是|并不是|并未|并不|不)(?:没有|不可见|缺少|缺失|未见|看不到|看不见|不存在|缺乏)|不能(?:排除|除外)|不仅|"
        r"(?:无|未见|没有)(?:明显)?(?:异常|变化)|无疑"
    ),
}  # fmt: skip
FLIP = {
    "en": re.compile(r"\b(?:not|n't) (?:true|the case|correct|so) that\b|\bfalse that\b", re.IGNORECASE),
    "zh": re.compile(r"(?:并非|不是)(?=.*(?:未见|没有|不可见|看不到|看不见|不包含|缺少|缺失|不存在|无))"),
}
BACKWARD = {
    "en": re.compile(
        r"\b(?:is|are|was|were|be|been|do|does|did|can|could|has|have)\s?(?:not|n't|never) (?:\w+ly )?"
        r"(?:be(?:en)? )?"
        rf"(?:\w+ly )?{SEEN}\b|\b(?:cannot|can't|can not) be \w+|\b(?:not|never) {SEEN}\b|\babsent\b|\bmissing\b|"
        r"\blacking\b|\blies? outside\b|\bruled out\b|\bexcluded\b|\bout of (?:view|sight)\b|"
        r"\boutside (?:of )?(?:the|this) (?:image|view|field|picture)", re.IGNORECASE,
    ),
    "zh": re.compile(r"不可见|缺失|不存在|不在(?:图|视野|此)|(?:已|被)排除"),
}  # fmt: skip
FORWARD = {
    "en": re.compile(
        r"\b(?:no|not|never|without|neither|nor|none of|free (?:of|from)|lacks?|lacking|absence of|lack of|"
        r"devoid of|negative for|instead of|rather than|rul(?:es?|ing) out|exclud(?:es?|ing)|fails? to|cannot|"
        r"zero)\b|n't\b|"
        r"(?<![\d.])0(?=\s+[a-z])", re.IGNORECASE,
    ),
    "zh": re.compile(
        r"未(?:能)?(?:见到?|显示|发现|包含|观察到|检出|看到|见)|没有?(?:看到|见到|显示)?|无|不包含|不包括|不含|不显示|缺少|缺乏|看不到|"
        r"看不见|并非|不是|排除"
    ),
}  # fmt: skip
WEAK = re.compile(r"not|n't|never|cannot", re.IGNORECASE)  # "the liver is not": works backward at a clause's end
CLOSED_END = re.compile(r"^[了到于这幅该此张图像中内里吗呢。，！？；\s]*$")
# "Not visible: the heart." loses its denial at the colon, unless it is put another way.
LISTED = {
    "en": re.compile(rf"\b(?:not {SEEN}|absent|missing|negative|ruled out):\s+", re.IGNORECASE),
    "zh": re.compile(r"(未见|没有|不可见|缺少|不包含|未显示)[：:]"),
}  # fmt: skip
UNLISTED = {"en": "no ", "zh": "未见"}
JOINT = {"en": re.compile(r"(,?\s+(?:and|or|while|whereas|although|though|yet)\s+|,\s+|\s+[-–—]\s+)")}
OPENING = re.compile(r"\s*(?:without|instead of|rather than|besides)\b", re.IGNORECASE)
VERB = re.compile(
    r"\b(?:is|are|was|were|can|cannot|shows?|lies?|appears?|has|have|does|do|contains?|covers?|occup(?:y|ies)|"
    r"sits?|see|includes?|depicts?|displays?|belongs?|takes?|fills?)\b|n't\b", re.IGNORECASE,
)  # fmt: skip


def unlisted(text: str, language: str) -> str:
    """Put "Absent: the heart" as "no the heart", so that the denial is not parted from what it denies."""
    return LISTED[language].sub(UNLISTED[language], text)


def clauses(sentence: str, language: str) -> list[str]:
    """Part a sentence where two verbs meet at a comma or "and"; a list stays whole ("no cyst, tumour or clot")."""
    if language not in JOINT or not VERB.search(sentence):
        return [sentence]
    pieces = JOINT[language].split(sentence)
    parts = [pieces[0]]
    for joint, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        is_opened = joint.startswith(",") and OPENING.match(parts[-1])
        if (is_opened or VERB.search(parts[-1])) and VERB.search(piece):
            parts.append(piece)
        else:
            parts[-1] += joint + piece
    return parts


def denied(clause: str, starts: Sequence[int], language: str) -> frozenset[int]:
    """Return which of the places of a clause, where names begin, are denied; names are blanked in `clause`."""
    if not starts or not QUICK[language].search(clause):
        return frozenset()
    bare = NEUTRAL[language].sub(lambda match: FILLER * len(match.group()), clause)
    is_flipped = False
    if FLIP[language].search(bare):
        bare = FLIP[language].sub(lambda match: FILLER * len(match.group()), bare)
        is_flipped = True
    found: set[int] = set()
    spans = []
    for match in BACKWARD[language].finditer(bare):
        spans.append(match.span())
        before = [start for start in starts if start < match.start()]
        found.update(before or (start for start in starts if start >= match.end()))
    for match in FORWARD[language].finditer(bare):
        if not any(begin <= match.start() < end for begin, end in spans):
            found.update(_forward(match, bare, starts, language))
    return frozenset(starts) - found if is_flipped else frozenset(found)


def _forward(match: re.Match[str], bare: str, starts: Sequence[int], language: str) -> list[int]:
    after = [start for start in starts if start >= match.end()]
    if after:
        return after
    ends = CLOSED_END.match(bare[match.end() :]) if language == "zh" else WEAK.fullmatch(match.group())
    return [start for start in starts if start < match.start()] if ends else []
