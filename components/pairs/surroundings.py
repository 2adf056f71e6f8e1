"""What a record's source says around it: how common each label is, so that questions do not answer themselves.

One pass over the records, without images. It bounds its memory (counts a source and label, at most
`PARTNERS_KEPT` records a study) and does not depend on the order of the records.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from components.pairs.facts import SIDES, absent_labels, present_labels
from components.records import Record, stable_id

PARTNERS_KEPT = 48


@dataclass(frozen=True, slots=True)
class Partner:
    """Another record of the same study that may be compared with this one."""

    record_id: str
    split: str
    present: tuple[str, ...]
    absent: tuple[str, ...]
    counts: tuple[tuple[str, int], ...]


@dataclass
class Surroundings:
    """Counts over one source, gathered by `look_around`.

    `modalities` and `body_parts` are counts of images over the whole corpus. `further` has what levels of
    difficulty and hard negatives need, where the settings ask for them.
    """

    present: Counter[str] = field(default_factory=Counter)
    absent: Counter[str] = field(default_factory=Counter)
    sides: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    counts: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    partners: dict[str, list[Partner]] = field(default_factory=dict)
    modalities: Counter[str] = field(default_factory=Counter)
    body_parts: Counter[str] = field(default_factory=Counter)
    _ranked: tuple[str, list[Partner]] = ("", [])  # the last study asked for: records of one come together
    further: Any = None  # a `Further` of difficulty.py, which stands on this module

    def acceptance(self, label: str, *, is_present: bool) -> float:
        """Return how often a yes (or no) about a label may be asked so that both are equally common, 0-1."""
        yes, no = self.present[label], self.absent[label]
        asked, other = (yes, no) if is_present else (no, yes)
        return min(1.0, other / asked) if asked else 0.0

    def is_two_sided(self, label: str) -> bool:
        """Tell whether the source has the label on both sides of the body."""
        return self.sides[label].issuperset(SIDES)

    def partners_of(self, record: Record) -> list[Partner]:
        """List kept records of the same study, this one left out, in a fixed order."""
        name, kept = self._ranked
        if name != _study(record):
            name, kept = _study(record), _first(self.partners.get(_study(record), []))
            self._ranked = name, kept
        return [
            partner for partner in kept if partner.record_id != record.record_id and partner.split == record.split
        ]

    def of_studies(self, names: Iterable[str]) -> Surroundings:
        """Return the same counts with the partners of these studies alone."""
        partners = {name: self.partners[name] for name in names if name in self.partners}
        return replace(self, partners=partners, _ranked=("", []))


def look_around(records: Iterable[Record]) -> dict[str, Surroundings]:
    """Gather the surroundings of each source."""
    found: dict[str, Surroundings] = defaultdict(Surroundings)
    modalities: Counter[str] = Counter()
    body_parts: Counter[str] = Counter()
    told: dict[Any, Any] = {}
    for record in records:
        _add(found[record.source], record, told)
        modalities[record.modality] += 1
        body_parts[record.body_part] += 1
    for around in found.values():
        around.modalities, around.body_parts = modalities, body_parts
    return dict(found)


def study_name(patient_key: str, study_key: str) -> str:
    """Name a study by its patient and itself."""
    return f"{patient_key}\x1f{study_key}"


def commonness(count: int) -> float:
    """Weigh by powers of two, so that a few records more change no draw: 1 for none, 2 for 1, 4 for 2-3, …"""
    return float(2 ** count.bit_length())


def _add(around: Surroundings, record: Record, told: dict[Any, Any]) -> None:
    """Count a record; `told` holds what many images have in common, so that millions of them share it."""
    present, absent = present_labels(record), absent_labels(record)
    around.present.update(present)
    around.absent.update(absent)
    regions = Counter(region.label for region in record.regions)
    for region in record.regions:
        around.sides[region.label].add(region.side)
    for label, count in regions.items():
        around.counts[label].add(count)
    if record.regions_complete:
        facts = (record.split, present, absent, tuple(sorted(regions.items())))
        split, present, absent, counts = told.setdefault(facts, facts)
        partner = Partner(record.record_id, split, present, absent, counts)
        _keep(around.partners.setdefault(_study(record), []), partner)


def _keep(kept: list[Partner], partner: Partner) -> None:
    """Hold the `PARTNERS_KEPT` partners of smallest hash, whatever the order they come in."""
    kept.append(partner)
    if len(kept) > 2 * PARTNERS_KEPT:
        kept[:] = _first(kept)


def _first(partners: Iterable[Partner]) -> list[Partner]:
    return heapq.nsmallest(PARTNERS_KEPT, partners, key=lambda partner: stable_id("partner", partner.record_id))


def _study(record: Record) -> str:
    return study_name(record.patient_key, record.study_key)
