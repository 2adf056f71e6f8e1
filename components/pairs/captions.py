"""Captions of the whole image, and the sentences that other kinds borrow from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from components.pairs.draft import Draft, Scene
from components.pairs.facts import (
    AbsenceFact,
    BodyPartFact,
    BoxFact,
    LargestFact,
    ModalityFact,
    PlaneFact,
    PresenceFact,
    StatedFact,
)
from components.pairs.wording.language import TermMissing, Wording
from components.records import NOT_STATED

MOST_THINGS = {"en": 6, "zh": 4}
CAPTION_EXTRAS = 2


def write_caption(scene: Scene, wording: Wording, rng: Random) -> Draft | None:
    """Describe the whole image: its type, its content, then up to two further facts."""
    sentences = [opening(scene, wording, rng)]
    things = visible_things(scene, wording, rng)
    if things:
        sentences.append(wording.say("contents", rng, things=wording.joined(things)))
    extras = list(_extras(scene, wording, rng))
    sentences += rng.sample(extras, min(CAPTION_EXTRAS, len(extras)))
    text = wording.separator.join(sentences)
    labels = tuple(fact.label for fact in scene.all(PresenceFact))
    question = wording.say("caption_question", rng)
    return Draft("caption", "caption", question, text, text, wording.language, labels=labels)


def opening(scene: Scene, wording: Wording, rng: Random) -> str:
    """Say what kind of image this is, "a medical image" where that is not stated, and of what part of the body."""
    modalities, planes, parts = scene.all(ModalityFact), scene.all(PlaneFact), scene.all(BodyPartFact)
    modality = modalities[0].modality if modalities else NOT_STATED
    image = wording.image(modality, planes[0].plane if planes else NOT_STATED)
    if not parts:
        return wording.say("opening_bare", rng, image=image)
    return wording.say("opening", rng, image=image, part=wording.term(parts[0].body_part))


def visible_things(scene: Scene, wording: Wording, rng: Random) -> list[str]:
    """Name some of the present labels, with sides and numbers; the largest ones are the likelier."""
    facts = sorted(scene.all(PresenceFact), key=lambda fact: (-fact.area_fraction, fact.label))
    most = MOST_THINGS[wording.language]
    chosen = facts[: most // 2] + rng.sample(facts[most // 2 :], min(most - most // 2, len(facts[most // 2 :])))
    return [wording.several(fact.label, fact.sides, fact.count) for fact in chosen]


def absence_sentence(labels: Sequence[str], scene: Scene, wording: Wording, rng: Random) -> str:
    """Say that one of some absent labels is not there, preferring ones that the source shows elsewhere."""
    shown = [label for label in labels if scene.around.present[label]]
    return wording.say("absent", rng, thing=wording.thing(rng.choice(shown or list(labels)), ""))


def largest_sentence(fact: LargestFact, wording: Wording, rng: Random) -> str:
    """Say which label covers the largest area."""
    return wording.say("largest", rng, thing=wording.named(fact.label, ""))


def box_name(fact: BoxFact, wording: Wording) -> str:
    """Name one object: with its side where it has one."""
    return wording.named(fact.label, fact.side)


def bare_name(fact: BoxFact, wording: Wording) -> str:
    """Name one object without an article, as `<ref>` does."""
    return wording.named(fact.label, fact.side).removeprefix("the ")


def _extras(scene: Scene, wording: Wording, rng: Random) -> Iterator[str]:
    for fact in scene.all(StatedFact):
        try:
            yield wording.say("stated", rng, name=wording.term(fact.name), value=wording.term(fact.value))
        except TermMissing:
            continue  # the sentence is left out as a whole
    unique = [fact for fact in scene.all(BoxFact) if fact.is_unique]
    for fact in rng.sample(unique, min(2, len(unique))):
        yield wording.say("placed", rng, thing=box_name(fact, wording), place=wording.place(fact.box))
    for fact in scene.all(LargestFact):
        if fact.is_of_all:
            yield largest_sentence(fact, wording, rng)
    absent = [fact.label for fact in scene.all(AbsenceFact) if scene.around.present[fact.label]]
    if absent:
        yield absence_sentence(absent, scene, wording, rng)
