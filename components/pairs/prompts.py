"""What a language model is asked: the prompt forms of Table 2 of the paper (arXiv 2411.14522), in our own words.

The five-tuple <image, modality, label, department, bbox> fills the slots, so the model describes what an
annotator has seen instead of guessing. The source's own texts, names and paths are never sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from components.pairs.draft import Scene
from components.pairs.facts import AbsenceFact, BoxFact, PresenceFact
from components.pairs.knowledge import sayable
from components.pairs.surroundings import Partner
from components.pairs.wording.language import box_text
from components.records import NOT_STATED, Record, stable_id

REGION_START = {"en": "This region", "zh": "该区域"}
TONGUES = {"en": "English", "zh": "Simplified Chinese"}
MOST_LABELS = 12
WITHOUT_IMAGE = ("comparison", "text_only")
EXPERT = (
    "You are a medical expert who writes training data about images. You say only what the image shows or the "
    "annotation states. You never name a person, never give advice, and reply with one JSON object and no other "
    "words."
)
FORMS = {
    "caption": (
        'Describe the whole image in detail. Reply {{"caption": "..."}}. Include the visible features that belong '
        "to the label. What the annotation states may be implied by what you describe; do not speak of an "
        "annotation. Cover the structures, the background and the texture."
    ),
    "region_caption": (
        'Describe the region inside the box {box} in detail. Reply {{"caption": "..."}}, and begin the caption '
        'with "{start}". Say what lies in the box and around it, and which features of the label can be seen. Do '
        "not repeat the numbers of the box and do not speak of an annotation."
    ),
    "instruct": (
        "Write {count} questions about the image and their answers. Reply "
        '{{"pairs": [{{"question": "...", "answer": "..."}}]}}. Each rests on this image and its label. '
        "None asks for a definition out of a textbook. Each answer reasons from a visible feature to the label, "
        "and is precise."
    ),
    "percept": (
        "Write {count} multiple-choice questions about what can be perceived in the image: the modality, the "
        "plane, "
        'an organ, a label, a side, a number. Reply {{"pairs": [{{"question": "...", "options": ["...", "..."], '
        '"answer": "..."}}]}}. Give two to four options; the answer repeats one of them letter by letter, '
        "the others "
        "are wrong by what is stated above, and only the image tells them apart."
    ),
    "report": (
        'Write a report of this image as a specialist would dictate it. Reply {{"findings": "...", "impression": '
        '"..."}}. The findings go through what is stated above, with side, number and place where they are '
        "stated, "
        "and through what is ruled out. The impression concludes from the findings and adds nothing. Call nothing "
        "normal unless the label does."
    ),
    "comparison": (
        "The first image is described above; the second image shows: {other}. Write {count} question that "
        "needs both "
        'images, and its answer. Reply {{"pairs": [{{"question": "...", "answer": "..."}}]}}. Say "the first '
        'image" '
        'and "the second image" ({first}, {second} in Chinese), and name only differences that the two lists '
        "state."
    ),
    "text_only": (
        "Nobody sees the image. Write a conversation of {count} to 4 exchanges in which a student, who tells "
        "what is "
        'stated above, asks what it means. Reply {{"pairs": [{{"question": "...", "answer": "..."}}]}}, in order. '
        "Each answer follows from what the student told and from this glossary alone: {glossary}"
    ),
}
FREE_QUESTIONS = ("instruct", "comparison", "text_only")  # replies of questions and answers


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request. `image` is encoded bytes (b"" when none is sent) and `image_hash` the hash of its pixels."""

    kind: str
    text: str
    language: str
    system: str = EXPERT
    image: bytes = field(default=b"", repr=False)
    image_format: str = "PNG"
    image_hash: str = ""
    temperature: float = 0.0
    max_tokens: int = 512

    @property
    def hash(self) -> str:
        """All that decides the reply beside model and seed."""
        words = (self.system, self.text, self.image_hash)
        return stable_id("prompt", *words, repr(float(self.temperature)), self.max_tokens)


def make_prompt(
    kind: str, scene: Scene, *, language: str, box: BoxFact | None = None, other: Partner | None = None,
    count: int = 1, sends_image: bool = True, temperature: float = 0.0, max_tokens: int = 512,
) -> Prompt:  # fmt: skip
    """Fill one of FORMS with a record's five-tuple; `count` is the number of questions, `other` the second image.

    Of two images none is sent: the second one's pixels are not at hand. A text-only conversation needs none.
    """
    record = scene.record
    slots = {
        "box": box_text(box.box) if box else "", "start": REGION_START[language], "count": count,
        "other": _other(other) if other else "", "glossary": _glossary(record, language), "first": "第一张图像",
        "second": "第二张图像",
    }  # fmt: skip
    labels = [box.label] if box else _labels(scene)
    lines = [
        *_slots(record, labels, box),
        *_ruled_out(scene),
        FORMS[kind].format(**slots),
        f"Write in {TONGUES[language]}.",
    ]
    shown = sends_image and bool(record.image) and kind not in WITHOUT_IMAGE
    return Prompt(
        kind, "\n".join(lines), language, image=record.image if shown else b"", image_format=record.image_format,
        image_hash=record.sha256 if shown else "", temperature=temperature, max_tokens=max_tokens,
    )  # fmt: skip


def _other(partner: Partner) -> str:
    """State the second image's labels, with numbers where they are known, and what it is known not to show."""
    counts = dict(partner.counts)
    shown = [f"{label} ({counts[label]} objects)" if label in counts else label for label in partner.present]
    shown = shown[:MOST_LABELS] or ["none of its labels"]
    absent = f"; ruled out there: {', '.join(partner.absent[:MOST_LABELS])}" if partner.absent else ""
    return "; ".join(shown) + absent


def _glossary(record: Record, language: str) -> str:
    has_side = any(region.side in ("left", "right") for region in record.regions)
    return " ".join(
        sayable(
            modality=record.modality, plane=record.plane, language=language, has_side=has_side,
            has_box=bool(record.regions),
        )
    )  # fmt: skip


def _slots(record: Record, labels: Sequence[str], box: BoxFact | None) -> list[str]:
    lines = _kind_of_image(record)
    if record.department != NOT_STATED:
        lines.append(f"Department: {record.department}")
    if record.body_part not in ("", NOT_STATED):
        lines.append(f"Part of the body: {record.body_part}")
    lines.append(f"Label: {'; '.join(labels) or 'none'}")
    if box is not None:
        lines.append(f"Box (left, top, right, bottom, 0-1): {box_text(box.box)}")
    return lines


def _kind_of_image(record: Record) -> list[str]:
    """State the modality and the plane; what the record does not state has no line, so that none is invented."""
    if record.modality == NOT_STATED:
        return [f"Plane: {record.plane}"] if record.plane != NOT_STATED else []
    plane = f", {record.plane} plane" if record.plane != NOT_STATED else ""
    return [f"Modality: {record.modality}{plane}"]


def _labels(scene: Scene) -> list[str]:
    """Name what is present, with side and number where the annotation knows them."""
    named = []
    for fact in scene.all(PresenceFact)[:MOST_LABELS]:
        sides = sorted(set(fact.sides) - {NOT_STATED, ""})
        notes = [*sides, *([f"{fact.count} objects"] if fact.count else [])]
        named.append(f"{fact.label} ({', '.join(notes)})" if notes else fact.label)
    return named


def _ruled_out(scene: Scene) -> list[str]:
    absent = [fact.label for fact in scene.all(AbsenceFact)][:MOST_LABELS]
    return [f"Ruled out: {'; '.join(absent)}"] if absent else []
