"""Closed questions with short answers: presence, count, side, plane, modality, organ, structure, stated facts.

Nothing but the image should answer them: yes and no are equally common for each label of a source, absent
labels are ones that the source does show elsewhere, a side is asked only of labels seen on both sides, a
count only where it varies. Each maker returns a Draft, or None where the annotation does not support it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random

from components.pairs.difficulty import (
    choose_level,
    draw,
    label_pools,
    modality_pools,
    part_pools,
    presence_acceptance,
    presence_items,
)
from components.pairs.draft import Draft, Scene, choice, yes_no
from components.pairs.facts import (
    SIDES,
    AbsenceFact,
    BodyPartFact,
    BoxFact,
    LargestFact,
    ModalityFact,
    PlaneFact,
    PresenceFact,
    StatedFact,
)
from components.pairs.glossary import (
    BODY_PART_CHOICES,
    PLANE_NAMES,
    STATED_CHOICES,
    body_regions,
    is_counted,
    modality_group,
    plural,
)
from components.pairs.surroundings import commonness
from components.pairs.wording.language import Wording, box_text
from components.records import MODALITIES, stable_id

NUM_OPTIONS = 4
NEGATED_SHARE = 0.2
MOST_COUNTED = 60
Maker = Callable[[Scene, Wording, Random], Draft | None]


def ask_modality(scene: Scene, wording: Wording, rng: Random) -> Draft | None:
    """Ask for the modality; one wrong choice is a near confusion, the others are common in the corpus.

    Were they drawn evenly, a guesser who never looks would take the one choice he has met before.
    """
    modalities = scene.all(ModalityFact)
    if not modalities:
        return None
    truth = modalities[0].modality
    level, distractors = _leveled(scene, modality_pools(scene.record, scene.around), "modality")
    if level:
        names = [wording.modality(name) for name in (truth, *distractors)]
        question = wording.say("modality_question", rng)
        return choice(f"modality/{level}", question, names, names[0], wording=wording, rng=rng)
    wrong = _sample(rng, modality_group(truth), 1)
    rest = [modality for modality in MODALITIES if modality != truth and modality not in wrong]
    weights = [commonness(scene.around.modalities[modality]) for modality in rest]
    wrong += _weighted(rng, rest, weights, NUM_OPTIONS - 1 - len(wrong))
    names = [wording.modality(name) for name in (truth, *wrong)]
    return choice(
        "modality", wording.say("modality_question", rng), names, names[0], wording=wording, rng=rng
    )  # fmt: skip


def ask_plane(scene: Scene, wording: Wording, rng: Random) -> Draft | None:
    """Ask for the slice plane."""
    planes = scene.all(PlaneFact)
    if not planes:
        return None
    options = [wording.term(name) if wording.language == "en" else PLANE_NAMES[name][1] for name in PLANE_NAMES]
    answer = options[list(PLANE_NAMES).index(planes[0].plane)]
    return choice("plane", wording.say("plane_question", rng), options, answer, wording=wording, rng=rng)


def ask_organ(scene: Scene, wording: Wording, rng: Random) -> Draft | None:
    """Ask for the part of the body; wrong choices lie in other regions, those that the corpus shows first."""
    parts = scene.all(BodyPartFact)
    truth = parts[0].body_part if parts else ""
    own = body_regions(truth)
    wrong = [part for part in BODY_PART_CHOICES if not own & body_regions(part)]
    if not truth or len(wrong) < NUM_OPTIONS - 1:
        return None
    level, distractors = _leveled(scene, part_pools(scene.record, scene.around), "organ")
    if not level:
        distractors = _apart(rng, wrong, NUM_OPTIONS - 1, scene.around.body_parts)
    options = _names(wording, (truth, *distractors))
    question = wording.say("organ_question", rng)
    return choice(_typed("organ", level), question, options, options[0], wording=wording, rng=rng)


def ask_stated(scene: Scene, wording: Wording, rng: Random) -> Draft | None:
    """Ask for a fact that the source states and the image shows, against others that exclude it."""
    families = {
        fact: next((f for f in STATED_CHOICES.get(fact.name, ()) if fact.value in f), ())
        for fact in scene.all(StatedFact)
    }
    known = [fact for fact, family in families.items() if len(family) > 2]
    if not known:
        return None
    fact = rng.choice(known)
    wrong = _sample(rng, [value for value in families[fact] if value != fact.value], NUM_OPTIONS - 1)
    options = _names(wording, (fact.value, *wrong))
    question = wording.say("stated_question", rng, name=wording.term(fact.name))
    return choice(fact.name, question, options, options[0], wording=wording, rng=rng)


def ask_presence(scene: Scene, wording: Wording, rng: Random) -> Draft | None:
    """Ask whether a label is visible, so often for each label that yes and no are equally common.

    One label is drawn whatever is present, and then asked or not: drawing among the labels that may be asked
    would favour the answer that is spread over more images.
    """
    informative = presence_items(scene.record, scene.around)
    if not informative:
        return None
    label, is_present = rng.choice(informative)
    if not _is_accepted(scene, label, is_present=is_present):
        return None
    is_negated = rng.random() < NEGATED_SHARE
    key = "absence_question" if is_negated else "presence_question"
    question = wording.say(key, rng, thing=wording.thing(label, ""))
    return yes_no("presence", question, is_present != is_negated, wording=wording, rng=rng, labels=(label,))


def ask_count(scene: Scene, wording: Wording, rng: Random) -> Draft | None:
    """Ask for a number of objects, where the source's images differ in it; the truth's rank is uniform."""
    counted = [
        fact for fact in scene.all(PresenceFact)
        if 0 < fact.count <= MOST_COUNTED and is_counted(fact.label) and len(scene.around.counts[fact.label]) > 1
    ]  # fmt: skip
    if not counted:
        return None
    fact = rng.choice(counted)
    step = max(1, round(fact.count / 4))
    rank = rng.randrange(min(NUM_OPTIONS, (fact.count - 1) // step + 1))
    options = [str(fact.count + (place - rank) * step) for place in range(NUM_OPTIONS)]
    things = plural(fact.label) if wording.language == "en" else wording.term(fact.label)
    question = wording.say("count_question", rng, things=things)
    return choice("count", question, options, str(fact.count), wording=wording, rng=rng, labels=(fact.label,))


def ask_side(scene: Scene, wording: Wording, rng: Random) -> Draft | None:
    """Ask for the patient's side of a label seen on one side here and on both in the source.

    Not of sagittal slices: they show no side.
    """
    planes = [fact.plane for fact in scene.all(PlaneFact)]
    one_sided = [
        fact for fact in scene.all(PresenceFact)
        if len(set(fact.sides)) == 1 and fact.sides[0] in SIDES and scene.around.is_two_sided(fact.label)
    ]  # fmt: skip
    if not one_sided or "sagittal" in planes or not scene.record.regions_complete:
        return None
    fact = rng.choice(one_sided)
    options = [wording.sides[side] for side in SIDES]
    question = wording.say("side_question", rng, label=wording.term(fact.label))
    return choice(
        "side", question, options, wording.sides[fact.sides[0]], wording=wording, rng=rng, labels=(fact.label,)
    )  # fmt: skip


def ask_structure(scene: Scene, wording: Wording, rng: Random) -> Draft | None:
    """Ask which one of four labels is visible; the other three are shown elsewhere in the source."""
    present = [fact.label for fact in scene.all(PresenceFact)]
    absent = [fact.label for fact in scene.all(AbsenceFact) if scene.around.present[fact.label]]
    truths = [label for label in present if _is_accepted(scene, label, is_present=True)]
    if not truths or len(absent) < NUM_OPTIONS - 1:
        return None
    truth = rng.choice(truths)
    level, wrong = _leveled(scene, label_pools(scene.record, scene.around, truth), f"structure\x1f{truth}")
    if not level:
        weights = [scene.around.acceptance(label, is_present=False) for label in absent]
        wrong = _weighted(rng, absent, weights, NUM_OPTIONS - 1)
    options = _names(wording, (truth, *wrong))
    question = wording.say("structure_question", rng)
    return choice(
        _typed("structure", level), question, options, options[0], wording=wording, rng=rng, labels=(truth,)
    )  # fmt: skip


def ask_largest(scene: Scene, wording: Wording, rng: Random) -> Draft | None:
    """Ask which of some present labels covers the largest area."""
    facts = [fact for fact in scene.all(LargestFact) if len(fact.smaller) > 1]
    if not facts:
        return None
    nearest = [label for label, _ in facts[0].smaller[: 2 * NUM_OPTIONS]]
    options = _names(wording, (facts[0].label, *_sample(rng, nearest, NUM_OPTIONS - 1)))
    question = wording.say("largest_question", rng)
    return choice("largest", question, options, options[0], wording=wording, rng=rng, labels=(facts[0].label,))


def ask_region(scene: Scene, wording: Wording, rng: Random) -> Draft | None:
    """Ask which label a box marks; the wrong choices are other labels of the same image."""
    boxes = scene.all(BoxFact)
    labels = sorted({fact.label for fact in boxes})
    if len(labels) < 3:
        return None
    fact = rng.choice(boxes)
    others = [label for label in labels if label != fact.label]
    pools = label_pools(scene.record, scene.around, fact.label)
    level, wrong = _leveled(scene, pools | {"hard": others} if pools else {}, f"region\x1f{fact.label}")
    if not level:
        wrong = _sample(rng, others, NUM_OPTIONS - 1)
    options = _names(wording, (fact.label, *wrong))
    question = wording.say("region_question", rng, box=box_text(fact.box))
    return choice(
        _typed("region", level), question, options, options[0], wording=wording, rng=rng, labels=(fact.label,)
    )  # fmt: skip


ALWAYS: tuple[Maker, ...] = (ask_modality, ask_plane, ask_organ, ask_stated)
SOMETIMES: tuple[Maker, ...] = (ask_count, ask_side, ask_structure, ask_largest, ask_region)


def plan_questions(rng: Random) -> Iterator[Maker]:
    """Yield makers in the order to try: what every image supports, presence, each other once, presence again."""
    yield from ALWAYS
    others = list(SOMETIMES)
    rng.shuffle(others)
    yield from (ask_presence, ask_presence, ask_presence)
    yield from others
    yield from (ask_presence, ask_structure, ask_presence)


def _typed(name: str, level: str) -> str:
    return f"{name}/{level}" if level else name


def _leveled(scene: Scene, pools: Mapping[str, Sequence[str]], key: str) -> tuple[str, list[str]]:
    """Choose a question's level and draw its wrong answers; ("", []) where levels are off or none has enough."""
    record, around = scene.record, scene.around
    level = choose_level(record, around, pools, most=NUM_OPTIONS - 1, key=key)
    if not level:
        return "", []
    size = len(pools[level]) if key == "organ" else NUM_OPTIONS - 1
    drawn = draw(record, around, pools[level], size, key=key)
    return level, parts_apart(drawn, NUM_OPTIONS - 1) if key == "organ" else drawn


