"""The preset of the paper switches on what the default leaves off: every kind of text, levels and augmentation."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest

from components.pairs.augment import OVER_SHARE
from components.pairs.claims import parse_boxes
from components.pairs.make import open_generator, write_pairs
from components.records import Pair, Record, pair_from_row
from components.settings import PairMaking, compose, settings_from
from components.tracking.tables import iterate_rows
from tests.components.pairs.conftest import ROOT
from tests.components.pairs.test_difficulty import corpus as leveled
from tests.components.pairs.test_make import RECORDS, write_records
from tests.fakes.scans import make_scan, make_study

pytestmark = pytest.mark.usefixtures("settings")


@dataclass(frozen=True)
class Made:
    """What the stage wrote of a fake source."""

    records: list[Record]
    pairs: list[Pair]
    reasons: Counter[str]

    def of(self, kind: str) -> list[Pair]:
        return [pair for pair in self.pairs if pair.kind == kind]


def pair_with(options: PairMaking, chosen, folder) -> Made:
    study = make_study()
    records = [make_scan(n, regions=study[n % 12].regions) for n in range(60)]
    records += [record for record in leveled(40) if record.source != "scans"]
    records += [make_scan(9000 + n, split="test", patient_key="p2", regions=study[n].regions) for n in range(12)]
    write_records(records)
    tally = write_pairs(
        RECORDS, folder, open_generator(chosen), kinds=options.kinds, shard_bytes=1 << 20,
        augmentation=options.augmentation, choices=options.choices,
    )  # fmt: skip
    return Made(records, [pair_from_row(row) for row in iterate_rows(folder)], tally.reasons)


@pytest.fixture
def made(tmp_path) -> Made:
    chosen = settings_from(compose(["preset=gmai_vl_7b"], folder=ROOT / "conf"), where="conf")
    return pair_with(chosen.pair, chosen, tmp_path / "paper")


def test_every_augmentation_occurs(made) -> None:
    training = [pair for pair in made.pairs if pair.split == "train"]
    seed = min(pair.generator.seed for pair in training)
    assert any(pair.question_type == "conversation" and len(pair.conversations) > 2 for pair in training)
    assert max(len(pair.conversations) for pair in training if pair.question_type == "conversation") == 6
    assert any(pair.generator.seed == seed + 1 for pair in training), "no paraphrase"
    own = {tuple(round(edge, 2) for edge in one.box) for record in made.records for one in record.regions}
    asked = [box for pair in training for turn in pair.conversations[::2] for box in parse_boxes(turn.value)]
    assert any(box not in own for box in asked), "no box was shrunk"
    assert made.reasons[OVER_SHARE] > 0
    assert set(made.reasons) == {OVER_SHARE}


def test_every_kind_and_level_occurs(made) -> None:
    assert {pair.kind for pair in made.pairs} >= {
        "caption", "region_caption", "instruct", "percept", "comparison", "report", "text_only",
    }  # fmt: skip
    held_out = [pair for pair in made.pairs if pair.split == "test"]
    assert not any(pair.question_type == "conversation" for pair in held_out)
    levels = {pair.question_type.partition("/")[2] for pair in made.pairs} - {""}
    assert levels == {"easy", "medium", "hard"}
    assert all(pair.question_type == "written_report" or len(pair.conversations) > 2 for pair in made.of("report"))


def test_the_default_switches_none_of_it_on(settings, tmp_path) -> None:
    plain = pair_with(settings.pair, settings, tmp_path / "plain")
    assert not plain.of("report") and not plain.of("text_only")
    assert not plain.reasons
    assert {len(pair.conversations) for pair in plain.pairs} == {2}
    assert not any("/" in pair.question_type for pair in plain.pairs)
    assert len({pair.generator.seed for pair in plain.pairs}) == 1
