"""Free questions whose answers reason from annotated facts: overview, findings, location, size, relation, …"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from components.pairs.captions import absence_sentence, box_name, largest_sentence, opening, visible_things
from components.pairs.draft import Draft, Scene
from components.pairs.facts import AbsenceFact, BoxFact, LargestFact, ModalityFact, PresenceFact
from components.pairs.glossary import is_counted, plural
from components.pairs.regions import MIN_SHARE, percent
from components.pairs.wording.language import Wording

CLEARLY_APART = 0.12  # centres at least this share of the image apart, before a relation is said
SQUARE_MM_PER_SQUARE_CM = 100
INSTRUCT_PAIRS = 2
Maker = Callable[[Scene, Wording, Random], Draft | None]


def _draft(name: str, question: str, text: str, wording: Wording, labels: tuple[str, ...] = ()) -> Draft:
    return Draft("instruct", name, question, text, text, wording.language, labels=labels)


def explain_overview(scene: Scene, wording: Wording, rng: Random) -> Draft | None:
    """What kind of image is this, and what does it show?"""
    if not scene.all(ModalityFact):
        return None
    things = visible_things(scene, wording, rng)
    sentences = [opening(scene, wording, rng)]
    if things:
        sentences.append(wording.say("contents", rng, things=wording.joined(things)))
    return _draft("overview", wording.say("overview_question", rng), wording.separator.join(sentences), wording)


def list_findings(scene: Scene, wording: Wording, rng: Random) -> Draft | None:
    """Which structures can be identified?"""
    things = visible_things(scene, wording, rng)
    if not things:
        return None
    text = wording.say("contents", rng, things=wording.joined(things))
    return _draft("findings", wording.say("findings_question", rng), text, wording)


def explain_location(scene: Scene, wording: Wording, rng: Random) -> Draft | None:
    """Where does it lie in the image?"""
    unique = [fact for fact in scene.all(BoxFact) if fact.is_unique]
    if not unique:
        return None
    fact = rng.choice(unique)
    name = box_name(fact, wording)
    text = wording.say("placed", rng, thing=name, place=wording.place(fact.box))
    return _draft("location", wording.say("location_question", rng, thing=name), text, wording, (fact.label,))


def explain_size(scene: Scene, wording: Wording, rng: Random) -> Draft | None:
    """How large does it appear?"""
    sized = [fact for fact in scene.all(BoxFact) if fact.is_unique and fact.area_fraction >= MIN_SHARE]
    if not sized:
        return None
    fact = rng.choice(sized)
    name = box_name(fact, wording)
    text = wording.say("size", rng, thing=name, share=percent(fact.area_fraction))
    area = fact.area_mm2 / SQUARE_MM_PER_SQUARE_CM
    if area >= 1:
        text += wording.separator + wording.say("measured", rng, area=round(area))
    return _draft("size", wording.say("size_question", rng, thing=name), text, wording, (fact.label,))


def explain_relation(scene: Scene, wording: Wording, rng: Random) -> Draft | None:
    """How do two objects lie to each other, as displayed?"""
    unique = [fact for fact in scene.all(BoxFact) if fact.is_unique]
    if len(unique) < 2:
        return None
    first, second = rng.sample(unique, 2)
    relation = _relation(first, second)
    if not relation:
        return None
    names = {"first": box_name(first, wording), "second": box_name(second, wording)}
    text = wording.say("relation", rng, **names, relation=wording.term(relation))
    question = wording.say("relation_question", rng, **names)
    return _draft("relation", question, text, wording, (first.label, second.label))


def explain_largest(scene: Scene, wording: Wording, rng: Random) -> Draft | None:
    """Which structure is largest, and by how much?"""
    facts = [f for f in scene.all(LargestFact) if f.is_of_all and f.smaller[0][1] >= MIN_SHARE]
    if not facts:
        return None
    label, share = facts[0].smaller[0]
    text = wording.say(
        "why_largest", rng,
        largest_sentence=largest_sentence(facts[0], wording, rng) + wording.separator,
        share=percent(facts[0].area_fraction), next=wording.named(label, ""), next_share=percent(share),
    )  # fmt: skip
    question = wording.say("why_largest_question", rng)
    return _draft("largest_reason", question, " ".join(text.split()), wording, (facts[0].label, label))


def explain_absence(scene: Scene, wording: Wording, rng: Random) -> Draft | None:
    """Is something part of this view that is not?"""
    absent = [fact.label for fact in scene.all(AbsenceFact) if scene.around.present[fact.label]]
    things = visible_things(scene, wording, rng)
    if not absent or not things:
        return None
    label = rng.choice(absent)
    text = wording.say(
        "absence_reason", rng, things=wording.joined(things),
        absence_sentence=absence_sentence([label], scene, wording, rng) + wording.separator,
    )  # fmt: skip
    question = wording.say("absence_reason_question", rng, thing=wording.thing(label, ""))
    return _draft("absence_reason", question, " ".join(text.split()), wording, (label,))


def explain_count(scene: Scene, wording: Wording, rng: Random) -> Draft | None:
    """How many are there?"""
    counted = [f for f in scene.all(PresenceFact) if f.count > 1 and is_counted(f.label)]
    if not counted:
        return None
    fact = rng.choice(counted)
    things = plural(fact.label) if wording.language == "en" else wording.term(fact.label)
    text = wording.say("counted", rng, number=fact.count, things=things)
    question = wording.say("count_question", rng, things=things)
    return _draft("count_reason", question, text, wording, (fact.label,))


MAKERS: tuple[Maker, ...] = (
    explain_overview, list_findings, explain_location, explain_size, explain_relation, explain_largest,
    explain_absence, explain_count,
)  # fmt: skip


def _relation(first: BoxFact, second: BoxFact) -> str:
    """Name the displayed direction from the second object to the first, or "" when it is not clear."""
    across = (first.box[0] + first.box[2] - second.box[0] - second.box[2]) / 2
    down = (first.box[1] + first.box[3] - second.box[1] - second.box[3]) / 2
    if max(abs(across), abs(down)) < CLEARLY_APART or min(abs(across), abs(down)) > 0.5 * max(
        abs(across), abs(down)
    ):
        return ""
    if abs(across) > abs(down):
        return "leftward" if across < 0 else "rightward"
    return "above" if down < 0 else "below"
