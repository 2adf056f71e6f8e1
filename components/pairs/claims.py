"""Reads a finished text, English or Chinese, and returns what it claims; it knows nothing of templates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from components.pairs import lexicon, negation
from components.pairs.lexicon import Mention, find_labels
from components.records import Box

REFERENCE = re.compile(r"<ref>(.*?)</ref>\s*<box>\s*\[\[(.*?)\]\]\s*</box>")
BOX = re.compile(r"<box>\s*\[\[(.*?)\]\]\s*</box>")
# Four shares in brackets are a box without its tags.
NAKED_BOX = re.compile(r"[\[(]{1,2}\s*((?:[01]?\.\d+|[01])(?:\s*,\s*(?:[01]?\.\d+|[01])){3})\s*[\])]{1,2}")
SHORT_KIDNEY = re.compile(r"([左右双两]侧?)肾(?=[^脏上囊盂小动静门窦皮髓结区]|$)")
PLACEHOLDER = "\x00"
LOOK_BACK = 60  # letters before a name in which its side and number stand


@dataclass(frozen=True, slots=True)
class Claim:
    """One mention of a label: which it may mean, and what is said of it.

    `place` is (row, column) in a 3 x 3 grid of the image, -1 where a coordinate is not said.
    """

    labels: frozenset[str]
    is_negated: bool = False
    sides: tuple[str, ...] = ()
    count: int = 0
    place: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class BoxClaim:
    """A box in the text, with the labels and sides it is given (none for a bare box)."""

    box: Box
    labels: frozenset[str] = frozenset()
    sides: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Relation:
    """Two mentions and the displayed direction (right, down) from the second to the first."""

    first: Claim
    second: Claim
    direction: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Claims:
    """All that a text claims."""

    mentions: tuple[Claim, ...] = ()
    boxes: tuple[BoxClaim, ...] = ()
    relations: tuple[Relation, ...] = ()
    modalities: frozenset[str] = frozenset()
    planes: frozenset[str] = frozenset()
    loose_places: tuple[tuple[int, int], ...] = field(default=())


def read_claims(text: str, language: str, *, extra: tuple[str, ...] = ()) -> Claims:
    """Read a text; `extra` are labels to look for beside the glossary's.

    Most questions of a corpus are asked of many images: what they say is remembered, for all images whose labels
    the glossary knows alike.
    """
    return _read(text, language, lexicon.unknown_of(extra))


@lru_cache(maxsize=8192)
def _read(text: str, language: str, extra: tuple[str, ...]) -> Claims:
    boxes = tuple(_box_claims(text, language, extra))
    bare = negation.unlisted(_without_boxes(_long_names(text, language)), language)
    parts = [_read_clause(clause, language, extra) for clause in _clauses(bare, language)]
    mentions = [claim for part in parts for claim in part.mentions]
    relations = [relation for part in parts for relation in part.relations]
    places = [place for part in parts for place in part.loose_places]
    modalities = {name for part in parts for name in part.modalities}
    planes = {name for part in parts for name in part.planes}
    return Claims(
        tuple(mentions), boxes, tuple(relations), frozenset(modalities), frozenset(planes), tuple(places)
    )


def _clauses(text: str, language: str) -> Iterator[str]:
    for sentence in lexicon.SENTENCE_END[language].split(text):
        yield from negation.clauses(sentence, language)


@lru_cache(maxsize=8192)
def _read_clause(clause: str, language: str, extra: tuple[str, ...]) -> Claims:
    masked, spoken = _mask_modalities(clause)
    found = find_labels(masked, language, extra=extra)
    masked = _masked(masked, found)
    planes = _planes(masked)
    starts = [mention.start for mention in found] + [start for _, start in (*spoken, *planes)]
    denied = negation.denied(masked, starts, language)
    claims = [_claim(masked, mention, language, is_negated=mention.start in denied) for mention in found]
    place = _place(masked, language) if not found else None
    return Claims(
        tuple(claims), relations=tuple(_relations(masked, claims, language)),
        modalities=frozenset(name for name, start in spoken if start not in denied),
        planes=frozenset(name for name, start in planes if start not in denied),
        loose_places=(place,) if place else (),
    )  # fmt: skip


def _planes(masked: str) -> list[tuple[str, int]]:
    if not lexicon.ANY_PLANE.search(masked):
        return []
    return [(name, match.start()) for name, cue in lexicon.PLANES.items() for match in cue.finditer(masked)]


def _long_names(text: str, language: str) -> str:
    """Write 左肾 as 左肾脏: with a side the short name is usual, alone it is part of too many others."""
    return SHORT_KIDNEY.sub(r"\1肾脏", text) if language == "zh" else text


def _without_boxes(text: str) -> str:
    tagged = BOX.sub(PLACEHOLDER, REFERENCE.sub(PLACEHOLDER, text)) if "<box>" in text else text
    return NAKED_BOX.sub(PLACEHOLDER, tagged) if "[" in tagged or "(" in tagged else tagged


def parse_boxes(text: str) -> list[Box]:
    """Return every box in a text, in order; a box that is not four numbers comes back empty."""
    return [_numbers(match) for match in BOX.findall(text)]


def _numbers(text: str) -> Box:
    try:
        left, top, right, bottom = (float(part) for part in text.split(","))
    except ValueError:
        return (-1.0, -1.0, -1.0, -1.0)
    return left, top, right, bottom


def _box_claims(text: str, language: str, extra: tuple[str, ...]) -> list[BoxClaim]:
    claims: list[BoxClaim] = []
    if not any(mark in text for mark in "[("):
        return claims
    for name, numbers in REFERENCE.findall(text):
        found = find_labels(name, language, extra=extra)
        labels = found[0].labels if found else frozenset({name})
        sides = _sides(name, found[0], language) if found else ()
        claims.append(BoxClaim(_numbers(numbers), labels, sides))
    rest = REFERENCE.sub("", text)
    claims += [BoxClaim(_numbers(numbers)) for numbers in BOX.findall(rest)]
    return claims + [BoxClaim(_numbers(numbers)) for numbers in NAKED_BOX.findall(BOX.sub("", rest))]


def _mask_modalities(clause: str) -> tuple[str, list[tuple[str, int]]]:
    """Blank out names of modalities, which may hold names of organs (皮肤镜 holds 皮肤), and say where."""
    spoken: list[tuple[str, int]] = []
    if not lexicon.ANY_MODALITY.search(clause):
        return clause, spoken
    for name, cue in lexicon.MODALITIES.items():
        found = [(name, match.start()) for match in cue.finditer(clause)]
        if found:
            spoken += found
            clause = cue.sub(lambda match: PLACEHOLDER * len(match.group()), clause)
    return clause, spoken


def _masked(sentence: str, mentions: list[Mention]) -> str:
    """Blank out labels, which may hold other cues ("transverse temporal gyrus", 左心耳)."""
    for mention in mentions:
        sentence = (
            sentence[: mention.start] + PLACEHOLDER * (mention.end - mention.start) + sentence[mention.end :]
        )
    return sentence


def _claim(masked: str, mention: Mention, language: str, *, is_negated: bool) -> Claim:
    return Claim(
        mention.labels, is_negated=is_negated, sides=_sides(masked, mention, language),
        count=_count_of(masked, mention, language), place=_place(masked, language),
    )  # fmt: skip


def _sides(text: str, mention: Mention, language: str) -> tuple[str, ...]:
    before = lexicon.SIDE_BEFORE[language].search(text[max(0, mention.start - LOOK_BACK) : mention.start])
    match = before or lexicon.SIDE_AFTER[language].search(text[mention.end :])
    word = next((group for group in match.groups() if group), "").lower().replace(" the ", " ") if match else ""
    return lexicon.SIDES[language][word] if word else ()


def _count_of(masked: str, mention: Mention, language: str) -> int:
    """Return the number that a clause gives a label, before it or after it; 0 where there is none."""
    before, after = masked[max(0, mention.start - LOOK_BACK) : mention.start], masked[mention.end :]
    number = lexicon.COUNT_BEFORE[language].search(before)
    if number is None and lexicon.NUMBER_OF[language].search(before):
        number = lexicon.COUNT_AFTER[language].search(after)
    return _count(number[1].lower()) if number else 0


def _count(word: str) -> int:
    """Read a number in digits, in English words or in Chinese ones (up to 999)."""
    if word.isdigit() or word in lexicon.NUMBERS:
        return int(word) if word.isdigit() else lexicon.NUMBERS[word]
    total, digit = 0, 0
    for letter in word:
        if letter in "十百":
            total += (digit or 1) * (10 if letter == "十" else 100)
            digit = 0
        else:
            digit = lexicon.CHINESE_DIGITS[letter]
    return total + digit


def _place(text: str, language: str) -> tuple[int, int] | None:
    match = lexicon.PLACE[language].search(text)
    if match is None or not any(match.groups()):
        return None
    words = " ".join(group.lower() for group in match.groups() if group)
    row = next((number for word, number in lexicon.ROWS.items() if word in words), 1)
    column = next((number for word, number in lexicon.COLUMNS.items() if word in words), 1)
    return row, column


def _relations(masked: str, claims: list[Claim], language: str) -> list[Relation]:
    match = lexicon.RELATION[language].search(masked)
    if match is None or len(claims) != 2:
        return []
    return [Relation(claims[0], claims[1], lexicon.DIRECTIONS[match[1].lower()])]
