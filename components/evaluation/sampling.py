"""Which items are asked, and which foreign image the blind system sees: fixed by the seed, never by order.

Items are taken in turn over question types and, within a type, over patients, so that a cap cuts the patients
with many questions first. The blind assignment gives each question images of another patient.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import TypeVar

from components.evaluation.items import Item
from components.records import stable_id

T = TypeVar("T")


def sample_items(items: Iterable[Item], *, number: int, seed: int) -> list[Item]:
    """Return at most `number` items, spread evenly over question types, then over patients."""
    ranked = sorted(items, key=lambda item: stable_id("item", seed, item.item_id))
    by_type = _grouped(ranked, lambda item: item.question_type)
    lists = [in_turn(_grouped(group, lambda item: item.patient_key)) for group in by_type]
    return in_turn(lists)[:number]


def _grouped(items: Sequence[Item], key: Callable[[Item], str]) -> list[list[Item]]:
    groups: defaultdict[str, list[Item]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return [groups[name] for name in sorted(groups)]


def in_turn(lists: Sequence[Sequence[T]]) -> list[T]:
    """Take the first of every list, then the second of every list, and so on."""
    return [entry for row in zip_longest(*lists) for entry in row if entry is not None]


def blind_images(items: Sequence[Item], *, seed: int) -> dict[str, tuple[str, ...]]:
    """Return {item id: record ids of another patient}, as many images as the item has, none of its own.

    Items with as many images are laid in a seeded order of patients and rotated by the largest patient's
    number of items, which never returns to the same patient unless he has more than half of them; what is
    left is drawn from the images of other patients. Empty when `why_no_blind` says that no such images exist.
    """
    if why_no_blind(items):
        return {}
    by_number: defaultdict[int, list[Item]] = defaultdict(list)
    for item in items:
        by_number[len(item.record_ids)].append(item)
    assigned: dict[str, tuple[str, ...]] = {}
    for group in by_number.values():
        order = sorted(group, key=lambda item: _blind_rank(item, seed))
        shift = max(Counter(item.patient_key for item in order).values())
        for index, item in enumerate(order):
            partner = order[(index + shift) % len(order)]
            fits = partner.patient_key != item.patient_key and not set(partner.record_ids) & set(item.record_ids)
            assigned[item.item_id] = partner.record_ids if fits else _drawn(item, items, seed)
    return assigned


def why_no_blind(items: Sequence[Item]) -> str:
    """Say why these items have no blind system, or "": it needs a foreign image for every item that has one."""
    shown = [item for item in items if item.record_ids]
    if not shown:
        return "no blind row: no images"
    if len({item.patient_key for item in shown}) == 1:
        return "no blind row: one patient"
    owners: defaultdict[str, set[str]] = defaultdict(set)
    for item in shown:
        for record_id in item.record_ids:
            owners[record_id].add(item.patient_key)
    if len(owners) == 1:
        return "no blind row: one image"
    alone = sum(not _has_foreign(item, owners) for item in shown)
    return f"no blind row: no other patient's image for {alone} of {len(items)} items" if alone else ""


def _has_foreign(item: Item, owners: Mapping[str, set[str]]) -> bool:
    return any(
        record_id not in item.record_ids and patients != {item.patient_key}
        for record_id, patients in owners.items()
    )


def _blind_rank(item: Item, seed: int) -> tuple[str, ...]:
    return stable_id("blind", seed, item.patient_key), item.patient_key, *item.record_ids, item.item_id


def _drawn(item: Item, items: Sequence[Item], seed: int) -> tuple[str, ...]:
    others = {
        record_id
        for other in items
        if other.patient_key != item.patient_key
        for record_id in other.record_ids
        if record_id not in item.record_ids
    }
    ranked = sorted(others, key=lambda record_id: stable_id("blind", seed, item.item_id, record_id))
    return tuple(ranked[index % len(ranked)] for index in range(len(item.record_ids)))
