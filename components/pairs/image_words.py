"""What a record states of its whole image, in the fewest English words: ("CT", "axial", "chest").

The image encoder of a model without a pretrained one is drawn onto these words before stage I. They are the facts
that the templates speak of, asked or not: the questions that curation happens to keep name a plane here and a
body part there, and a target that changes from slice to slice with nothing to be seen cannot be learnt.
"""

from __future__ import annotations

from components.pairs.facts import BodyPartFact, ModalityFact, PlaneFact, StatedFact, facts_of
from components.pairs.wording.english import modality_name
from components.records import Record

UNREAD = ("absent_labels", "questions", "region_vocabulary", "regions", "text")  # of a record, by `image_words`


def image_words(record: Record) -> tuple[str, ...]:
    """Return modality, plane, body part, stated facts and labels of the whole image, each once, in that order."""
    found: list[str] = []
    for fact in facts_of(record):
        match fact:
            case ModalityFact(modality):
                found.append(modality_name(modality))
            case PlaneFact(word) | BodyPartFact(word) | StatedFact(_, word):
                found.append(word)
    return tuple(dict.fromkeys((*found, *record.labels)))