def _is_accepted(scene: Scene, label: str, *, is_present: bool) -> bool:
    """Decide once for a record and label, so that asking again does not shift the balance of yes and no."""
    chance = Random(stable_id("accept", scene.record.record_id, label)).random()
    return chance < presence_acceptance(scene.record, scene.around, label, is_present=is_present)


def _names(wording: Wording, labels: Sequence[str]) -> list[str]:
    return [wording.term(label) for label in labels]


def _sample(rng: Random, pool: Sequence[str], size: int) -> list[str]:
    return rng.sample(list(pool), min(size, len(pool)))


def _weighted(rng: Random, pool: Sequence[str], weights: Sequence[float], size: int) -> list[str]:
    """Draw without replacement by weight (Efraimidis and Spirakis 2006: keys u^(1/w))."""
    keys = [(rng.random() ** (1 / max(weight, 1e-6)), item) for weight, item in zip(weights, pool, strict=True)]
    return [item for _, item in sorted(keys, reverse=True)[:size]]


def _apart(rng: Random, pool: Sequence[str], size: int, shown: Mapping[str, int]) -> list[str]:
    """Draw body parts of which no two share a region, by how often the corpus shows the region."""
    counts = [sum(n for part, n in shown.items() if body_regions(part) & body_regions(item)) for item in pool]
    return parts_apart(_weighted(rng, pool, [commonness(count) for count in counts], len(pool)), size)


def parts_apart(parts: Sequence[str], size: int) -> list[str]:
    """Keep the first body parts of which no two share a region."""
    chosen: list[str] = []
    for part in parts:
        if len(chosen) < size and not any(body_regions(part) & body_regions(other) for other in chosen):
            chosen.append(part)
    return chosen
