"""Compares what a finished pair says with the annotation of its images, and names each contradiction.

Whatever wrote the text (templates, a language model, the source itself), it is read back from the words alone
by `claims`. A claim that the annotation does not support is a reason to refuse the pair.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from components.pairs.claims import BoxClaim, Claim, Claims, Relation, parse_boxes, read_claims
from components.pairs.facts import COUNTED_BY, absent_labels, present_labels
from components.pairs.glossary import BODY_PART_CHOICES, body_regions, chinese_term
from components.pairs.knowledge import home_of, sayable
from components.pairs.lexicon import COMPARED, MORE, SENTENCE_END, find_labels
from components.pairs.two_images import parts_of
from components.records import NOT_STATED, Box, Pair, Record

BOX_TOLERANCE = 0.0051  # half of the last of two decimals
PLACE_TOLERANCE = 0.02
SOURCE_KINDS = {"report", "vqa", "text_only"}  # in these the source's words are all there is to compare with
YES, NO = {"yes", "是"}, {"no", "否"}
SIDE_ANSWERS = {"left": "left", "左侧": "left", "right": "right", "右侧": "right"}
FIRST, SECOND = {"first", "第一张"}, {"second", "第二张"}
# A source's own words may call a slide a microscopic picture; a template may not.
KIN = {"Pathology": {"Microscopy"}, "Microscopy": {"Pathology"}, "Fundus": {"Ophthalmoscope", "Microscopy"}}


@dataclass(frozen=True)
class Known:
    """What the annotation of one image supports."""

    modality: str
    plane: str = NOT_STATED
    body_part: str = NOT_STATED
    present: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()
    mentioned: frozenset[str] = frozenset()
    sides: Mapping[str, frozenset[str]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    boxes: tuple[tuple[str, str, Box], ...] = ()
    comparison: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """Every label that this image's annotation speaks of."""
        return tuple(sorted(self.present | self.absent))


def known_of(record: Record) -> Known:
    """Gather what a record supports, straight from its annotation."""
    sides: dict[str, set[str]] = defaultdict(set)
    for region in record.regions:
        sides[region.label].add(region.side)
    counted = record.regions_complete and record.fact("annotation") == COUNTED_BY
    stated = [word for _, value in record.facts for word in (value, chinese_term(value))]  # 经食管 holds 食管
    words = " . ".join((record.text, record.body_part, *stated))
    spoken = [find_labels(words, language) for language in ("en", "zh")]
    return Known(
        record.modality, record.plane, record.body_part,
        present=frozenset(present_labels(record)), absent=frozenset(absent_labels(record)),
        mentioned=frozenset(label for found in spoken for mention in found for label in mention.labels),
        sides={label: frozenset(found) for label, found in sides.items()},
        counts=Counter(region.label for region in record.regions) if counted else {},
        boxes=tuple((region.label, region.side, region.box) for region in record.regions),
        comparison=record.comparison,
    )  # fmt: skip


def contradictions(pair: Pair, known: Sequence[Known]) -> tuple[str, ...]:
    """Return the reasons to refuse a pair, sorted; () when its text agrees with its images' annotation."""
    question, answer = pair.conversations[0].value.replace("<image>\n", ""), pair.conversations[-1].value
    if not known or (pair.generator.name == "source" and _is_own_annotation(pair)):
        found = _check_source_words(pair, known)
    elif is_told(pair):
        found = _check_told(pair, known[0])
    elif len(known) > 1:
        found = _check_two(question, answer, pair, known) if pair.options else _check_compared(answer, pair, known)
    elif pair.options:
        found = _check_closed(question, answer, pair, known[0])
    else:
        found = _check_open(question, answer, pair, known[0])
    return tuple(sorted(set(found)))


def _check_open(question: str, answer: str, pair: Pair, known: Known) -> list[str]:
    asked = read_claims(question, pair.language, extra=known.labels)
    said = read_claims(answer, pair.language, extra=known.labels)
    is_source = pair.generator.name == "source"
    found = _check_claims(said, known, is_source=is_source)
    for turn in pair.conversations[1:-1:2]:
        earlier = read_claims(turn.value, pair.language, extra=known.labels)
        found += _check_claims(earlier, known, is_source=is_source)
    found += [reason for claim in asked.mentions for reason in _check_side(claim, known)]
    found += [reason for claim in asked.boxes for reason in _check_box(claim, known)]
    found += _check_loose_places(said, asked, known)
    wanted = [parse_boxes(answer)] if pair.boxes else []
    if any(not _same_boxes(boxes, pair.boxes) for boxes in wanted):
        found.append("box_contradicts")
    return found


