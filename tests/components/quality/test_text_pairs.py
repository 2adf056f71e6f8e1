"""Pairs without an image, and pairs about several images with a record for their words, pass the rules."""

from __future__ import annotations

from dataclasses import replace

from components.quality.features import load_pair_shard, read_corpus_facts, shard_features
from components.quality.plain import judge_plain
from components.quality.suite import pair_expectations
from components.records import Turn
from components.tracking.tables import shards_below
from tests.fakes.tables import make_pair, make_record, write_corpus

SILENT = {"labels": (), "regions": (), "body_part": "not stated"}
WITHOUT_PIXELS = {**SILENT, "image": b"", "image_format": "", "width": 0, "height": 0, "sha256": ""}
SUITE = pair_expectations(min_text=1, max_text=60)


def failed_rules(root, records, pairs) -> dict[str, int]:
    write_corpus(root, records, pairs)
    facts = read_corpus_facts(root / "records", root / "curated")
    outcomes = [
        outcome
        for shard in shards_below(root / "curated")
        for outcome in judge_plain(shard_features(load_pair_shard(shard), facts), SUITE, key="pair_id")
    ]
    return {outcome.name: outcome.failed for outcome in outcomes if not outcome.passed}


def corpus():
    images = [make_record(n, patient="p", split="train", **SILENT) for n in (1, 2)]
    named = " ".join(record.record_id for record in images)
    report = make_record(
        3,
        patient="p",
        split="train",
        compared_with=named,
        text="Clear lungs.",
        text_kind="report",
        **WITHOUT_PIXELS,
    )
    alone = make_record(4, patient="q", split="train", **WITHOUT_PIXELS)
    quoted = make_pair(report, "<image>\nReport.", "Clear lungs.", kind="report")
    told = (Turn("human", "Hi?"), Turn("gpt", "Yes."), Turn("human", "So?"), Turn("gpt", "Go."))
    talk = replace(make_pair(alone, "Hi?", "Yes."), record_ids=(), conversations=told, kind="text_only")
    return [*images, report, alone], [replace(quoted, record_ids=report.image_ids), talk]


def test_a_report_of_two_images_and_text_alone_break_no_rule(tmp_path) -> None:
    assert failed_rules(tmp_path, *corpus()) == {}


def test_images_of_which_nothing_at_all_is_said_are_still_caught(tmp_path) -> None:
    records, pairs = corpus()
    silent = [replace(record, text="", compared_with="") for record in records]
    assert failed_rules(tmp_path, silent, pairs) == {"label_stated": 1}


def test_a_pair_without_an_image_may_not_have_a_placeholder(tmp_path) -> None:
    records, (quoted, talk) = corpus()
    wrong = replace(talk, conversations=(Turn("human", "<image>\nHi?"), Turn("gpt", "Yes.")))
    assert failed_rules(tmp_path, records, [quoted, wrong]) == {"placeholder_count": 1}
