"""Levels of choice questions and hard negatives: where wrong answers come from, and that none betrays itself."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

import pytest

from components.pairs.difficulty import (
    HARD_KEPT,
    hard_labels,
    label_pools,
    look_further,
    modality_pools,
    part_pools,
    presence_items,
)
from components.pairs.generate import TemplateGenerator
from components.pairs.glossary import MODALITY_NAMES, body_regions, modality_group
from components.pairs.make import write_pairs
from components.pairs.pieces import verified
from components.pairs.surroundings import look_around
from components.records import Pair, Record, Region, pair_from_row
from components.settings import Choices
from components.tracking.tables import iterate_rows
from tests.components.pairs.test_make import RECORDS, write_records
from tests.fakes.scans import make_scan

EVEN = Choices(easy=0.3, medium=0.3, hard=0.3)
FAR = {
    "Pathology": ("Laboratory Medicine and Pathology", "skin", ("skin lesion", "gland", "lymphoma", "necrosis")),
    "Fundus": ("Ophthalmology", "eye", ("optic disc", "macula", "microaneurysm", "drusen")),
}
NEAR = ("tibia", "fibula", "patella", "femur")  # of the same modality, another part of the body
VOCABULARY = tuple(f"organ {letter}" for letter in "abcdefghijklmnop")


def region(label: str, place: int = 0) -> Region:
    return Region(label, (0.05 * place, 0.1, 0.05 * place + 0.1, 0.4), "not stated", 0.02)


def scans(number: int) -> list[Record]:
    """Labels come in gangs: of two gangs of eight, an image shows four labels of one, and now and then of both."""
    found = []
    for n in range(number):
        gang = VOCABULARY[:8] if n % 2 else VOCABULARY[8:]
        shown = [gang[(n // 2 + step * (1 + n % 3)) % 8] for step in range(4)]
        shown += [VOCABULARY[n % 16]] if n % 11 == 0 else []
        regions = tuple(region(label, place) for place, label in enumerate(sorted(set(shown))))
        found.append(make_scan(n, regions=regions, region_vocabulary=VOCABULARY, body_part="abdomen"))
    return found


def corpus(number: int = 200) -> list[Record]:
    records = scans(number)
    for place, (modality, (department, part, labels)) in enumerate(FAR.items()):
        records += [
            make_scan(1000 + 100 * place + n, source="far", modality=modality, department=department,
                      body_part=part, regions=(region(labels[n % 4]),), regions_complete=False)
            for n in range(8)
        ]  # fmt: skip
    records += [
        make_scan(3000 + n, source="legs", body_part="leg", department="Orthopedic Surgery",
                  regions=(region(NEAR[n % 4]),), regions_complete=False)
        for n in range(8)
    ]  # fmt: skip
    return records


def around_of(records: list[Record], options: Choices):
    surroundings = look_around(records)
    look_further(lambda: records, surroundings, options)
    return surroundings


def made(records: list[Record], options: Choices, *, questions: int = 12) -> list[Pair]:
    around = around_of(records, options)
    generator = TemplateGenerator(seed=3, chinese_share=0.0, max_questions=questions, max_regions=0)
    return [
        pair
        for record in records
        for pair in verified(record, generator, around=around[record.source], kinds=("percept",))
    ]


def test_nothing_changes_while_the_settings_are_off() -> None:
    records = corpus(40)
    assert around_of(records, Choices())["scans"].further is None
    assert not any("/" in pair.question_type for pair in made(records, Choices()))


def test_each_level_is_asked_and_named_and_none_dominates() -> None:
    pairs = made(corpus(), EVEN)
    assert {pair.rejected_reason for pair in pairs} == {""}
    levels = defaultdict(Counter)
    for pair in pairs:
        name, _, level = pair.question_type.partition("/")
        if level:
            levels[name][level] += 1
    for name in ("structure", "region", "modality"):
        counts = levels[name]
        assert set(counts) == {"easy", "medium", "hard"}, name
        assert max(counts.values()) < 1.6 * min(counts.values()), name
    assert len(levels["organ"]) >= 2


@pytest.mark.parametrize("level", ["easy", "medium", "hard"])
def test_one_level_alone_may_be_asked(level: str) -> None:
    pairs = made(corpus(60), Choices(**{level: 1.0}))
    named = {pair.question_type for pair in pairs if pair.question_type.startswith(("structure", "modality"))}
    assert f"structure/{level}" in named
    assert not {name.partition("/")[2] for name in named} - {level, ""}


def test_wrong_labels_come_from_where_their_level_says() -> None:
    records = corpus()
    around = around_of(records, EVEN)["scans"]
    far = {label for _, _, labels in FAR.values() for label in labels}
    for record in records[:60]:
        truth = record.regions[0].label
        pools = label_pools(record, around, truth)
        present = {one.label for one in record.regions}
        gang = VOCABULARY[:8] if truth in VOCABULARY[:8] else VOCABULARY[8:]
        assert set(pools["easy"]) <= far and len(pools["easy"]) > 4
        assert set(NEAR) <= set(pools["medium"])
        assert set(pools["hard"]) & set(gang) and len(pools["hard"]) <= HARD_KEPT
        assert not present & {label for labels in pools.values() for label in labels}
        assert not set(pools["medium"]) & set(pools["hard"])


def test_wrong_parts_and_modalities_come_from_where_their_level_says() -> None:
    records = corpus(40)
    around = around_of(records, EVEN)["scans"]
    parts = part_pools(records[0], around)
    assert {"chest", "pelvis"} <= set(parts["hard"])
    assert "knee" in parts["medium"]
    assert "retina" in parts["easy"]
    assert not any(body_regions(part) & body_regions("abdomen") for pool in parts.values() for part in pool)
    modalities = modality_pools(records[0], around)
    assert set(modalities["hard"]) == set(modality_group("CT"))
    assert not set(modalities["easy"]) & set(modality_group("CT"))
    assert len(set(modalities["medium"]) & set(modality_group("CT"))) == 1
    assert set(modalities["easy"]) | set(modalities["hard"]) | {"CT"} == set(MODALITY_NAMES)


def test_a_label_of_an_unstated_part_is_never_a_wrong_answer_from_elsewhere() -> None:
    records = corpus(20) + [
        make_scan(5000 + n, source="odd", modality="Pathology", body_part="not stated", regions_complete=False,
                  regions=(region("mystery"),))
        for n in range(4)
    ]  # fmt: skip
    around = around_of(records, EVEN)["scans"]
    assert "mystery" not in label_pools(records[0], around, records[0].regions[0].label)["easy"]
    unplaced = replace(records[0], body_part="not stated")
    assert label_pools(unplaced, around, "organ a")["easy"] == []


def test_hard_negatives_are_the_ones_that_often_go_with_the_images_own() -> None:
    records = scans(300)
    around = around_of(records, Choices(hard_negatives=1.0))["scans"]
    hits, total = 0, 0
    for record in records:
        own = {one.label for one in record.regions}
        gang = next((g for g in (VOCABULARY[:8], VOCABULARY[8:]) if own <= set(g)), None)
        absent = [label for label, is_present in presence_items(record, around) if not is_present]
        assert len(absent) <= HARD_KEPT
        if gang:
            expected = set(gang) - own
            hits += len(expected & set(absent))
            total += len(expected)
    assert hits > 0.95 * total


def test_labels_of_the_same_part_come_first_where_nothing_is_counted() -> None:
    record = make_scan(regions=(region("liver"),), body_part="abdomen")
    around = around_of([record], Choices(hard_negatives=1.0))["scans"]
    ranked = hard_labels(
        record, around, ["foot bone", "hand bone", "kidney", "pancreas", "skull", "tibia", "spleen"]
    )
    assert ranked[:3] == ["kidney", "pancreas", "spleen"]


def test_yes_and_no_stay_equally_common_for_each_label() -> None:
    pairs = made(scans(1600), Choices(hard_negatives=1.0))
    asked = [
        pair for pair in pairs if pair.question_type == "presence" and " not " not in pair.conversations[0].value
    ]
    asked = [
        pair for pair in asked if not any(word in pair.conversations[0].value for word in ("missing", "absent"))
    ]
    asked = [pair for pair in asked if "outside" not in pair.conversations[0].value]
    answers = defaultdict(Counter)
    for pair in asked:
        answers[pair.labels[0]][pair.answer] += 1
    assert len(answers) == 16
    assert 0.45 < sum(pair.answer == "yes" for pair in asked) / len(asked) < 0.55
    guessed = sum(max(counts.values()) for counts in answers.values())
    assert guessed < 0.6 * len(asked)


def test_the_order_of_the_records_changes_nothing() -> None:
    options = EVEN.model_copy(update={"hard_negatives": 0.5})
    forward, backward = (made(records, options) for records in (corpus(60), corpus(60)[::-1]))
    assert {pair.pair_id for pair in forward} == {pair.pair_id for pair in backward}


def test_the_stage_writes_levels_and_repeats_itself(settings, tmp_path) -> None:
    write_records(corpus(24))
    generator = TemplateGenerator(seed=3, chinese_share=0.3, max_questions=8, max_regions=1)
    for name in ("one", "two"):
        write_pairs(RECORDS, tmp_path / name, generator, kinds=("percept",), shard_bytes=1 << 20, choices=EVEN)
    first, second = (sorted(path.read_bytes() for path in (tmp_path / n).iterdir()) for n in ("one", "two"))
    assert first == second
    types = {pair_from_row(row).question_type for row in iterate_rows(tmp_path / "one")}
    assert any(name.endswith("/hard") for name in types)
