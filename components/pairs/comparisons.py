"""Questions about two images: what the source says of a pair, and which of two slices shows a label."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from components.pairs.draft import Draft, Scene, choice, yes_no
from components.pairs.facts import AbsenceFact, ComparisonFact, PresenceFact
from components.pairs.glossary import is_counted, plural
from components.pairs.surroundings import Partner
from components.pairs.wording.language import Wording

SAME, DIFFERENT = "same ", "different "
DERIVED_SHARE = 0.25  # of records get a derived comparison, so that two-image pairs stay a minority
MORE_BY = 1.3


def compare_as_stated(scene: Scene, wording: Wording, rng: Random) -> Draft | None:
    """Ask what the source says of its own pair of images: the same something, or a different one."""
    facts = scene.all(ComparisonFact)
    if not facts or not facts[0].statement.startswith((SAME, DIFFERENT)):
        return None
    is_same = facts[0].statement.startswith(SAME)
    asked = SAME + facts[0].statement.removeprefix(SAME if is_same else DIFFERENT)
    question = wording.say("compare_texture_question", rng, statement=wording.thing(asked, ""))
    draft = yes_no("comparison", question, is_same, wording=wording, rng=rng, kind="comparison")
    return replace(draft, record_ids=(scene.record.record_id, facts[0].other_id))


def compare_with_partner(scene: Scene, wording: Wording, rng: Random) -> Draft | None:
    """Ask which of two images of one study shows a label, or more objects of it."""
    partners = scene.around.partners_of(scene.record)
    if not partners or not scene.record.regions_complete:
        return None
    partner = rng.choice(partners)
    asked = _ask_more(scene, partner, wording, rng) or _ask_which(scene, partner, wording, rng)
    if asked is None:
        return None
    question, label, is_mine = asked
    order = (scene.record.record_id, partner.record_id)
    is_swapped = rng.random() < 0.5
    options = [wording.term("first"), wording.term("second")]
    draft = choice(
        "which_image", question, options, options[is_mine == is_swapped],
        wording=wording, rng=rng, labels=(label,), kind="comparison",
    )  # fmt: skip
    return replace(draft, record_ids=order[::-1] if is_swapped else order)


def _ask_which(scene: Scene, partner: Partner, wording: Wording, rng: Random) -> tuple[str, str, bool] | None:
    mine = [(fact.label, True) for fact in scene.all(PresenceFact) if fact.label in partner.absent]
    theirs = [(fact.label, False) for fact in scene.all(AbsenceFact) if fact.label in partner.present]
    if not mine and not theirs:
        return None
    label, is_mine = rng.choice(mine + theirs)
    return wording.say("which_image_question", rng, thing=wording.thing(label, "")), label, is_mine


def _ask_more(scene: Scene, partner: Partner, wording: Wording, rng: Random) -> tuple[str, str, bool] | None:
    counts = dict(partner.counts)
    for fact in scene.all(PresenceFact):
        mine, theirs = fact.count, counts.get(fact.label, 0)
        if fact.count and is_counted(fact.label) and min(mine, theirs) * MORE_BY < max(mine, theirs):
            things = plural(fact.label) if wording.language == "en" else wording.term(fact.label)
            return wording.say("which_more_question", rng, things=things), fact.label, mine > theirs
    return None
