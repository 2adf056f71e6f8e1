from __future__ import annotations

import re
from collections import Counter

import pytest

from components.pairs.generate import PairGenerator, TemplateGenerator
from components.pairs.surroundings import look_around
from components.records import PAIR_KINDS, Pair, Record, SourceQuestion, pair_from_row, to_rows
from tests.fakes.scans import REGIONS, UNTRANSLATED, make_scan, make_study

CHINESE_LETTER = re.compile(r"[一-鿿]")
BOX = re.compile(r"<box> \[\[0\.\d\d, 0\.\d\d, [01]\.\d\d, [01]\.\d\d\]\]</box>")


def made(records: list[Record], generator: PairGenerator, kinds=PAIR_KINDS) -> list[Pair]:
    around = look_around(records)
    return [p for r in records for p in generator.generate(r, around=around[r.source], kinds=kinds)]


@pytest.fixture
def pairs(generator: TemplateGenerator) -> list[Pair]:
    return made(make_study(), generator)


def test_the_same_seed_gives_the_same_pairs_in_any_order_and_another_seed_others(generator) -> None:
    study = make_study()
    forward, backward = made(study, generator), made(study[::-1], generator)
    assert {p.pair_id: p for p in forward} == {p.pair_id: p for p in backward}
    other = TemplateGenerator(seed=8, chinese_share=0.4, max_questions=8, max_regions=3)
    assert {p.pair_id for p in forward} != {p.pair_id for p in made(study, other)}


def test_every_kind_that_the_annotation_supports_is_made(pairs: list[Pair]) -> None:
    kinds = Counter(pair.kind for pair in pairs)
    assert set(kinds) == {"caption", "region_caption", "instruct", "percept", "comparison"}
    assert kinds["caption"] == 12
    assert {"presence", "side", "plane", "modality", "organ", "largest", "region", "structure"} <= {
        pair.question_type for pair in pairs if pair.kind == "percept"
    }


def test_only_the_wanted_kinds_are_made(generator) -> None:
    assert {pair.kind for pair in made(make_study(), generator, kinds=("caption",))} == {"caption"}


def test_the_first_turn_begins_with_one_placeholder_a_record(pairs: list[Pair]) -> None:
    for pair in pairs:
        human, assistant = pair.conversations
        assert human.value.startswith("<image>\n" * len(pair.record_ids))
        assert human.value.count("<image>") == len(pair.record_ids) == (2 if pair.kind == "comparison" else 1)
        assert (human.speaker, assistant.speaker, "<image>" in assistant.value) == ("human", "gpt", False)


def test_closed_questions_end_with_their_options_and_are_answered_by_one(pairs: list[Pair]) -> None:
    closed = [pair for pair in pairs if pair.options]
    assert {pair.kind for pair in closed} == {"percept", "comparison"}
    for pair in closed:
        question = pair.conversations[0].value.lower()
        assert all(option.lower() in question for option in pair.options)
        assert pair.answer == pair.conversations[-1].value
        assert pair.answer in pair.options
        assert len(set(pair.options)) == len(pair.options) >= 2


def test_the_right_option_is_not_always_in_the_same_place(pairs: list[Pair]) -> None:
    places = Counter(pair.options.index(pair.answer) for pair in pairs if len(pair.options) == 4)
    assert len(places) == 4


def test_yes_and_no_are_about_equally_common() -> None:
    generator = TemplateGenerator(seed=1, chinese_share=0.0, max_questions=8, max_regions=1)
    study = [
        make_scan(number, regions=tuple(r for i, r in enumerate(REGIONS) if (number * 7 + i * 3) % 10 < 2 + i))
        for number in range(300)
    ]
    asked = [pair for pair in made(study, generator, kinds=("percept",)) if pair.question_type == "presence"]
    share = sum(pair.answer == "yes" for pair in asked) / len(asked)
    assert len(asked) > 100
    assert 0.4 < share < 0.6


def test_box_questions_hold_the_gold_box_in_the_papers_form(pairs: list[Pair]) -> None:
    located = [pair for pair in pairs if pair.question_type == "box"]
    assert located
    for pair in located:
        assert len(BOX.findall(pair.conversations[-1].value)) == len(pair.boxes) == 1
        assert pair.conversations[-1].value.startswith("<ref>")
        assert "<box>" not in pair.conversations[0].value
    described = [p for p in pairs if p.kind == "region_caption" and p.question_type == "region"]
    assert all(BOX.search(pair.conversations[0].value) for pair in described)
    assert all(pair.conversations[-1].value.startswith(("This region", "该区域")) for pair in described)


def test_about_the_asked_share_is_chinese_and_no_text_is_half_translated(pairs: list[Pair]) -> None:
    share = sum(pair.language == "zh" for pair in pairs) / len(pairs)
    assert 0.2 < share < 0.6
    for pair in pairs:
        text = "".join(turn.value for turn in pair.conversations)
        assert bool(CHINESE_LETTER.search(text)) is (pair.language == "zh")
        if pair.language == "zh":
            assert not re.search(r"[A-Za-z]{4,}", re.sub(r"</?(?:image|ref|box)>", "", text))


