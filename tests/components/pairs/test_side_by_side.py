"""Pairs made by several processes are the bytes of one."""

from __future__ import annotations

from collections import Counter

import pytest

from components.pairs import side_by_side
from components.pairs.generate import TemplateGenerator
from components.pairs.make import run_pair, write_pairs
from components.pairs.making import Making
from components.pairs.reading import Reading
from components.pairs.side_by_side import Crew, in_order
from components.pairs.withdrawal import Withdrawn
from components.records import pair_from_row
from components.settings import Augmentation, Choices
from components.tracking.tables import ROW_GROUP_ROWS, iterate_rows
from tests.components.pairs.test_difficulty import corpus as leveled
from tests.components.pairs.test_make import PAIRS, RECORDS, corpus, write_records

KINDS = ("caption", "region_caption", "instruct", "percept", "comparison", "report", "text_only")
VARIED = Augmentation(turns=3, paraphrase_share=0.5, jitter_share=0.5, balance=1.2)
HARD = Choices(easy=1.0, medium=1.0, hard=1.0, hard_negatives=0.5)


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def many(monkeypatch, settings):
    """Records of several sources and studies, in more parts than processes."""
    monkeypatch.setattr(side_by_side, "ROWS_A_PART", 1)
    write_records([*corpus(), *leveled(4 * ROW_GROUP_ROWS)])
    assert len(list(Reading(RECORDS).parts(1))) > 3
    return TemplateGenerator(seed=3, chinese_share=0.3, max_questions=6, max_regions=2, writes=("report",))


@pytest.mark.parametrize("backend", ["threading", "loky"])
@pytest.mark.parametrize("varied", [False, True], ids=["plain", "varied"])
def test_files_and_counts_are_those_of_one_process(many, tmp_path, backend, varied):
    making = Making(many, KINDS, VARIED if varied else Augmentation(), max_text=60)
    choices = HARD if varied else Choices()
    reading = Reading(RECORDS, Withdrawn(patients=("p3",)))
    alone = write_pairs(reading, tmp_path / "alone", making, shard_bytes=1 << 14, choices=choices)
    crew = Crew(jobs=2, backend=backend)
    together = write_pairs(reading, tmp_path / "two", making, shard_bytes=1 << 14, crew=crew, choices=choices)
    assert files(tmp_path / "two") == files(tmp_path / "alone") and len(files(tmp_path / "two")) > 2
    assert together == alone and alone.reasons["text_too_long"] and alone.kept["kind"]["comparison"]
    kinds = Counter(pair_from_row(row).kind for row in iterate_rows(tmp_path / "two"))
    assert kinds == alone.kept["kind"]


def test_the_stage_reads_its_settings(settings, fake_run, monkeypatch):
    monkeypatch.setattr(side_by_side, "ROWS_A_PART", 1)
    write_records(corpus())
    run_pair(settings)
    alone = {name: data for name, data in files(PAIRS).items() if name != "manifest.json"}
    pair = settings.pair.model_copy(update={"jobs": 2, "backend": "threading"})
    run_pair(settings.model_copy(update={"pair": pair}))
    assert {name: data for name, data in files(PAIRS).items() if name != "manifest.json"} == alone


def test_what_comes_early_waits():
    assert list(in_order([(2, "c"), (0, "a"), (1, "b"), (3, "d")])) == ["a", "b", "c", "d"]
