from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from components.pairs.augment import (
    OVER_SHARE,
    Augmenter,
    balanced_shares,
    count_types,
    group_turns,
    is_off,
    meaning,
    shrink,
)
from components.pairs.claims import parse_boxes
from components.pairs.facts import is_box_sayable
from components.pairs.generate import TemplateGenerator
from components.pairs.make import write_pairs
from components.pairs.pieces import verified
from components.pairs.surroundings import look_around
from components.pairs.wording.language import box_text
from components.records import Pair, Record, pair_from_row
from components.settings import Augmentation
from components.tracking.tables import iterate_rows
from tests.components.pairs.test_make import RECORDS, corpus, write_records
from tests.fakes.scans import boxes, make_scan, make_study, make_text, studies

KINDS = ("caption", "region_caption", "percept")


def vary(generator, records: list[Record], *, shares: dict | None = None, **options) -> dict[str, list[Pair]]:
    """Return {record id: varied pairs} beside each record's plain pairs."""
    around = look_around(records)["scans"]

    def make(record, other, kinds):
        return verified(record, other, around=around, kinds=kinds)

    augmenter = Augmenter(Augmentation(**options), generator, make, shares or {})
    return {
        record.record_id: augmenter.vary(list(make(record, generator, KINDS)), record, kinds=KINDS)
        for record in records
    }


def plain(generator, records: list[Record]) -> dict[str, list[Pair]]:
    return vary(generator, records)


def test_nothing_is_varied_by_default_and_held_out_pairs_never_are(generator) -> None:
    assert is_off(Augmentation())
    study = make_study()
    held_out = [replace(record, split="test") for record in study]
    for records in (study, held_out):
        options = {} if records is study else {"turns": 4, "paraphrase_share": 1.0, "jitter_share": 1.0}
        around = look_around(records)["scans"]
        for record_id, pairs in vary(generator, records, **options).items():
            record = next(one for one in records if one.record_id == record_id)
            assert pairs == list(verified(record, generator, around=around, kinds=KINDS))


def test_a_paraphrase_says_the_same_in_other_words(generator) -> None:
    before, after = plain(generator, make_study()), vary(generator, make_study(), paraphrase_share=1.0)
    added = [pair for name, pairs in after.items() for pair in pairs[len(before[name]) :]]
    assert len(added) > 12
    known = {meaning(pair) for pairs in before.values() for pair in pairs}
    texts = {(pair.record_ids, pair.conversations) for pairs in before.values() for pair in pairs}
    for pair in added:
        assert meaning(pair) in known
        assert (pair.record_ids, pair.conversations) not in texts
        assert (pair.rejected_reason, pair.generator.seed) == ("", 8)


def test_a_shrunk_box_stays_inside_its_object_and_no_gold_box_moves(generator) -> None:
    study = make_study()
    before, after = plain(generator, study), vary(generator, study, jitter_share=1.0, jitter=0.2)
    added = 0
    for record in study:
        own = {pair.pair_id for pair in before[record.record_id]}
        assert own <= {pair.pair_id for pair in after[record.record_id]}
        for pair in (pair for pair in after[record.record_id] if pair.pair_id not in own):
            added += 1
            (box,) = parse_boxes(pair.conversations[0].value)
            assert pair.question_type == "region"
            assert not pair.boxes
            assert any(is_inside(box, region.box) for region in record.regions if region.label in pair.labels)
            assert "%" not in pair.conversations[1].value
    assert added > 5


def is_inside(box, outer) -> bool:
    rounding = 0.0051
    return all(
        (mine >= theirs - rounding) if place < 2 else (mine <= theirs + rounding)
        for place, (mine, theirs) in enumerate(zip(box, outer, strict=True))
    )