def is_told(pair: Pair) -> bool:
    """Tell whether a pair without an image speaks of its record's annotation; a source's own texts do not."""
    return pair.kind == "text_only" and pair.generator.name != "source"


def _check_told(pair: Pair, known: Known) -> list[str]:
    """Check a conversation without an image: all turns, but for the glossary's sentences that fit the record."""
    has_side = any(side in SIDE_ANSWERS for _, side, _ in known.boxes)
    entries = sayable(
        modality=known.modality, plane=known.plane, language=pair.language, has_side=has_side,
        has_box=bool(known.boxes),
    )  # fmt: skip
    allowed = {known.modality} | read_claims(" ".join(entries), pair.language).modalities
    known = replace(known, mentioned=known.mentioned | {home_of(label) for label in known.present})
    found: list[str] = []
    for turn in pair.conversations:
        text = turn.value
        for entry in entries if turn.speaker == "gpt" else ():
            text = text.replace(entry, " ")
        said = read_claims(text, pair.language, extra=known.labels)
        found += _check_claims(replace(said, modalities=said.modalities - allowed), known, is_source=False)
    human, told = (" ".join(turn.value for turn in pair.conversations[start::2]) for start in (0, 1))
    asked = read_claims(human, pair.language, extra=known.labels)
    places = read_claims(told, pair.language, extra=known.labels).loose_places
    return found + _check_loose_places(Claims(loose_places=places), asked, known)


def _check_compared(answer: str, pair: Pair, known: Sequence[Known]) -> list[str]:
    """Check a free comparison: each clause against the image it names; one that names none must fit either."""
    labels = tuple(label for one in known for label in one.labels)
    found: list[str] = []
    for part in parts_of(answer, pair.language):
        said = read_claims(part.text, pair.language, extra=labels)
        if len(part.shown) == 2 and MORE[pair.language].search(part.text):
            more, fewer = (known[image] for image in part.shown)
            if not all(_number(claim, more) > _number(claim, fewer) for claim in said.mentions):
                found.append("count_contradicts")
            continue
        each = [_check_claims(said, known[image], is_source=False) for image in part.shown or (0, 1)]
        found += sum(each, []) if part.shown else min(each, key=len)
        flipped = [_with_polarity(claim, is_flipped=True) for claim in said.mentions]
        found += [r for image in part.hidden for claim in flipped for r in _check_mention(claim, known[image])]
    return found


def _is_own_annotation(pair: Pair) -> bool:
    """Tell a source's reports, questions and conversations from its captions, which are checked in full."""
    return pair.kind in SOURCE_KINDS or pair.question_type == "conversation"


def _check_source_words(pair: Pair, known: Sequence[Known]) -> list[str]:
    """Compare a source's own answers with its own labels: its words are an annotation themselves.

    The answer to one question must also agree with the record's modality; a report may speak of other images.
    """
    found = ["answer_not_an_option"] if pair.options and pair.answer not in pair.options else []
    labels = tuple(label for one in known for label in one.labels)
    present = frozenset(label for one in known for label in one.present)
    absent = frozenset(label for one in known for label in one.absent) - present
    for turn in pair.conversations[1::2] if labels else ():
        for claim in read_claims(turn.value, pair.language, extra=labels).mentions:
            if claim.labels & (present if claim.is_negated else absent):
                found.append("negation_contradicts")
    if pair.kind == "vqa" and pair.question_type != "conversation" and len(known) == 1:
        said = read_claims(pair.conversations[-1].value, pair.language)
        found += _check_modality(said, known[0], is_source=True)
    return found


