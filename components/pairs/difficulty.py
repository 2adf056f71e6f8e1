"""How hard a closed question is: from where its wrong answers, or the absent label that it asks of, are taken.

Easy answers belong to another part of the body and another modality; medium ones to the same modality; hard ones
to the same department or to what the source shows together with the image's own labels. An answer from elsewhere
is wrong for certain: its part of the body is another one, or the annotation rules it out. All counts are of whole
numbers, so that the order of the records changes nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from components.pairs.facts import absent_labels, present_labels
from components.pairs.glossary import BODY_PART_CHOICES, body_regions, modality_group
from components.pairs.lexicon import GENERIC
from components.pairs.mixture import unit_hash
from components.pairs.surroundings import Surroundings, commonness
from components.records import MODALITIES, NOT_STATED, Record, stable_id
from components.settings import Choices

LEVELS = ("easy", "medium", "hard")
LABELS_KEPT = 64  # of a modality, the most common first
PRESENT_KEPT = 16  # labels of an image that are counted in pairs, so that the work grows with the images alone
HARD_KEPT = 6  # absent labels of an image that count as hard
DRAWS = 3  # presence questions that an image is usually asked
SCALE = 1_000_000
ADJOINING = {
    "head": ("neck",), "neck": ("head", "chest", "shoulder"), "chest": ("neck", "abdomen", "shoulder"),
    "abdomen": ("chest", "pelvis"), "pelvis": ("abdomen", "leg"), "shoulder": ("neck", "chest", "arm"),
    "arm": ("shoulder", "hand"), "hand": ("arm", "foot"), "leg": ("pelvis", "foot"), "foot": ("leg", "hand"),
    "spine": ("neck", "chest", "abdomen"), "skin": ("hand", "foot"),
}  # fmt: skip


@dataclass
class Further:
    """What the whole corpus shows of labels and parts, and each source's labels in pairs."""

    options: Choices
    labels: Counter[tuple[str, str]] = field(default_factory=Counter)  # (modality, label)
    homes: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    regions: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # by modality or department
    together: dict[str, Counter[tuple[str, str]]] = field(default_factory=lambda: defaultdict(Counter))
    asked: dict[tuple[str, bool], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    _pools: dict[tuple[str, str], tuple[list[str], list[str]]] = field(default_factory=dict)

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each level."""
        return {"easy": self.options.easy, "medium": self.options.medium, "hard": self.options.hard}

    def add(self, record: Record) -> None:
        """Count one record."""
        present = present_labels(record)
        for label in present:
            self.labels[record.modality, label] += 1
            self.homes[label].add(record.body_part)
        for key in (record.modality, record.department):
            self.regions[key].update(body_regions(record.body_part))
        if len(present) > 1 and (record.absent_labels or record.regions_complete):
            self.together[record.source].update(combinations(_some(record, present), 2))

    def affinity(self, source: str, label: str, present: Sequence[str], shown: int) -> float:
        """Return of the images that show a label the share that also show one of the present labels, 0-1."""
        pairs = self.together[source]
        most = max((pairs[min(label, other), max(label, other)] for other in present), default=0)
        return most / shown if shown else 0.0

    def elsewhere(self, modality: str, body_part: str) -> tuple[list[str], list[str]]:
        """Return labels of other parts of the body: (of other modalities alone, of this modality)."""
        key = (modality, body_part)
        if key not in self._pools:
            self._pools[key] = self._labels_elsewhere(modality, body_part)
        return self._pools[key]

    def _labels_elsewhere(self, modality: str, body_part: str) -> tuple[list[str], list[str]]:
        here = body_regions(body_part)
        if body_part in ("", NOT_STATED) or modality == NOT_STATED:
            return [], []
        own = {label for other, label in self.labels if other == modality}
        found: tuple[list[str], list[str]] = ([], [])
        for name in sorted({other for other, _ in self.labels}):
            common = sorted((-count, label) for (other, label), count in self.labels.items() if other == name)
            for _, label in common[:LABELS_KEPT]:
                if self._is_elsewhere(label, here) and (name == modality) == (label in own):
                    found[name == modality].append(label)
        return sorted(set(found[0])), sorted(set(found[1]))

    def _is_elsewhere(self, label: str, here: frozenset[str]) -> bool:
        homes = self.homes[label]
        if label in GENERIC or "normal" in label or homes & {"", NOT_STATED}:
            return False
        return not any(body_regions(home) & here for home in homes) and not body_regions(label) & here


def look_further(
    records: Callable[[], Iterable[Record]], surroundings: Mapping[str, Surroundings], options: Choices
) -> None:
    """Count what levels need, in one pass more, and what hard negatives need, in another; each linear.

    `records` gives the same records at every call. The counts are put into the surroundings as `further`.
    """
    if not any((options.easy, options.medium, options.hard, options.hard_negatives)):
        return
    further = Further(options)
    for record in records():
        further.add(record)
    for around in surroundings.values():
        around.further = further
    for record in records() if options.hard_negatives else ():
        items = presence_items(record, surroundings[record.source])
        chance = round(SCALE * (1 - (1 - 1 / len(items)) ** DRAWS)) if items else 0
        for label, is_present in items:
            further.asked[record.source, is_present][label] += chance


def presence_items(record: Record, around: Surroundings) -> list[tuple[str, bool]]:
    """List the labels whose presence may be asked of an image; of absent ones the hard ones, where asked for."""
    known = [label for label in present_labels(record) if _is_informative(around, label)]
    absent = [label for label in absent_labels(record) if _is_informative(around, label)]
    further = around.further
    if further is not None and unit_hash(f"hard\x1f{record.record_id}", 0) < further.options.hard_negatives:
        absent = hard_labels(record, around, absent)
    return sorted([(label, True) for label in known] + [(label, False) for label in absent])


def hard_labels(record: Record, around: Surroundings, labels: Sequence[str]) -> list[str]:
    """Keep the labels that the source shows most often with the image's own; then those of the same part."""
    further, present = around.further, _some(record, present_labels(record))
    here = frozenset(region for label in (*present, record.body_part) for region in body_regions(label))
    ranked = sorted(
        labels,
        key=lambda label: (
            -round(further.affinity(record.source, label, present, around.present[label]), 3) if further else 0.0,
            not body_regions(label) & here, -around.present[label].bit_length(), label,
        ),
    )  # fmt: skip
    return ranked[:HARD_KEPT]


def presence_acceptance(record: Record, around: Surroundings, label: str, *, is_present: bool) -> float:
    """Return how often an answer may be asked for, so that yes and no stay equally common for each label, 0-1."""
    further = around.further
    if further is None or not further.options.hard_negatives:
        return around.acceptance(label, is_present=is_present)
    asked = further.asked[record.source, is_present][label]
    other = further.asked[record.source, not is_present][label]
    return min(1.0, other / asked) if asked else 0.0


def label_pools(record: Record, around: Surroundings, truth: str) -> dict[str, list[str]]:
    """Return wrong labels for a question whose right answer is `truth`, by level; {} where levels are off."""
    further = around.further
    if further is None:
        return {}
    elsewhere, same = further.elsewhere(record.modality, record.body_part)
    shown = [label for label in absent_labels(record) if around.present[label]]
    hard = hard_labels(record, around, shown)
    here = {truth, *present_labels(record)}
    medium = sorted({*same, *shown}.difference(hard, here))
    return {"easy": [label for label in elsewhere if label not in here], "medium": medium, "hard": hard}


def part_pools(record: Record, around: Surroundings) -> dict[str, list[str]]:
    """Return wrong parts of the body by level; {} where levels are off."""
    further = around.further
    if further is None:
        return {}
    own = body_regions(record.body_part)
    near = {region for name in own for region in ADJOINING.get(name, ())}
    wrong = [part for part in BODY_PART_CHOICES if not own & body_regions(part)]
    hard = [p for p in wrong if body_regions(p) & (near | further.regions[record.department])]
    medium = [p for p in wrong if p not in hard and body_regions(p) & further.regions[record.modality]]
    return {"easy": [p for p in wrong if p not in hard and p not in medium], "medium": medium, "hard": hard}


def modality_pools(record: Record, around: Surroundings) -> dict[str, list[str]]:
    """Return wrong modalities by level: hard ones are easily mistaken for the right one; medium mixes."""
    if around.further is None:
        return {}
    near = list(modality_group(record.modality))
    far = [name for name in MODALITIES if name != record.modality and name not in near]
    first = draw(record, around, near, 1, key="near")
    return {"easy": far, "medium": first + draw(record, around, far, 2, key="far"), "hard": near}


def choose_level(
    record: Record, around: Surroundings, pools: Mapping[str, Sequence[str]], *, most: int, key: str
) -> str:
    """Return the level of a question, by the weights among those with `most` wrong answers; "" where none has.

    Two wrong answers are enough for a hard question: an image has few near neighbours.
    """
    further = around.further
    weights = further.weights if further is not None else {}
    fit = [lv for lv in LEVELS if weights.get(lv) and len(pools.get(lv, ())) >= (2 if lv == "hard" else most)]
    point = unit_hash(f"{key}\x1f{record.record_id}", 0) * sum(weights[level] for level in fit)
    for level in fit:
        point -= weights[level]
        if point < 0:
            return level
    return fit[-1] if fit else ""


def draw(record: Record, around: Surroundings, pool: Sequence[str], size: int, *, key: str) -> list[str]:
    """Draw by hash, common labels first (Efraimidis and Spirakis 2006): one name more in a pool changes little."""

    def rank(name: str) -> float:
        weight = commonness(max(around.present[name], around.modalities[name], around.body_parts[name]))
        return unit_hash(f"{key}\x1f{record.record_id}\x1f{name}", 0) ** (1 / weight)

    return sorted(pool, key=lambda name: (-rank(name), name))[:size]


def _some(record: Record, labels: Sequence[str]) -> list[str]:
    """Return at most `PRESENT_KEPT` labels, sorted, chosen by hash."""
    if len(labels) <= PRESENT_KEPT:
        return sorted(labels)
    return sorted(sorted(labels, key=lambda label: stable_id(record.record_id, label))[:PRESENT_KEPT])


def _is_informative(around: Surroundings, label: str) -> bool:
    return bool(around.present[label] and around.absent[label])
