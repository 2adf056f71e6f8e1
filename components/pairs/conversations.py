"""Text-only conversations about an annotation: what its modality, plane, sides and boxes mean, where organs lie.

No image is shown, so nothing is asked that only an image could answer: each answer follows from what the human's
turns state, which is the annotation, and from the cited glossary in `knowledge`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

from components.pairs.captions import visible_things
from components.pairs.draft import Draft, Scene
from components.pairs.facts import AbsenceFact, BoxFact, PresenceFact
from components.pairs.glossary import is_counted, plural
from components.pairs.knowledge import (
    BOX_ENTRY,
    HOME_NAMES,
    MODALITY_ENTRIES,
    PLANE_ENTRIES,
    SIDE_ENTRY,
    home_of,
)
from components.pairs.regions import percent
from components.pairs.wording.language import Wording, box_text
from components.records import Turn

QUESTION_TYPE = "knowledge"
MOST_EXCHANGES = 4
Exchange = tuple[str, str]
Talk = Callable[[Scene, Wording, Random], list[Exchange]]


def write_conversation(scene: Scene, wording: Wording, rng: Random) -> Draft | None:
    """Write two to four exchanges about a record; None where there is not enough to speak of."""
    exchanges: list[Exchange] = []
    for talk in rng.sample(TALKS, len(TALKS)):
        exchanges += talk(scene, wording, rng) if len(exchanges) < MOST_EXCHANGES else []
    if len(exchanges) < 2:
        return None
    (question, text), *rest = exchanges[:MOST_EXCHANGES]
    turns = [Turn(speaker, said) for pair in rest for speaker, said in zip(("human", "gpt"), pair, strict=True)]
    opened = wording.separator.join([*_opening(scene, wording, rng), question])
    labels = tuple(fact.label for fact in scene.all(PresenceFact))
    draft = Draft("text_only", QUESTION_TYPE, opened, text, text, wording.language, labels=labels)
    return replace(draft, further=tuple(turns), has_images=False)


def _opening(scene: Scene, wording: Wording, rng: Random) -> list[str]:
    image = wording.image(scene.record.modality, scene.record.plane)
    things = visible_things(scene, wording, rng)
    said = [wording.say("talk_opening", rng, image=image)]
    return said + ([wording.say("talk_things", rng, things=wording.joined(things))] if things else [])


def _modality(scene: Scene, wording: Wording, rng: Random) -> list[Exchange]:
    entry = MODALITY_ENTRIES.get(scene.record.modality)
    return [(wording.say("talk_modality_question", rng), entry.said(wording.language))] if entry else []


def _plane(scene: Scene, wording: Wording, rng: Random) -> list[Exchange]:
    entry = PLANE_ENTRIES.get(scene.record.plane)
    return [(wording.say("talk_plane_question", rng), entry.said(wording.language))] if entry else []


def _side(scene: Scene, wording: Wording, rng: Random) -> list[Exchange]:
    sided = [fact for fact in scene.all(BoxFact) if fact.side in ("left", "right")]
    if not sided:
        return []
    fact = rng.choice(sided)
    question = wording.say("talk_side_question", rng, thing=wording.named(fact.label, fact.side))
    return [(question, SIDE_ENTRY.said(wording.language))]


def _home(scene: Scene, wording: Wording, rng: Random) -> list[Exchange]:
    known = [fact.label for fact in scene.all(PresenceFact) if home_of(fact.label)]
    if not known:
        return []
    label = rng.choice(known)
    home = home_of(label)
    named = HOME_NAMES[home] if wording.language == "zh" else home
    question = wording.say("talk_home_question", rng, thing=wording.thing(label, ""))
    return [(question, wording.say("talk_home", rng, home=named))]


def _box(scene: Scene, wording: Wording, rng: Random) -> list[Exchange]:
    boxes = scene.all(BoxFact)
    if not boxes:
        return []
    fact = rng.choice(boxes)
    left, top, right, bottom = (percent(edge) for edge in fact.box)
    thing = wording.thing(fact.label, fact.side)
    question = wording.say("talk_box_question", rng, thing=thing, box=box_text(fact.box))
    edges = wording.say("talk_box", rng, left=left, top=top, right=right, bottom=bottom)
    text = wording.separator.join([BOX_ENTRY.said(wording.language), edges])
    place = wording.say("talk_place", rng, place=wording.place(fact.box))
    return [(question, text), (wording.say("talk_place_question", rng), place)]


def _count(scene: Scene, wording: Wording, rng: Random) -> list[Exchange]:
    counted = [fact for fact in scene.all(PresenceFact) if fact.count > 1 and is_counted(fact.label)]
    if not counted:
        return []
    fact = rng.choice(counted)
    things = plural(fact.label) if wording.language == "en" else wording.term(fact.label)
    text = wording.say("counted", rng, number=fact.count, things=things)
    return [(wording.say("talk_count_question", rng, number=fact.count, things=things), text)]


def _absence(scene: Scene, wording: Wording, rng: Random) -> list[Exchange]:
    absent = [fact.label for fact in scene.all(AbsenceFact) if scene.around.present[fact.label]]
    if not absent:
        return []
    thing = wording.thing(rng.choice(absent), "")
    return [(wording.say("talk_absent_question", rng, thing=thing), wording.say("talk_absent", rng, thing=thing))]


TALKS: Sequence[Talk] = (_modality, _plane, _side, _home, _box, _count, _absence)
