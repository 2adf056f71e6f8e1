"""From a Record, the list of statements that its annotation supports; every text is rendered from these.

A fact is a small frozen value. What is not a fact here cannot be said by a template, so a text never says
more than the source does. Absence, count and "the largest" are facts only where `regions_complete` says that
every object of the vocabulary is annotated. Age and sex never become facts: an image does not show them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from components.records import NOT_STATED, Box, Record, Region

MIN_BOX_SIDE = 0.02  # share of the image side; a smaller box does not survive two decimals
MIN_BOX_AREA = 0.0008
LARGER_BY = 1.4  # "the largest" is said only when it leads the next by this factor
VISIBLE_FACTS = (
    "view", "stain", "sequence", "magnification", "level", "contrast", "technique", "tissue amount", "mode",
    "channel",
)  # fmt: skip
COUNTED_BY = "instance mask"  # a class mask joins the objects of a label, so their number is not known
SIDES = ("left", "right")


@dataclass(frozen=True, slots=True)
class ModalityFact:
    """The imaging modality, one of the vocabulary; a record that does not state it has no such fact."""

    modality: str


@dataclass(frozen=True, slots=True)
class PlaneFact:
    """The slice plane: axial, coronal or sagittal."""

    plane: str


@dataclass(frozen=True, slots=True)
class BodyPartFact:
    """The part of the body that the image shows, in the source's words."""

    body_part: str


@dataclass(frozen=True, slots=True)
class PresenceFact:
    """An annotated label; `sides` has the patient's side of each of its `count` objects.

    `count` is 0 where the number of objects is not known (labels of the whole image, incomplete regions).
    """

    label: str
    sides: tuple[str, ...] = ()
    count: int = 0
    area_fraction: float = 0.0
    area_mm2: float = 0.0


@dataclass(frozen=True, slots=True)
class AbsenceFact:
    """A label that the source rules out for this image."""

    label: str


@dataclass(frozen=True, slots=True)
class BoxFact:
    """One object's box, rounded to the two decimals it is written with.

    `is_unique` says that label and side together name this object alone; `names_side` that the label
    alone would not.
    """

    label: str
    side: str
    box: Box
    is_unique: bool
    names_side: bool
    area_fraction: float
    area_mm2: float = 0.0


@dataclass(frozen=True, slots=True)
class LargestFact:
    """The label that covers the largest area, and the ones that are clearly smaller, largest first.

    `is_of_all` says that every other label is clearly smaller, so that it may be called the largest.
    """

    label: str
    area_fraction: float
    smaller: tuple[tuple[str, float], ...]
    is_of_all: bool


@dataclass(frozen=True, slots=True)
class StatedFact:
    """What the source states of the image under a name: view, stain, sequence, magnification, …"""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class ComparisonFact:
    """What the source says of this image and another one."""

    other_id: str
    statement: str


Fact = (
    ModalityFact | PlaneFact | BodyPartFact | PresenceFact | AbsenceFact
    | BoxFact | LargestFact | StatedFact | ComparisonFact
)  # fmt: skip


def facts_of(record: Record) -> tuple[Fact, ...]:
    """Return every statement that the record's annotation supports, in a fixed order."""
    presences = _presences(record)
    found: list[Fact] = [ModalityFact(record.modality)] if record.modality != NOT_STATED else []
    if record.plane != NOT_STATED:
        found.append(PlaneFact(record.plane))
    if record.body_part not in ("", NOT_STATED):
        found.append(BodyPartFact(record.body_part))
    found += presences
    found += [AbsenceFact(label) for label in absent_labels(record)]
    found += _boxes(record.regions)
    found += _largest(record, presences)
    found += [StatedFact(name, value) for name, value in record.facts if name in VISIBLE_FACTS and value]
    if record.compared_with and record.comparison:
        found.append(ComparisonFact(record.compared_with, record.comparison))
    return tuple(found)


def present_labels(record: Record) -> tuple[str, ...]:
    """Return the labels that the annotation asserts, of the image and of its regions, sorted."""
    return tuple(sorted({*record.labels, *(region.label for region in record.regions)}))


def absent_labels(record: Record) -> tuple[str, ...]:
    """Return the labels that the annotation rules out, sorted."""
    ruled_out = set(record.absent_labels)
    if record.regions_complete:
        ruled_out.update(record.region_vocabulary)
    return tuple(sorted(ruled_out.difference(present_labels(record))))


def _presences(record: Record) -> list[PresenceFact]:
    regions: dict[str, list[Region]] = defaultdict(list)
    for region in record.regions:
        regions[region.label].append(region)
    facts: list[PresenceFact] = []
    for label in present_labels(record):
        group = regions.get(label, [])
        facts.append(
            PresenceFact(
                label,
                sides=tuple(sorted(region.side for region in group)),
                count=len(group) if _is_counted(record, label) else 0,
                area_fraction=sum(region.area_fraction for region in group),
                area_mm2=sum(region.area_mm2 for region in group),
            )
        )
    return facts


def _is_counted(record: Record, label: str) -> bool:
    is_complete = record.regions_complete and label in (record.region_vocabulary or (label,))
    return is_complete and record.fact("annotation") == COUNTED_BY


def rounded(box: Sequence[float]) -> Box:
    """Round a box to the two decimals that its text has."""
    left, top, right, bottom = (round(float(value), 2) for value in box)
    return left, top, right, bottom


def is_box_sayable(box: Sequence[float]) -> bool:
    """Tell whether a box is inside the image and large enough to be written with two decimals."""
    left, top, right, bottom = box
    wide, high = right - left, bottom - top
    inside = 0 <= left < right <= 1 and 0 <= top < bottom <= 1
    return inside and wide >= MIN_BOX_SIDE and high >= MIN_BOX_SIDE and wide * high >= MIN_BOX_AREA


def _boxes(regions: Iterable[Region]) -> list[BoxFact]:
    regions = tuple(regions)
    labels = [region.label for region in regions]
    named = [(region.label, region.side) for region in regions]
    facts: list[BoxFact] = []
    for region in regions:
        box = rounded(region.box)
        if not is_box_sayable(box):
            continue
        names_side = labels.count(region.label) > 1
        is_sided = region.side in SIDES and named.count((region.label, region.side)) == 1
        unstated = any(label == region.label and side not in SIDES for label, side in named)
        facts.append(
            BoxFact(
                region.label, region.side, box,
                is_unique=not names_side or (is_sided and not unstated), names_side=names_side,
                area_fraction=region.area_fraction, area_mm2=region.area_mm2,
            )
        )  # fmt: skip
    return facts


def _largest(record: Record, presences: Iterable[PresenceFact]) -> list[LargestFact]:
    measured = sorted(((p.area_fraction, p.label) for p in presences if p.area_fraction > 0), reverse=True)
    if not record.regions_complete or len(measured) < 2:
        return []
    (area, label), rest = measured[0], measured[1:]
    smaller = tuple((name, share) for share, name in rest if share * LARGER_BY <= area)
    return [LargestFact(label, area, smaller, is_of_all=len(smaller) == len(rest))] if smaller else []
