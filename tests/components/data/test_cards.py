"""Every committed card reads a fake of its source into records that say what was planted, no more and no less."""

from __future__ import annotations

import functools
import re
from datetime import date
from pathlib import Path

import pytest

from components.data.card import Card, load_card
from components.data.catalog import card_files
from components.data.reading import ReadContext
from components.records import DEPARTMENTS, MODALITIES, NOT_STATED, Record, Region
from components.settings import load_settings
from tests.fakes.from_card import BUILDERS, build, published_names
from tests.fakes.planted import Planted
from tests.fakes.sources import read_all

REAL = Path("conf/sources")
UNKNOWN = Path("docs/unknown_layouts.md")
FILES = card_files(REAL)
# The sample corpus has its own fakes in tests/fakes/sources.py, and real files in data/.
SAMPLE = {path.stem for path in REAL.glob("*.yaml")}
FAKED = sorted(FILES.keys() - SAMPLE)
CONTEXT = ReadContext(max_side=64, secret=b"test key")
LEAST = 219  # the paper's count of specialised data sets (section 3.1)


@functools.cache
def card_named(name: str) -> Card:
    return load_card(FILES[name])


@pytest.mark.parametrize("name", FAKED)
def test_a_fake_of_the_source_reads_into_what_was_planted(name, tmp_path):
    card = card_named(name)
    planted = build(tmp_path, card)
    records, refused = read_all(tmp_path, card, CONTEXT)
    assert refused == []
    assert records
    check_statements(records, planted)
    check_regions(records, planted)
    check_places(records, card, planted)


def check_statements(records: list[Record], planted: Planted) -> None:
    assert {label for record in records for label in record.labels} == planted.labels
    found = {(q.question, q.answer) for record in records for q in record.questions}
    assert found == planted.questions
    texts = {record.text for record in records if record.text}
    assert len(texts) == len(planted.texts)
    assert all(any(text in found for found in texts) for text in planted.texts)


def check_regions(records: list[Record], planted: Planted) -> None:
    regions = [region for record in records for region in record.regions]
    assert {(region.label, region.side) for region in regions} == planted.regions
    assert all(bool(region.mask) == planted.has_masks for region in regions)
    for label, box in planted.boxes:
        assert any(region.label == label and overlap(region, box) > 0.9 for region in regions), label


def check_places(records: list[Record], card: Card, planted: Planted) -> None:
    assert all(record.source == card.name and record.patient_key for record in records)
    assert {record.licence for record in records} == {card.licence}
    if planted.splits:
        assert {record.split for record in records} == planted.splits


def overlap(region: Region, box: tuple[float, ...]) -> float:
    """Intersection over union."""
    left, top = max(region.box[0], box[0]), max(region.box[1], box[1])
    right, bottom = min(region.box[2], box[2]), min(region.box[3], box[3])
    shared = max(0.0, right - left) * max(0.0, bottom - top)
    areas = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (region.box, box))
    return shared / (areas - shared)
