"""Reports and text-only conversations that templates write: from the annotation and the cited glossary alone."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from components.data.report_text import split_sections
from components.pairs.generate import TemplateGenerator
from components.pairs.knowledge import (
    BOX_ENTRY,
    BOX_FORM,
    HOME_NAMES,
    HOMES,
    MODALITY_ENTRIES,
    PLANE_ENTRIES,
    SIDE_ENTRY,
    UNCHECKED,
    sayable,
)
from components.pairs.parse_back import contradictions, known_of
from components.pairs.pieces import verified
from components.pairs.surroundings import look_around
from components.pairs.wording.written import CHINESE_SHAPES, ENGLISH_SHAPES
from components.records import MODALITIES, PLANES, Pair, Record, SourceQuestion, Turn
from tests.components.pairs.test_wording import slots
from tests.fakes.scans import REGIONS, make_scan, make_study, make_text

WRITES = ("report", "text_only")
STUDY = make_study()


def generator_of(*, chinese: float = 0.0, writes=WRITES, seed: int = 7) -> TemplateGenerator:
    return TemplateGenerator(seed=seed, chinese_share=chinese, max_questions=4, max_regions=1, writes=writes)


def made(records: list[Record], kind: str, **options) -> list[Pair]:
    around = look_around(records)["scans"]
    generator = generator_of(**options)
    return [pair for r in records for pair in verified(r, generator, around=around, kinds=(kind,))]


def many(count: int = 60) -> list[Record]:
    return [make_scan(n, regions=STUDY[n % 12].regions) for n in range(count)]


@pytest.mark.parametrize("chinese", [0.0, 1.0], ids=["en", "zh"])
def test_a_report_has_findings_and_an_impression_of_what_is_annotated(chinese: float) -> None:
    pairs = made(many(), "report", chinese=chinese)
    assert len(pairs) == 60
    assert {pair.rejected_reason for pair in pairs} == {""}
    assert len({pair.conversations[1].value for pair in pairs}) > 50
    for pair in pairs:
        sections = split_sections(pair.conversations[1].value)
        assert set(sections) == {"findings", "impression"}
        assert all(sections.values())
        assert (pair.question_type, pair.kind) == ("written_report", "report")


def test_a_report_speaks_of_side_place_share_and_of_what_is_ruled_out() -> None:
    text = " ".join(pair.conversations[1].value for pair in made(many(), "report"))
    for said in ("left kidney", "right kidney", "part of the image", "% of the", "heart", "axial CT", "abdomen"):
        assert said in text
    assert re.search(r"[Nn]o (?:sign|evidence) of|cannot be seen|does not show", text)


def test_a_finding_is_the_impression_and_normal_is_said_only_where_it_is_annotated() -> None:
    tumour = make_scan(regions=(replace(REGIONS[0], label="lung tumour"),), task="Disease Diagnosis")
    healthy = make_scan(1, regions=(), region_vocabulary=("lung tumour",))
    normal = make_scan(2, regions=(), region_vocabulary=(), labels=("normal eye",))
    said = {}
    for record in (tumour, healthy, normal):
        (pair,) = made([record], "report")
        said[record.record_id] = split_sections(pair.conversations[1].value)["impression"]
    assert "lung tumour" in said[tumour.record_id]
    assert re.search(r"\b(?:no|not)\b.*lung tumour", said[healthy.record_id], re.IGNORECASE)
    assert "normal eye" in said[normal.record_id]
    assert not any("normal" in text for name, text in said.items() if name != normal.record_id)


def test_nothing_is_reported_of_an_image_that_is_not_annotated() -> None:
    assert made([make_scan(regions=(), region_vocabulary=(), regions_complete=False)], "report") == []


def test_a_published_report_is_never_written_over() -> None:
    record = make_scan(text="Unremarkable.", text_kind="report")
    assert [pair.generator.name for pair in made([record], "report")] == ["source"]


@pytest.mark.parametrize("chinese", [0.0, 1.0], ids=["en", "zh"])
def test_a_conversation_needs_no_image_and_has_turns(chinese: float) -> None:
    pairs = made(many(), "text_only", chinese=chinese)
    assert 5 < len(pairs) < 30
    assert {pair.rejected_reason for pair in pairs} == {""}
    for pair in pairs:
        assert pair.record_ids == ()
        assert 4 <= len(pair.conversations) <= 8
        assert [turn.speaker for turn in pair.conversations] == ["human", "gpt"] * (len(pair.conversations) // 2)
        assert not any("<image>" in turn.value for turn in pair.conversations)
        assert (pair.patient_key, pair.split, pair.question_type) == ("p1", "train", "knowledge")
    assert len({pair.pair_id for pair in pairs}) == len(pairs)


def test_a_sources_own_conversation_stays_beside_the_written_one() -> None:
    asked = SourceQuestion("What is CT?", "A technique.")
    record = replace(make_scan(), image=b"", width=0, height=0, questions=(asked,))
    assert [pair.generator.name for pair in made([record], "text_only")] == ["source"]


def test_nothing_is_written_unless_the_settings_ask() -> None:
    for kind in WRITES:
        assert made(many(), kind, writes=()) == []
    plain, writing = generator_of(writes=()), generator_of()
    assert plain.generator == writing.generator
    assert writing.writer.prompt_hash != writing.generator.prompt_hash
    assert {pair.generator for pair in made(many(), "report")} == {writing.writer}


def test_the_glossary_is_cited_complete_and_in_both_languages() -> None:
    assert set(MODALITY_ENTRIES) == set(MODALITIES)
    assert set(PLANE_ENTRIES) == set(PLANES) - {"not stated"}
    for entry in (*MODALITY_ENTRIES.values(), *PLANE_ENTRIES.values(), SIDE_ENTRY, BOX_ENTRY):
        assert entry.source == BOX_FORM or UNCHECKED in entry.source  # no number or heading that nobody looked up
        assert entry.en.endswith(".") and entry.zh.endswith("。")
    assert set(HOMES) == set(HOME_NAMES)
    assert sum(len(organs) for organs in HOMES.values()) == len({o for organs in HOMES.values() for o in organs})


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_an_entry_passes_only_where_the_record_has_what_it_speaks_of(modality: str, language: str) -> None:
    entry = MODALITY_ENTRIES[modality].said(language)
    record = make_scan(modality=modality)
    pair = make_text(record, "?", entry, language=language, kind="text_only")
    assert contradictions(pair, [known_of(record)]) == ()
    assert entry not in sayable(modality="x", plane="axial", language=language, has_side=True, has_box=True)


def told(*said: str) -> tuple[str, ...]:
    turns = tuple(Turn(("human", "gpt")[place % 2], text) for place, text in enumerate(said))
    pair = replace(make_text(make_scan(), "?", "."), kind="text_only", conversations=turns)
    return contradictions(pair, [known_of(make_scan())])


def test_every_turn_of_a_conversation_is_read_back() -> None:
    liver = "<box> [[0.10, 0.40, 0.45, 0.70]]</box>"
    assert told("A CT image shows the liver.", "Yes.", "In the abdomen?", "It lies in the abdomen.") == ()
    assert told("An MR image.", "Yes.", "Thanks.", "Good.") == ("modality_contradicts",)
    assert told("A CT image.", "It shows the pancreas.", "Thanks.", "Good.") == ("label_not_annotated",)
    assert told("The liver?", "It lies in the pelvis.") == ("label_not_annotated",)
    assert told(f"Explain {liver}.", "A box.", "Where?", "It lies in the left part of the image.") == ()
    assert told(f"Explain {liver}.", "A box.", "Where?", "It lies in the upper right part of the image.") == (
        "box_contradicts",
    )
    assert told("The left spleen?", "The patient's.") == ("side_contradicts",)


def test_both_languages_have_the_same_written_shapes_and_several_of_each() -> None:
    assert set(ENGLISH_SHAPES) == set(CHINESE_SHAPES)
    for key, shapes in ENGLISH_SHAPES.items():
        assert len({slots(shape) for shape in (*shapes, *CHINESE_SHAPES[key])}) == 1, key
        assert min(len(set(shapes)), len(set(CHINESE_SHAPES[key]))) >= 3, key


def test_the_same_record_has_the_same_words_whatever_stands_beside_it() -> None:
    records = many(20)
    whole = {pair.pair_id for kind in WRITES for pair in made(records, kind, chinese=0.5)}
    again = {pair.pair_id for kind in WRITES for pair in made(records[::-1], kind, chinese=0.5)}
    assert whole == again
