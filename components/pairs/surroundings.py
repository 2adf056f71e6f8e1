"""What a record's source says around it: how common each label is, so that questions do not answer themselves.

One pass over the records, without images. It bounds its memory (counts a source and label, at most
`PARTNERS_KEPT` records a study) and does not depend on the order of the records.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
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
    partners: dict[str, list[tuple[str, Partner]]] = field(default_factory=lambda: defaultdict(list))
    modalities: Counter[str] = field(default_factory=Counter)
    body_parts: Counter[str] = field(default_factory=Counter)
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
        study = study_of(record.patient_key, record.study_key)
        kept = heapq.nsmallest(PARTNERS_KEPT, self.partners.get(study, []), key=lambda item: item[0])
        return [
            partner for _, partner in kept
            if partner.record_id != record.record_id and partner.split == record.split
        ]  # fmt: skip


def look_around(records: Iterable[Record]) -> dict[str, Surroundings]:
    """Gather the surroundings of each source."""
    return together([look_at(records)])


def look_at(records: Iterable[Record]) -> dict[str, Surroundings]:
    """Gather what one part of a corpus says of each source; `together` makes the surroundings of it."""
    found: dict[str, Surroundings] = defaultdict(Surroundings)
    same: dict[Any, Any] = {}  # neighbouring slices have the same labels, and each is kept once
    for record in records:
        around = found[record.source]
        _add(around, record, same)
        around.modalities[record.modality] += 1
        around.body_parts[record.body_part] += 1
    return dict(found)


def together(parts: Iterable[Mapping[str, Surroundings]]) -> dict[str, Surroundings]:
    """Join what the parts of a corpus say; whichever way it was parted and in whatever order they come."""
    found: dict[str, Surroundings] = {}
    for part in parts:
        for source, more in part.items():
            if source in found:
                _join(found[source], more)
            else:
                found[source] = more
    modalities = sum((around.modalities for around in found.values()), Counter[str]())
    body_parts = sum((around.body_parts for around in found.values()), Counter[str]())
    for around in found.values():
        around.modalities, around.body_parts = modalities, body_parts
    return found


def only_of(
    surroundings: Mapping[str, Surroundings], studies: Mapping[str, Collection[str]]
) -> dict[str, Surroundings]:
    """Keep of the surroundings what records of these sources and studies need: source -> keys of studies."""
    found = {}
    for source, keys in studies.items():
        partners = surroundings[source].partners
        found[source] = replace(
            surroundings[source], partners={key: partners[key] for key in sorted(keys) if key in partners}
        )
    return found


def commonness(count: int) -> float:
    """Weigh by powers of two, so that a few records more change no draw: 1 for none, 2 for 1, 4 for 2-3, …"""
    return float(2 ** count.bit_length())


def _join(around: Surroundings, more: Surroundings) -> None:
    for name in ("present", "absent", "modalities", "body_parts"):
        getattr(around, name).update(getattr(more, name))
    for name in ("sides", "counts"):
        for label, seen in getattr(more, name).items():
            getattr(around, name)[label] |= seen
    for study, partners in more.partners.items():
        kept = around.partners[study]
        kept += partners
        _thin(kept)


def _add(around: Surroundings, record: Record, same: dict[Any, Any]) -> None:
    present, absent = present_labels(record), absent_labels(record)
    around.present.update(present)
    around.absent.update(absent)
    regions = Counter(region.label for region in record.regions)
    for region in record.regions:
        around.sides[region.label].add(region.side)
    for label, count in regions.items():
        around.counts[label].add(count)
    if record.regions_complete:
        said = (present, absent, tuple(sorted(regions.items())))
        kept = around.partners[study_of(record.patient_key, record.study_key)]
        partner = Partner(record.record_id, record.split, *same.setdefault(said, said))
        kept.append((stable_id("partner", partner.record_id), partner))
        _thin(kept)


def _thin(kept: list[tuple[str, Partner]]) -> None:
    """Hold the `PARTNERS_KEPT` partners of smallest hash, whatever the order they come in."""
    if len(kept) > 2 * PARTNERS_KEPT:
        kept[:] = heapq.nsmallest(PARTNERS_KEPT, kept, key=lambda item: item[0])


def study_of(patient_key: str, study_key: str) -> str:
    """Return the key of a study, by which partners are found."""
    return f"{patient_key}\x1f{study_key}"
