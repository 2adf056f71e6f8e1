"""A source's suite comes from its card alone, and catches a record that breaks what the card promises."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from components.quality.card_suite import (
    card_expectations,
    count_expectations,
    count_frame,
    languages_of,
    record_frame,
    source_shards,
    splits_of,
)
from components.quality.check import judge_cards, make_judge
from components.records import SPLITS, Record, Region, record_schema, to_rows
from components.tracking.commit import write_json
from components.tracking.tables import write_table
from tests.fakes.formats_labels import make_coco, make_medmnist
from tests.fakes.formats_text import make_hf_classes, make_mimic_cxr, make_open_i, make_r2gen, make_slake
from tests.fakes.sources import make_card, write_card
from tests.fakes.tables import make_record

VOLUMES = {"groups": [{"files": "v.nii", "planes": {"axial": 1}, "windows": ["stored"]}]}
CARD = make_card(
    "fake", "plain_volumes", VOLUMES, licence="CC0-1.0", label_map={"1": "lung"}, facts={"view": "PA"},
    num_samples=4, split={"rule": "shares", "train": 0.5, "validation": 0.0, "test": 0.5},
)  # fmt: skip
BROKEN = {
    "source": {"source": "another"},
    "modality": {"modality": "Photo"},
    "department": {"department": "Kitchen"},
    "task": {"task": "Cooking"},
    "language": {"language": "zh"},
    "licence": {"licence": "MIT"},
    "split": {"split": "validation"},
    "labels_known": {"regions": (Region("liver", (0.1, 0.1, 0.2, 0.2)),)},
    "facts_kept": {"facts": ()},
    "patient": {"patient_key": " "},
}


def write_source(root: Path, records: list[Record]) -> Path:
    write_table(root / "fake", to_rows(records), record_schema())
    write_json(root / "fake" / "manifest.json", {"read": len(records), "kept": len(records), "rejected": {}})
    return root


def sound(number: int) -> Record:
    return make_record(number, patient="p", split="train", facts=(("view", "PA"),))


@pytest.mark.parametrize("with_great", [False, True])
def test_each_promise_of_the_card_catches_the_record_that_breaks_it(tmp_path: Path, with_great: bool) -> None:
    bad = [replace(sound(number), **changes) for number, changes in enumerate(BROKEN.values())]
    shards = source_shards(write_source(tmp_path, [*bad, sound(50)]), CARD)
    judge = make_judge(card_expectations(CARD), key="record_id", with_great=with_great)
    outcomes = judge(record_frame(shards[0], CARD))
    assert {outcome.name.removeprefix("fake: "): outcome.failed for outcome in outcomes} == dict.fromkeys(
        BROKEN, 1
    )
    failing = [outcome.rows[0]["record_id"] for outcome in outcomes]
    assert failing == [record.record_id for record in bad]


@pytest.mark.parametrize(
    ("manifest", "failed"),
    [({"read": 4, "kept": 4, "rejected": {}}, []), ({"read": 1, "kept": 1, "rejected": {}}, ["fake: number"]),
     ({"read": 8, "kept": 4, "rejected": {"file_truncated": 4}}, ["fake: rejected"])],
)  # fmt: skip
def test_a_source_that_lost_too_much_is_seen(manifest: dict, failed: list[str]) -> None:
    suite = count_expectations(CARD, most_rejected=0.2)
    outcomes = make_judge(suite, key="source", with_great=False)(count_frame(CARD, manifest))
    assert [outcome.name for outcome in outcomes if not outcome.passed] == failed


@pytest.mark.parametrize(
    ("maker", "splits", "languages"),
    [
        (make_slake, ["train", "validation"], ["en", "zh"]), (make_mimic_cxr, [*SPLITS], ["en", "zh"]),
        (make_r2gen, [*SPLITS], ["en", "zh"]), (make_hf_classes, ["train"], ["en", "zh"]),
        (make_open_i, ["train"], ["en", "zh"]), (make_medmnist, [*SPLITS], ["en"]), (make_coco, ["train"], ["en"]),
    ],
)  # fmt: skip
def test_a_split_or_language_that_rows_or_files_state_is_no_breach(tmp_path, maker, splits, languages) -> None:
    card = maker(tmp_path)
    assert splits_of(card) == splits
    assert languages_of(card) == languages


def test_only_splits_that_the_card_assigns_are_expected() -> None:
    assert splits_of(CARD) == ["train", "test"]
    fixed = make_card(
        "f", "plain_volumes", CARD.options, split={"rule": "fixed", "default": "train", "assign": {"a*": "test"}}
    )
    assert splits_of(fixed) == ["train", "test"]
    unknown = make_card("g", "plain_volumes", CARD.options, num_samples=0)
    assert len(count_expectations(unknown, most_rejected=0.1)) == 1


def test_the_stage_judges_every_selected_source_that_has_a_folder(settings, tmp_path: Path, monkeypatch) -> None:
    write_card(Path("conf/sources"), CARD)
    monkeypatch.setattr("components.quality.check.load_cards", lambda names: [CARD])
    assert judge_cards(tmp_path / "records", settings) == ([], [])
    root = write_source(tmp_path / "records", [replace(sound(1), licence="MIT"), sound(2)])
    suite, outcomes = judge_cards(root, settings, with_great=False)
    assert len(suite) == len(outcomes) == len(BROKEN) + 2
    assert [outcome.name for outcome in outcomes if not outcome.passed] == ["fake: licence"]
