"""Reads a finished text, English or Chinese, and returns what it claims; it knows nothing of templates."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from components.pairs import lexicon
from components.pairs.lexicon import Mention, find_labels
from components.records import Box

REFERENCE = re.compile(r"<ref>(.*?)</ref>\s*<box>\s*\[\[(.*?)\]\]\s*</box>")
BOX = re.compile(r"<box>\s*\[\[(.*?)\]\]\s*</box>")
PLACEHOLDER = "\x00"


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
    """Read a text; `extra` are labels to look for beside the glossary's."""
    boxes = tuple(_box_claims(text, language, extra))
    bare = BOX.sub(PLACEHOLDER, REFERENCE.sub(PLACEHOLDER, text))
    mentions: list[Claim] = []
    relations: list[Relation] = []
    places: list[tuple[int, int]] = []
    modalities: set[str] = set()
    planes: set[str] = set()
    for sentence in lexicon.SENTENCE_END[language].split(bare):
        masked, spoken = _mask_modalities(sentence)
        found = find_labels(masked, language, extra=extra)
        masked = _masked(masked, found)
        claims = [_claim(sentence, masked, mention, language) for mention in found]
        mentions += claims
        relations += _relations(masked, claims, language)
        if not found and (place := _place(masked, language)):
            places.append(place)
        if not lexicon.NEGATION[language].search(masked):
            modalities |= spoken
            planes.update(name for name, cue in lexicon.PLANES.items() if cue.search(masked))
    return Claims(
        tuple(mentions), boxes, tuple(relations), frozenset(modalities), frozenset(planes), tuple(places)
    )


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
    claims = []
    for name, numbers in REFERENCE.findall(text):
        found = find_labels(name, language, extra=extra)
        labels = found[0].labels if found else frozenset({name})
        sides = _sides(name, found[0], language) if found else ()
        claims.append(BoxClaim(_numbers(numbers), labels, sides))
    return claims + [BoxClaim(_numbers(numbers)) for numbers in BOX.findall(REFERENCE.sub("", text))]


def _mask_modalities(sentence: str) -> tuple[str, set[str]]:
    """Blank out names of modalities, which may hold names of organs (皮肤镜 holds 皮肤)."""
    spoken: set[str] = set()
    if not lexicon.ANY_MODALITY.search(sentence):
        return sentence, spoken
    for name, cue in lexicon.MODALITIES.items():
        sentence, times = cue.subn(lambda match: PLACEHOLDER * len(match.group()), sentence)
        if times:
            spoken.add(name)
    return sentence, spoken


def _masked(sentence: str, mentions: list[Mention]) -> str:
    """Blank out labels, which may hold other cues ("transverse temporal gyrus", 左心耳)."""
    for mention in mentions:
        sentence = (
            sentence[: mention.start] + PLACEHOLDER * (mention.end - mention.start) + sentence[mention.end :]
        )
    return sentence


def _claim(sentence: str, masked: str, mention: Mention, language: str) -> Claim:
    number = lexicon.COUNT_BEFORE[language].search(masked[: mention.start])
    return Claim(
        mention.labels,
        is_negated=bool(lexicon.NEGATION[language].search(masked)),
        sides=_sides(masked, mention, language),
        count=_count(number[1]) if number else 0,
        place=_place(masked, language),
    )


def _sides(text: str, mention: Mention, language: str) -> tuple[str, ...]:
    before = lexicon.SIDE_BEFORE[language].search(text[: mention.start])
    after = lexicon.SIDE_AFTER[language].search(text[mention.end :])
    match = before or after
    return lexicon.SIDES[language][match[1].lower()] if match else ()


def _count(word: str) -> int:
    return int(word) if word.isdigit() else lexicon.NUMBERS[word.lower()]


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
