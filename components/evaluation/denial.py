"""What an answer denies: "not a mass", "isn't enlarged", "effusion is absent", "不在左侧".

Denial works as in NegEx (Chapman et al., J Biomed Inform 2001): a cue before the words, inside their clause, or
one of a few cues behind them. English and Chinese, by rule; written here from scratch. Findings of whole reports
have lists and doubt as well: those are read by `metrics_clinical.py`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator

BOUNDS = re.compile(r"[,;:!?()\n。]|\.(?!\d)|\b(?:but|however|although|though|while|whereas)\b|而是|但|而")
DENIES = re.compile(
    r"\b(?:no|not|never|neither|nor|without|cannot|cant|absence of|absent|lack(?:s|ing)? of|rather than|instead of"
    r"|negative for|free of|rule[sd]? out|exclude[sd]?|except)\b"
    r"|\b(?:is|are|was|were|do|does|did|has|have|had|ca|could|wo|would|should)n ?t\b|没|未|无|非|排除|不"
)
DENIES_NOTHING = re.compile(
    r"\b(?:no|without (?:a |any )?) ?(?:doubt|question)\b|\bnot (?:only|just)\b"
    r"|不仅|不但|不只|无疑|非常|是不是|有没有"
)
DENIED_BEHIND = re.compile(
    r" ?(?:(?:is|are|was|were|has been|have been|seems?|appears?) )?(?:(?:is|are|was|were)n t|not|absent|excluded"
    r"|ruled out|unlikely|wrong|incorrect)\b|不是|不存在|未见|被排除"
)


def flat_text(text: str) -> str:
    """Return a text in one form of each character, lower case, with straight apostrophes."""
    return unicodedata.normalize("NFKC", text).replace("’", "'").lower().strip()


def contains(flat: str, wanted: str) -> bool:
    """Tell whether a text has these words as whole words."""
    return next(_mentions(flat, wanted), None) is not None


def _mentions(flat: str, wanted: str) -> Iterator[re.Match[str]]:
    """Yield each place of whole words; Chinese has no spaces, and Chinese beside Latin is a word's end."""
    if wanted.isascii():
        letter = r"[^\W\u3400-\u9fff]"
        return re.finditer(rf"(?<!{letter}){re.escape(wanted)}(?!{letter})", flat)
    return re.finditer(re.escape(wanted), flat)


def is_denied(text: str, wanted: str, form: Callable[[str], str]) -> bool:
    """Tell whether every mention is denied inside its clause; `form` is what `wanted` was put into."""
    mentions = [
        (clause[: match.start()], clause[match.end() :])
        for clause in map(form, BOUNDS.split(flat_text(text)))
        for match in _mentions(clause, wanted)
    ]
    return bool(mentions) and all(
        DENIES.search(DENIES_NOTHING.sub(" ", before)) or DENIED_BEHIND.match(after) for before, after in mentions
    )
