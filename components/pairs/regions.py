"""Region captions and box questions: `<ref>label</ref><box> [[0.18, 0.16, 0.50, 0.43]]</box>`."""

from __future__ import annotations

from random import Random

from components.pairs.captions import bare_name, box_name
from components.pairs.draft import Draft, Scene
from components.pairs.facts import BoxFact
from components.pairs.wording.language import Wording, box_text, referred

MIN_SHARE = 0.01  # below one per cent a share is not said


def percent(fraction: float) -> int:
    """Return a share of 0-1 in whole per cent."""
    return round(100 * fraction)


def describe_region(scene: Scene, wording: Wording, rng: Random, *, fact: BoxFact) -> Draft | None:
    """Describe what a box holds; half of the questions name it, half leave the name to the answer."""
    reference = referred(bare_name(fact, wording), fact.box) if rng.random() < 0.5 else box_text(fact.box)
    sentences = [
        wording.say("region", rng, thing=box_name(fact, wording)),
        wording.say("region_place", rng, place=wording.place(fact.box)),
    ]
    if fact.area_fraction >= MIN_SHARE:
        sentences.append(wording.say("region_share", rng, share=percent(fact.area_fraction)))
    text = wording.separator.join(sentences)
    return Draft(
        "region_caption", "region", wording.say("describe_region_question", rng, referred=reference), text, text,
        wording.language, labels=(fact.label,),
    )  # fmt: skip


def ask_box(scene: Scene, wording: Wording, rng: Random, *, fact: BoxFact) -> Draft | None:
    """Ask for the box of an object that its name, with the side if needed, names alone."""
    if not fact.is_unique:
        return None
    thing = box_name(fact, wording) if fact.names_side else wording.named(fact.label, "")
    text = wording.say("box_answer", rng, referred=referred(bare_name(fact, wording), fact.box))
    return Draft(
        "region_caption", "box", wording.say("box_question", rng, thing=thing), text, box_text(fact.box),
        wording.language, labels=(fact.label,), boxes=(fact.box,),
    )  # fmt: skip


def choose_regions(scene: Scene, rng: Random, most: int) -> list[BoxFact]:
    """Choose objects to speak of: at most one a label, unique names first."""
    boxes = list(scene.all(BoxFact))
    rng.shuffle(boxes)
    boxes.sort(key=lambda fact: not fact.is_unique)
    first = {fact.label: fact for fact in reversed(boxes)}
    return [fact for fact in boxes if first[fact.label] is fact][:most]
