"""Reports that templates write: findings and impression in sections, from the annotation alone.

The findings name the image, its labels with number, side, place and share, and labels that are ruled out. The
impression repeats what matters most of it. "Normal" is said only where the annotation has it as a label.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from components.data.report_text import join_sections
from components.pairs.captions import box_name, opening
from components.pairs.draft import Draft, Scene
from components.pairs.facts import AbsenceFact, BoxFact, PresenceFact, StatedFact
from components.pairs.regions import MIN_SHARE, percent
from components.pairs.wording.english import FINDINGS as SIGNS
from components.pairs.wording.language import TermMissing, Wording
from components.records import NOT_STATED

MOST_PLACED = 5
MOST_NAMED = 8
MOST_ABSENT = 3
QUESTION_TYPE = "written_report"
DISEASE_TASKS = ("Disease Diagnosis", "Severity Grading")


def write_report(scene: Scene, wording: Wording, rng: Random) -> Draft | None:
    """Write a report; None for a record of which the annotation says no more than the kind of image."""
    present, absent = scene.all(PresenceFact), _absent(scene, wording)
    if not present and not absent:
        return None
    sections = {
        "findings": wording.separator.join(_findings(scene, absent, wording, rng)),
        "impression": _impression(scene, absent, wording, rng),
    }
    text = join_sections(sections, language=wording.language)
    labels = tuple(fact.label for fact in present)
    question = wording.say("report_question", rng)
    return Draft("report", QUESTION_TYPE, question, text, text, wording.language, labels=labels)


def _findings(scene: Scene, absent: Sequence[str], wording: Wording, rng: Random) -> Iterator[str]:
    yield opening(scene, wording, rng)
    for fact in scene.all(StatedFact)[:2]:
        try:
            yield wording.say("stated", rng, name=wording.term(fact.name), value=wording.term(fact.value))
        except TermMissing:
            continue  # the sentence is left out as a whole
    placed = _placed(scene)
    named = [fact for fact in _by_size(scene) if fact.label not in {box.label for box in placed}][:MOST_NAMED]
    if named:
        things = [wording.several(fact.label, fact.sides, fact.count) for fact in named]
        yield wording.say("report_things", rng, things=wording.joined(things))
    for box in placed:
        yield wording.say("report_region", rng, thing=box_name(box, wording), place=wording.place(box.box))
        if box.area_fraction >= MIN_SHARE:
            yield wording.say("report_share", rng, share=percent(box.area_fraction))
    if absent:
        yield _without(absent, "report_absent", wording, rng)
    elif len(named) + len({box.label for box in placed}) == len(scene.all(PresenceFact)) and rng.random() < 0.5:
        yield wording.say("report_bare", rng)


def _impression(scene: Scene, absent: Sequence[str], wording: Wording, rng: Random) -> str:
    """Name the findings; without any, what is ruled out; without that, the kind of image."""
    told = [fact for fact in _by_size(scene) if is_finding(fact.label, scene.record.task)][:MOST_NAMED]
    if told:
        things = [wording.several(fact.label, fact.sides, fact.count) for fact in told]
        return wording.say("impression_things", rng, things=wording.joined(things))
    signs = [label for label in absent if is_finding(label, scene.record.task)]
    if signs:
        return _without(signs, "impression_absent", wording, rng)
    plane = scene.record.plane
    return wording.say("impression_image", rng, image=wording.image(scene.record.modality, plane))


def is_finding(label: str, task: str) -> bool:
    """Tell whether a label is a finding or a diagnosis, and not a part of the body."""
    return task in DISEASE_TASKS or "normal" in label or any(sign in label for sign in SIGNS)


def _without(labels: Sequence[str], key: str, wording: Wording, rng: Random) -> str:
    """Deny labels; "no" takes no article before a bare name."""
    things = wording.joined([wording.term(label) for label in labels])
    if wording.language == "zh" or len(labels) == 1:
        return wording.say(key, rng, things=things)
    return wording.say(key, rng, things=" or ".join([", ".join(labels[:-1]), labels[-1]]))


def _by_size(scene: Scene) -> list[PresenceFact]:
    return sorted(scene.all(PresenceFact), key=lambda fact: (-fact.area_fraction, fact.label))


def _placed(scene: Scene) -> list[BoxFact]:
    """Choose the largest objects that a name, with its side, names alone; all objects of a label or none."""
    boxes = scene.all(BoxFact)
    counts = {fact.label: len(fact.sides) for fact in scene.all(PresenceFact)}
    whole = [
        box for box in boxes
        if box.is_unique and sum(other.label == box.label for other in boxes) == counts.get(box.label)
    ]  # fmt: skip
    largest = sorted(whole, key=lambda fact: (-fact.area_fraction, fact.label, fact.side))
    return largest[:MOST_PLACED]


def _absent(scene: Scene, wording: Wording) -> list[str]:
    """Choose labels that are ruled out, those that the source shows most often first."""
    shown = scene.around.present
    ruled_out = [fact.label for fact in scene.all(AbsenceFact) if fact.label != NOT_STATED]
    return sorted(ruled_out, key=lambda label: (-shown[label].bit_length(), label))[:MOST_ABSENT]
