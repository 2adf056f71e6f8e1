"""Probes made of existing items: does the model say what is not there, and does it know when it cannot tell?

Each maker takes items and returns new ones of kind "probe"; the benchmark `hallucination` asks and scores
them. What is true is worked out from the item's own gold answer, so that nothing new is claimed.

- absent object and its partner, present object: "Is there a liver?" of what is, and is not, in the image (as
  POPE does, Li et al., EMNLP 2023);
- negation: the same with the sense turned round ("does not show");
- laterality: the side stated rightly and wrongly;
- image removed: the question without its image; the one right answer is that it cannot be told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from components.evaluation.answers import parse_yes_no
from components.evaluation.items import YES_NO, Item
from components.records import NOT_STATED

KIND = "probe"
ABSENT, PRESENT, NEGATION, LATERALITY, REMOVED = (
    "absent_object", "present_object", "negation", "laterality", "image_removed",
)  # fmt: skip
TURNED = re.compile(
    r"\b(?:missing|absent|outside|not|no|without)\b|缺少|缺失|(?<!有)没有|不(?!是否)", re.IGNORECASE
)
BESIDE_THE_SENSE = re.compile(r"\byes or no\b|有没有|是否", re.IGNORECASE)  # words like "no" that turn nothing
SHAPES = {
    "en": {
        PRESENT: "Does this image show {thing}? Answer yes or no.",
        NEGATION: "Is it true that this image does not show {thing}? Answer yes or no.",
        LATERALITY: "Is the {label} in this image the patient's {side} one? Answer yes or no.",
    },
    "zh": {
        PRESENT: "这幅图像显示了{thing}吗？请回答是或否。",
        NEGATION: "这幅图像没有显示{thing}，对吗？请回答是或否。",
        LATERALITY: "图中的{label}在患者的{side}，对吗？请回答是或否。",
    },
}  # fmt: skip


def make_probes(items: Iterable[Item]) -> list[Item]:
    """Return every probe that the items allow, in their order; an item that allows none is passed over."""
    kept = list(items)
    makers = (presence_probes, negation_probes, laterality_probes, image_removed_probes)
    return [probe for item in kept for maker in makers for probe in maker(item)]


def is_shown(item: Item) -> bool | None:
    """Tell whether a presence question's label is in its image, whichever way it was asked; None if not known."""
    if item.question_type != "presence" or item.fact("label") == NOT_STATED or parse_yes_no(item.gold) is None:
        return None
    said_yes = parse_yes_no(item.gold) == "yes"
    return said_yes != bool(TURNED.search(_without_names(item)))


def _without_names(item: Item) -> str:
    """Return the question without its label, which may be "no tumour", and without "answer yes or no"."""
    sentence = item.question
    for name in sorted(_names_of(item.fact("label"), item.language), key=len, reverse=True):
        sentence = sentence.replace(name, "")
    return BESIDE_THE_SENSE.sub("", sentence)


def presence_probes(item: Item) -> Iterator[Item]:
    """Ask plainly whether the label is there."""
    shown = is_shown(item)
    if shown is not None:
        yield _yes_no(item, PRESENT if shown else ABSENT, PRESENT, truth=shown)


def negation_probes(item: Item) -> Iterator[Item]:
    """Ask whether it is true that the label is not there."""
    shown = is_shown(item)
    if shown is not None:
        yield _yes_no(item, NEGATION, NEGATION, truth=not shown)


def laterality_probes(item: Item) -> Iterator[Item]:
    """State the right side and the wrong one."""
    if item.question_type == "side" and len(item.options) == 2 and item.fact("label") != NOT_STATED:
        for side in item.options:
            yield _yes_no(item, LATERALITY, LATERALITY, truth=side == item.gold, side=side)


def image_removed_probes(item: Item) -> Iterator[Item]:
    """Ask a closed question without the image that it is about."""
    if item.record_ids and item.options:
        question = item.question.replace("<image>", "").strip()
        yield replace(
            item, item_id=f"{item.item_id}/{REMOVED}", question=question, record_ids=(), boxes=(), options=(),
            gold="cannot be told without the image", reference="", gold_index=-1, kind=KIND, question_type=REMOVED,
        )  # fmt: skip


def _yes_no(item: Item, name: str, shape: str, *, truth: bool, side: str = "") -> Item:
    options = YES_NO[item.language]
    label, thing = _names_of(item.fact("label"), item.language)
    text = SHAPES[item.language][shape].format(label=label, thing=thing, side=side)
    gold = options[not truth]
    return replace(
        item, item_id="/".join(filter(None, (item.item_id, name, side))), question=f"<image>\n{text}", gold=gold,
        reference=gold, options=options, gold_index=options.index(gold), kind=KIND, question_type=name, boxes=(),
        accepted=(),
    )  # fmt: skip


def _names_of(label: str, language: str) -> tuple[str, str]:
    """Return a label's name bare and as a sentence names one; the label itself where there is no word for it."""
    from components.pairs.wording import chinese, english
    from components.pairs.wording.language import TermMissing

    wording = english.WORDING if language == "en" else chinese.WORDING
    try:
        return wording.term(label), wording.thing(label, "")
    except TermMissing:
        return label, label