def test_a_term_without_a_chinese_name_turns_its_pair_to_english() -> None:
    generator = TemplateGenerator(seed=1, chinese_share=1.0, max_questions=4, max_regions=2)
    region = REGIONS[0].__class__(UNTRANSLATED, (0.1, 0.1, 0.5, 0.5))
    pairs = made([make_scan(regions=(region,), region_vocabulary=())], generator)
    named = [pair for pair in pairs if UNTRANSLATED in pair.conversations[-1].value + pair.conversations[0].value]
    assert named
    assert {pair.language for pair in named} == {"en"}
    assert "zh" in {pair.language for pair in pairs}


def test_the_numbers_of_questions_and_regions_are_bounded() -> None:
    generator = TemplateGenerator(seed=1, chinese_share=0.0, max_questions=3, max_regions=1)
    counts = Counter((pair.record_id, pair.kind) for pair in made(make_study(), generator))
    assert max(n for (_, kind), n in counts.items() if kind == "percept") == 3
    assert max(n for (_, kind), n in counts.items() if kind == "region_caption") == 1


def test_no_side_is_asked_of_a_sagittal_slice_or_of_a_label_seen_on_one_side_only(generator) -> None:
    sagittal = [make_scan(n, plane="sagittal", regions=REGIONS[n % 2 : n % 2 + 2]) for n in range(12)]
    one_sided = [make_scan(n, regions=REGIONS[1:2] if n % 2 else ()) for n in range(12)]
    for records in (sagittal, one_sided):
        assert "side" not in {pair.question_type for pair in made(records, generator)}


def test_counts_are_asked_of_instance_masks_that_differ_and_the_truth_has_no_fixed_rank() -> None:
    generator = TemplateGenerator(seed=1, chinese_share=0.0, max_questions=9, max_regions=1)
    nuclei = [
        REGIONS[0].__class__("cell nucleus", (x / 10, y / 10, x / 10 + 0.08, y / 10 + 0.08))
        for x in range(6)
        for y in range(6)
    ]
    records = [
        make_scan(n, regions=tuple(nuclei[: 3 + n]), facts=(("annotation", "instance mask"),), plane="not stated",
                  region_vocabulary=("cell nucleus",))
        for n in range(30)
    ]  # fmt: skip
    asked = [p for p in made(records, generator) if p.question_type == "count"]
    ranks = Counter(sorted(pair.options, key=int).index(pair.answer) for pair in asked)
    assert len(asked) == 30
    assert set(ranks) == {0, 1, 2, 3}
    assert all(int(option) > 0 for pair in asked for option in pair.options)


def test_a_sources_own_comparison_makes_a_pair_of_two_images(generator) -> None:
    records = [
        make_scan(n, modality="Dermoscopy", regions=(), regions_complete=False, compared_with=f"other{n}",
                  comparison=("same texture", "different texture")[n % 2])
        for n in range(2)
    ]  # fmt: skip
    same, different = made(records, generator, kinds=("comparison",))
    assert same.record_ids == (records[0].record_id, "other0")
    assert (same.answer, different.answer) == (same.options[0], different.options[1])
    assert made([make_scan(comparison="unclear", compared_with="x", regions=())], generator, ("comparison",)) == []


def test_a_sources_own_words_are_kept_word_for_word(generator) -> None:
    record = make_scan(
        text="A normal abdomen.", text_kind="caption",
        questions=(SourceQuestion("Is it normal?", "yes", ("yes", "no"), "abnormality"),),
    )  # fmt: skip
    report = make_scan(1, text="Unremarkable.", text_kind="report")
    pairs = made([record, report], generator, kinds=("caption", "report", "vqa"))
    quoted = {pair.kind: pair.conversations[-1].value for pair in pairs if pair.generator.name == "source"}
    assert quoted == {"caption": "A normal abdomen.", "report": "Unremarkable.", "vqa": "yes"}
    assert {pair.language for pair in pairs if pair.generator.name == "source"} == {"en"}


def test_age_and_sex_are_never_said(generator) -> None:
    records = [make_scan(n, facts=(("age band", "50-59 years"), ("sex", "female"))) for n in range(6)]
    text = " ".join(turn.value for pair in made(records, generator) for turn in pair.conversations)
    assert not re.search(r"50-59|female|years", text)


def test_pairs_carry_their_records_columns_and_survive_a_row(pairs: list[Pair]) -> None:
    record = make_study()[0]
    mine = next(pair for pair in pairs if pair.record_id == record.record_id)
    assert (mine.patient_key, mine.split, mine.licence, mine.department) == (
        "p1",
        "train",
        "CC0",
        record.department,
    )
    assert (mine.generator.name, mine.generator.seed, len(mine.generator.prompt_hash)) == ("templates", 7, 20)
    assert pair_from_row(next(to_rows([mine]))) == mine
    assert len({pair.pair_id for pair in pairs}) == len(pairs)


def test_a_guesser_who_knows_the_corpus_gains_little_from_the_choices() -> None:
    records = [make_scan(n, modality="CT" if n % 2 else "MR") for n in range(80)]
    generator = TemplateGenerator(seed=7, chinese_share=0.0, max_questions=6, max_regions=0)
    asked = [pair for pair in made(records, generator, kinds=("percept",)) if pair.question_type == "modality"]
    both = [pair for pair in asked if {"CT", "MR"} <= set(pair.options)]
    assert len(asked) > 40 and len(both) > 0.8 * len(asked)
