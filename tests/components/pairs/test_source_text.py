"""Pairs in the source's own words: reports and their sections, questions, conversations, text alone."""

from __future__ import annotations

import pytest

from components.pairs.pieces import verified
from components.pairs.report_prompts import PROMPTS
from components.pairs.source_text import dialogues_of, language_of
from components.pairs.surroundings import look_around
from components.quality.features import row_features
from components.records import CONTINUES, PAIR_KINDS, Record, SourceQuestion, to_rows
from tests.fakes.formats_text import MAKERS, make_mimic_cxr
from tests.fakes.scans import make_scan
from tests.fakes.sources import read_all


def pairs_of(records, generator, kinds=PAIR_KINDS):
    around = look_around(records)
    return [p for r in records for p in verified(r, generator, around=around[r.source], kinds=kinds)]


def bare(**changes) -> Record:
    """A scan that states nothing but its own words."""
    return make_scan(**{"regions": (), "labels": (), "regions_complete": False, "region_vocabulary": ()} | changes)


def own_words(pairs):
    return [pair for pair in pairs if pair.generator.name == "source"]


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__)
def test_every_format_becomes_pairs_that_the_quality_rules_take(maker, tmp_path, generator):
    records, _ = read_all(tmp_path, maker(tmp_path))
    pairs = pairs_of(records, generator)
    kept = own_words([pair for pair in pairs if not pair.rejected_reason])
    assert kept and len({pair.pair_id for pair in pairs}) == len(pairs)
    known = {record.record_id for record in records if record.has_pixels}
    for pair in kept:
        row = row_features(next(iter(to_rows([pair]))))
        assert (
            row["num_placeholders"] == row["num_first_placeholders"] == row["num_records"] == len(pair.record_ids)
        )
        assert row["turns_alternate"] and row["answer_among_options"] and row["shortest_question"] > 0
        assert row["text_boxes_valid"] and row["shortest_answer"] > 0
        assert set(pair.record_ids) <= known


def test_a_report_of_two_images_is_asked_for_whole_and_in_sections(tmp_path, generator):
    records, _ = read_all(tmp_path, make_mimic_cxr(tmp_path))
    together = next(r for r in records if not r.has_pixels)
    pairs = pairs_of([together], generator)
    assert [(p.kind, p.question_type) for p in pairs] == [
        ("report", "report"), ("report", "findings"), ("report", "impression"),
    ]  # fmt: skip
    whole, findings, impression = pairs
    assert whole.answer == together.text and findings.answer.endswith("The heart is normal.")
    assert impression.conversations[1].value == "No acute cardiopulmonary process."
    assert impression.conversations[0].value.removeprefix("<image>\n<image>\n") in PROMPTS["en"]["impression"]
    assert {p.record_ids for p in pairs} == {together.image_ids} and not any(p.rejected_reason for p in pairs)


def test_a_chinese_report_is_asked_for_in_chinese(generator):
    record = bare(text="所见：双肺清晰。\n印象：未见异常。", text_kind="report", language="zh")
    pairs = pairs_of([record], generator, kinds=("report",))
    assert [p.answer for p in pairs[1:]] == ["双肺清晰。", "未见异常。"]
    assert pairs[1].conversations[0].value.removeprefix("<image>\n") in PROMPTS["zh"]["findings"]
    assert {p.language for p in pairs} == {"zh"}


def test_a_source_question_is_kept_word_for_word_with_lettered_options(generator):
    closed = SourceQuestion("What is it?", "MRI", ("CT", "MRI"), "modality")
    (pair,) = pairs_of([bare(questions=(closed,), modality="MR")], generator, kinds=("vqa",))
    assert [turn.value for turn in pair.conversations] == ["<image>\nWhat is it?\nA. CT\nB. MRI", "MRI"]
    assert (pair.options, pair.answer, pair.question_type) == (("CT", "MRI"), "MRI", "modality")
    assert pair.rejected_reason == ""


def test_questions_of_both_languages_on_one_image_keep_their_own(generator):
    questions = (SourceQuestion("Where?", "left"), SourceQuestion("在哪里？", "左侧"))
    pairs = pairs_of([bare(questions=questions)], generator, kinds=("vqa",))
    assert [p.language for p in pairs] == ["en", "zh"]
    assert [language_of(text, "zh") for text in ("3.5", "abc", "肺")] == ["zh", "en", "zh"]


def test_turns_stay_in_order_and_conversations_apart(generator):
    questions = (
        SourceQuestion("a", "b", (), "instruct"), SourceQuestion("c", "d", (), CONTINUES),
        SourceQuestion("e", "f", (), "instruct"), SourceQuestion("g", "h"),
    )  # fmt: skip
    assert [len(dialogue) for dialogue in dialogues_of(questions)] == [2, 1, 1]
    pairs = own_words(pairs_of([bare(questions=questions)], generator))
    said = {tuple(turn.value for turn in pair.conversations): (pair.kind, pair.question_type) for pair in pairs}
    assert said == {
        ("<image>\na", "b", "c", "d"): ("instruct", "conversation"),
        ("<image>\ne", "f"): ("instruct", "conversation"),
        ("<image>\ng", "h"): ("vqa", "not stated"),
    }
    assert [turn.speaker for turn in pairs[0].conversations] == ["human", "gpt"] * 2


def test_conversations_that_differ_in_a_later_turn_alone_are_two_pairs(generator):
    questions = tuple(
        SourceQuestion(q, a, (), kind)
        for last in ("d", "e")
        for q, a, kind in (("a", "b", "instruct"), ("c", last, CONTINUES))
    )
    pairs = own_words(pairs_of([bare(questions=questions)], generator))
    assert len({pair.pair_id for pair in pairs}) == 2


def test_text_alone_is_text_only_whatever_its_source_calls_it(generator):
    said = (SourceQuestion("Hi?", "Yes.", (), "vqa"), SourceQuestion("So?", "Go.", (), CONTINUES))
    records = [bare(number=n, width=0, height=0, image=b"", questions=said) for n in (1, 2)]
    pairs = pairs_of(records, generator)
    assert [(p.kind, p.record_ids, p.rejected_reason) for p in pairs] == [("text_only", (), "")] * 2
    assert len({p.pair_id for p in pairs}) == 2  # two rows that say the same are still two rows
    assert pairs[0].conversations[0].value == "Hi?"


def test_a_placeholder_inside_a_sentence_stays_where_it_is(generator):
    record = bare(
        width=0, compared_with="r1 r2", questions=(SourceQuestion("Is <image> later than <image>?", "yes"),)
    )
    (pair,) = pairs_of([record], generator)
    assert pair.conversations[0].value == "Is <image> later than <image>?" and pair.record_ids == ("r1", "r2")


@pytest.mark.parametrize(
    ("answer", "changes", "reason"),
    [
        ("No liver is seen.", {"labels": ("liver",)}, "negation_contradicts"),
        ("The spleen is enlarged.", {"absent_labels": ("spleen",)}, "negation_contradicts"),
        ("The kidney is enlarged.", {"labels": ("liver",)}, ""),
        ("An ultrasound image.", {"modality": "CT"}, "modality_contradicts"),
    ],
)
def test_a_sources_answer_is_compared_with_its_own_labels(generator, answer, changes, reason):
    record = bare(questions=(SourceQuestion("What is seen?", answer),), **changes)
    (pair,) = pairs_of([record], generator, kinds=("vqa",))
    assert pair.rejected_reason == reason