def _check_closed(question: str, answer: str, pair: Pair, known: Known) -> list[str]:
    core = without_choices(question, pair.options, pair.language)
    asked = read_claims(core, pair.language, extra=known.labels)
    found = [] if answer in pair.options else ["answer_not_an_option"]
    if answer.lower() in YES | NO:
        mentions = [_with_polarity(claim, is_flipped=answer.lower() in NO) for claim in asked.mentions]
        return found + [reason for claim in mentions for reason in _check_mention(claim, known)]
    found += [reason for claim in asked.boxes for reason in _check_box(claim, known)]
    if answer in SIDE_ANSWERS:
        sided = [Claim(claim.labels, sides=(SIDE_ANSWERS[answer],)) for claim in asked.mentions]
        return found + [reason for claim in sided for reason in _check_side(claim, known)]
    if answer.isdigit():
        counted = [Claim(claim.labels, count=int(answer)) for claim in asked.mentions]
        return found + [reason for claim in counted for reason in _check_count(claim, known)]
    said = read_claims(answer, pair.language, extra=known.labels)
    found += _check_claims(said, known, is_source=pair.generator.name == "source")
    marked = [BoxClaim(box.box, claim.labels) for box in asked.boxes for claim in said.mentions]
    return found + [reason for claim in marked for reason in _check_box(claim, known)]


def _check_two(question: str, answer: str, pair: Pair, known: Sequence[Known]) -> list[str]:
    core = without_choices(question, pair.options, pair.language)
    if answer.lower() in YES | NO:
        compared = COMPARED[pair.language].search(core)
        says_same = bool(compared) == (answer.lower() in YES)
        stated = next((one.comparison for one in known if one.comparison), "")
        return [] if stated and stated.startswith("same") == says_same else ["comparison_contradicts"]
    order = known if answer in FIRST else known[::-1]
    if answer not in FIRST | SECOND:
        return ["answer_not_an_option"]
    labels = tuple(label for one in known for label in one.labels)
    mentions = read_claims(core, pair.language, extra=labels).mentions
    if MORE[pair.language].search(core):
        agrees = all(_number(claim, order[0]) > _number(claim, order[1]) for claim in mentions)
        return [] if agrees and mentions else ["count_contradicts"]
    shown = [reason for claim in mentions for reason in _check_mention(claim, order[0])]
    hidden = [_with_polarity(claim, is_flipped=True) for claim in mentions]
    return shown + [reason for claim in hidden for reason in _check_mention(claim, order[1])]


def without_choices(question: str, options: Sequence[str], language: str) -> str:
    """Cut the shortest run of last sentences that holds every option; the rest is what is asked."""
    sentences = [part for part in SENTENCE_END[language].split(question) if part]
    for kept in range(len(sentences) - 1, 0, -1):
        tail = " ".join(sentences[kept:]).lower()
        if all(option.lower() in tail for option in options):
            return " ".join(sentences[:kept])
    return question


def _with_polarity(claim: Claim, *, is_flipped: bool) -> Claim:
    return Claim(claim.labels, is_negated=claim.is_negated != is_flipped, sides=claim.sides)


def _number(claim: Claim, known: Known) -> int:
    return max((known.counts.get(label, 0) for label in claim.labels), default=0)


def _check_claims(said: Claims, known: Known, *, is_source: bool) -> list[str]:
    found = [reason for claim in said.mentions for reason in _check_mention(claim, known)]
    found += [reason for claim in said.boxes for reason in _check_box(claim, known)]
    found += [reason for relation in said.relations for reason in _check_relation(relation, known)]
    found += _check_modality(said, known, is_source=is_source)
    # A caption may say what its record does not state; a template may not.
    if said.planes - {known.plane} and not (is_source and known.plane == NOT_STATED):
        found.append("plane_contradicts")
    return found


def _check_modality(said: Claims, known: Known, *, is_source: bool) -> list[str]:
    """Compare what kind of image it is; of one that the record does not state, only the source may speak."""
    if is_source and known.modality == NOT_STATED:
        return []
    allowed = {known.modality} | (KIN.get(known.modality, set()) if is_source else set())
    return ["modality_contradicts"] if said.modalities - allowed else []


def _check_mention(claim: Claim, known: Known) -> list[str]:
    claim = _narrowed(claim, known)
    if claim.is_negated:
        if claim.labels & known.present:
            return ["negation_contradicts"]
        return [] if claim.labels & (known.absent | known.mentioned) else ["label_not_annotated"]
    if not claim.labels & known.present:
        if claim.labels & known.absent:
            return ["negation_contradicts"]
        return [] if _is_excused(claim, known) else ["label_not_annotated"]
    return _check_side(claim, known) + _check_count(claim, known) + _check_place(claim, known)


