"""Which of two images a sentence of a comparison speaks of: the first, the second, both, or it does not say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from components.pairs.lexicon import SENTENCE_END
from components.pairs.negation import clauses

FIRST = {
    "en": re.compile(r"\b(?:first\b(?: (?:one|image|picture|slice))?|image (?:1|one|A)\b|former)", re.IGNORECASE),
    "zh": re.compile(r"第一[张幅]|图[一1]|前者"),
}
SECOND = {
    "en": re.compile(r"\b(?:second\b(?: (?:one|image|picture|slice))?|image (?:2|two|B)\b|latter)", re.IGNORECASE),
    "zh": re.compile(r"第二[张幅]|图[二2]|后者"),
}
BOTH = {
    "en": re.compile(r"\b(?:both|each|either|the two) (?:images?|pictures?|slices?)\b|\bin both\b", re.IGNORECASE),
    "zh": re.compile(r"两[张幅]?图像?|两[张幅]|二图|均"),
}
ONLY = {"en": re.compile(r"\bonly\b", re.IGNORECASE), "zh": re.compile(r"只有|仅")}
BUT_NOT = {
    "en": re.compile(r",?\s+(?:but|and|yet) not (?:in |on |by )?", re.IGNORECASE),
    "zh": re.compile(r"，?而(?=第[一二][张幅](?:图像?)?(?:没有|未见|不可见|中?无))"),
}


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a text and the images, 0 or 1, that it speaks of; `hidden` are those where it says the reverse.

    An empty `shown` is a part that does not say which image it means.
    """

    text: str
    shown: tuple[int, ...] = ()
    hidden: tuple[int, ...] = ()


def parts_of(text: str, language: str) -> Iterator[Part]:
    """Yield a text's clauses with the images that each speaks of."""
    for sentence in SENTENCE_END[language].split(text):
        for clause in clauses(sentence, language):
            yield _part(clause, language)


def _part(clause: str, language: str) -> Part:
    head, *tail = BUT_NOT[language].split(clause, maxsplit=1)
    shown = _images(head, language)
    hidden = _images(tail[0], language) if tail else ()
    if ONLY[language].search(head) and len(shown) == 1 and not hidden:
        hidden = (1 - shown[0],)
    return Part(head, shown, hidden)


def _images(text: str, language: str) -> tuple[int, ...]:
    """Return the images in the order in which the text names them."""
    if BOTH[language].search(text):
        return (0, 1)
    first, second = FIRST[language].search(text), SECOND[language].search(text)
    named = sorted((match.start(), image) for image, match in enumerate((first, second)) if match)
    return tuple(image for _, image in named)