@given(boxes(), st.integers(0, 10_000), st.floats(0, 0.25))
@hypothesis_settings(max_examples=500, deadline=None)
def test_a_shrunk_box_never_leaves_its_object_not_even_as_it_is_written(box, seed: int, most: float) -> None:
    outer = tuple(float(np.float32(edge)) for edge in box)
    inner = shrink(replace(make_scan().regions[0], box=outer), Random(seed), most).box
    (written,) = parse_boxes(box_text(inner))
    for found in (inner, written):
        assert all(found[place] >= outer[place] - 1e-6 for place in (0, 1))
        assert all(found[place] <= outer[place] + 1e-6 for place in (2, 3))
    if is_box_sayable(inner):
        assert written == pytest.approx(inner)
        assert all(abs(a - b) <= most * (outer[2 + n % 2] - outer[n % 2]) + 0.0101
                   for n, (a, b) in enumerate(zip(inner, outer, strict=True)))  # fmt: skip


@given(studies())
@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_added_to_a_random_study_reads_back(records: list[Record]) -> None:
    generator = TemplateGenerator(seed=5, chinese_share=0.4, max_questions=8, max_regions=3)
    options = {"paraphrase_share": 1.0, "jitter_share": 1.0, "jitter": 0.25, "turns": 3}
    varied = vary(generator, records, **options)
    assert {pair.rejected_reason for pairs in varied.values() for pair in pairs} <= {""}
    for record in records:
        for pair in varied[record.record_id]:
            asked = [box for turn in pair.conversations[::2] for box in parse_boxes(turn.value)]
            assert all(any(is_inside(box, one.box) for one in record.regions) for box in asked)


def test_turns_are_grouped_under_one_image() -> None:
    record = make_scan()
    pairs = [make_text(record, f"Question {n}?", f"Answer {n}.", pair_id=f"p{n}") for n in range(5)]
    source = make_text(record, "Q?", "A.", pair_id="s", generator=replace(pairs[0].generator, name="source"))
    boxed = make_text(record, "Where?", "There.", pair_id="b", boxes=((0.1, 0.1, 0.2, 0.2),))
    grouped = group_turns([*pairs, source, boxed], most=3)
    sizes = sorted(len(pair.conversations) // 2 for pair in grouped)
    assert sizes == [1, 1, 2, 3]
    long = max(grouped, key=lambda pair: len(pair.conversations))
    assert [turn.value.count("<image>") for turn in long.conversations] == [1, 0, 0, 0, 0, 0]
    assert [turn.speaker for turn in long.conversations] == ["human", "gpt"] * 3
    assert (long.question_type, long.answer, long.options) == ("conversation", "", ())
    assert group_turns(pairs, most=1) == pairs


def test_no_question_type_has_more_than_its_share(generator) -> None:
    study = [make_scan(n, regions=r.regions) for n, r in enumerate(make_study() * 6)]
    before = plain(generator, study)
    counts = count_types(pair for pairs in before.values() for pair in pairs)
    shares = balanced_shares(counts, balance=1.0)
    after = [pair for pairs in vary(generator, study, shares=shares).values() for pair in pairs]
    kept = count_types(after)
    mean = counts.total() / len(counts)
    assert max(counts.values()) > 1.4 * mean
    assert max(kept.values()) < 1.25 * mean
    assert {pair.rejected_reason for pair in after} == {"", OVER_SHARE}
    assert balanced_shares(counts, balance=0.0) == balanced_shares(Counter(), balance=1.0) == {}


def test_the_stage_varies_counts_and_repeats_itself(settings, generator, tmp_path) -> None:
    write_records(corpus())
    options = Augmentation(turns=3, paraphrase_share=0.5, jitter_share=0.5, balance=1.2)
    tallies = [
        write_pairs(RECORDS, tmp_path / name, generator, kinds=KINDS, shard_bytes=1 << 20, augmentation=options)
        for name in ("one", "two")
    ]
    first, second = (sorted(path.read_bytes() for path in (tmp_path / n).iterdir()) for n in ("one", "two"))
    assert first == second
    assert tallies[0].reasons.keys() <= {OVER_SHARE}
    pairs = [pair_from_row(row) for row in iterate_rows(tmp_path / "one")]
    assert {pair.split for pair in pairs if len(pair.conversations) > 2} == {"train"}
    assert len({pair.pair_id for pair in pairs}) == len(pairs)