def _narrowed(claim: Claim, known: Known) -> Claim:
    """Let a wider word mean the annotated thing: "the tumour" where a lung tumour is annotated."""
    if claim.labels & (known.present | known.absent):
        return claim
    wider = tuple(f" {label}" for label in claim.labels)
    narrow = frozenset(label for label in known.present if label.endswith(wider))
    narrow = narrow or frozenset(label for label in known.absent if label.endswith(wider))
    return replace(claim, labels=claim.labels | narrow) if narrow else claim


def _is_excused(claim: Claim, known: Known) -> bool:
    """Tell whether a label is the source's own word, or a body part that overlaps the one imaged."""
    here = body_regions(known.body_part) if known.body_part != NOT_STATED else frozenset()
    parts = claim.labels & set(BODY_PART_CHOICES)
    return bool(claim.labels & known.mentioned) or any(body_regions(part) <= here for part in parts)


def _check_side(claim: Claim, known: Known) -> list[str]:
    if not claim.sides or claim.is_negated:
        return []
    actual = {side for label in claim.labels for side in known.sides.get(label, ())}
    return [] if actual.issuperset(claim.sides) else ["side_contradicts"]


def _check_count(claim: Claim, known: Known) -> list[str]:
    return ["count_contradicts"] if claim.count and _number(claim, known) != claim.count else []


def _check_place(claim: Claim, known: Known) -> list[str]:
    boxes = _boxes_of(claim, known)
    if claim.place is None or not boxes:
        return []
    return [] if any(is_at(box, claim.place) for box in boxes) else ["box_contradicts"]


def _check_loose_places(said: Claims, asked: Claims, known: Known) -> list[str]:
    """Compare "It lies in the upper left part" with the one box that the question gives."""
    if len(asked.boxes) != 1:
        return []
    wrong = [place for place in said.loose_places if not is_at(asked.boxes[0].box, place)]
    unlabelled = [
        claim for claim in said.mentions
        if _check_box(BoxClaim(asked.boxes[0].box, claim.labels, claim.sides), known) and not claim.is_negated
    ]  # fmt: skip
    return ["box_contradicts"] if wrong or unlabelled else []


def _check_box(claim: BoxClaim, known: Known) -> list[str]:
    matches = [
        (label, side) for label, side, box in known.boxes
        if (not claim.labels or label in claim.labels) and _same_boxes([claim.box], [box])
    ]  # fmt: skip
    if claim.labels and not claim.labels & known.present:
        return ["label_not_annotated"]
    if not matches:
        return ["box_contradicts"]
    return [] if not claim.sides or any(side in claim.sides for _, side in matches) else ["side_contradicts"]


def _check_relation(relation: Relation, known: Known) -> list[str]:
    firsts, seconds = _boxes_of(relation.first, known), _boxes_of(relation.second, known)
    across, down = relation.direction
    for first in firsts:
        for second in seconds:
            (x1, y1), (x2, y2) = centre(first), centre(second)
            if (x1 - x2) * across + (y1 - y2) * down > 0:
                return []
    return ["box_contradicts"] if firsts and seconds else []


def _boxes_of(claim: Claim, known: Known) -> list[Box]:
    return [
        box for label, side, box in known.boxes
        if label in claim.labels and (not claim.sides or side in claim.sides)
    ]  # fmt: skip


def centre(box: Box) -> tuple[float, float]:
    """Return a box's centre (x, y), 0-1."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def is_at(box: Box, place: tuple[int, int]) -> bool:
    """Tell whether a box's centre lies in a cell (row, column) of a 3 x 3 grid, with a small tolerance."""
    x, y = centre(box)
    return all(
        cell / 3 - PLACE_TOLERANCE <= value <= (cell + 1) / 3 + PLACE_TOLERANCE
        for value, cell in ((y, place[0]), (x, place[1]))
    )


def _same_boxes(first: Sequence[Box], second: Sequence[Box]) -> bool:
    return len(first) == len(second) and all(
        abs(a - b) <= BOX_TOLERANCE
        for one, other in zip(first, second, strict=True)
        for a, b in zip(one, other, strict=True)
    )
