"""Tables of questions: six published layouts, the gathering by image, and what is refused."""

import pytest

from components.data.faults import Refused
from components.data.question_rows import QuestionColumns, read_question
from components.data.row_files import FileGroup, Row
from components.records import SourceQuestion
from tests.fakes.formats_text import (
    SLAKE_ROW,
    VQA_RAD_ROW,
    make_omnimedvqa,
    make_pmc_vqa_1,
    make_pmc_vqa_2,
    make_slake,
    make_vqa_med,
    make_vqa_rad,
    put_json,
)
from tests.fakes.sources import read_all

CHOICES = ("CT", "MRI", "PET", "X-ray")


def test_vqa_rads_questions_of_one_image_are_one_record_and_a_number_becomes_text(tmp_path):
    records, refused = read_all(tmp_path, make_vqa_rad(tmp_path))
    assert not refused and [r.source_path for r in records] == [
        "vqa_rad/VQA_RAD Image Folder/synpic42202.jpg", "vqa_rad/VQA_RAD Image Folder/synpic7.jpg",
    ]  # fmt: skip
    assert records[0].questions == (
        SourceQuestion("Is there evidence of an aortic aneurysm?", "yes", (), "presence"),
        SourceQuestion("How many?", "2", (), "attribute"),
    )
    assert records[0].fact("region") == "CHEST" and records[0].text == ""


def test_slake_keeps_both_languages_of_an_image_and_each_rows_modality(tmp_path):
    records, refused = read_all(tmp_path, make_slake(tmp_path))
    assert not refused and [(r.split, r.modality, r.body_part) for r in records] == [
        ("train", "MR", "abdomen"), ("validation", "X-ray", "lung"),
    ]  # fmt: skip
    assert [q.answer for q in records[0].questions] == ["MRI", "核磁共振"]


@pytest.mark.parametrize("maker", [make_pmc_vqa_1, make_pmc_vqa_2])
def test_pmc_vqas_options_lose_their_letters_and_the_answer_is_an_options_text(tmp_path, maker):
    (record,), refused = read_all(tmp_path, maker(tmp_path))
    (question,) = record.questions
    assert not refused and question.options == CHOICES
    assert question.answer == ("MRI" if maker is make_pmc_vqa_1 else "X-ray")
    assert record.split == ("train" if maker is make_pmc_vqa_1 else "test")


def test_omnimedvqas_rows_have_two_to_four_options(tmp_path):
    (record,), refused = read_all(tmp_path, make_omnimedvqa(tmp_path))
    assert not refused and [(len(q.options), q.answer, q.question_type) for q in record.questions] == [
        (4, "Fundus imaging", "modality recognition"), (2, "No", "modality recognition"),
    ]  # fmt: skip
    assert record.modality == "Fundus" and record.fact("source data set") == "ACRIMA"


def test_vqa_meds_text_has_no_header_and_quotes_are_letters(tmp_path):
    records, refused = read_all(tmp_path, make_vqa_med(tmp_path))
    assert [(r.questions[0].question, r.questions[0].answer, r.split) for r in records] == [
        ("which plane?", "axial", "train"), ('is it a "t1" image?', "no", "validation"),
    ]  # fmt: skip
    assert [(r.where, r.reason) for r in refused] == [("All_QA_Pairs_train.txt#1", "row_length_differs")]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"answer": ""}, "answer_empty"),
        ({"answer": None}, "answer_empty"),
        ({"answer": ["yes"]}, "answer_not_text"),
        ({"answer": True}, "answer_not_text"),
        ({"answer": float("nan")}, "answer_not_text"),
        ({"question": " <image> "}, "question_empty"),
        ({"question": {"q": 1}}, "question_not_text"),
        ({"qid": 11}, "row_id_repeated"),
        ({"image_name": "synpic99999.jpg"}, "file_missing"),
        ({}, "row_repeated"),
    ],
)
def test_a_bad_row_is_refused_with_its_reason(tmp_path, change, reason):
    card = make_vqa_rad(tmp_path)
    put_json(tmp_path / "trainset.json", [VQA_RAD_ROW, VQA_RAD_ROW | {"qid": 14} | change])
    records, refused = read_all(tmp_path, card)
    assert [(r.where, r.reason) for r in refused] == [("trainset.json#2", reason)]
    assert len(records) == 1 and len(records[0].questions) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"q_lang": "fr"}, "language_unknown"),
        ({"q_lang": "zh"}, "language_contradicts_text"),
        ({"modality": "Ultrasound"}, "modality_not_mapped"),
    ],
)
def test_what_a_row_states_must_be_known(tmp_path, change, reason):
    card = make_slake(tmp_path)
    put_json(tmp_path / "train.json", [SLAKE_ROW | change])
    _, refused = read_all(tmp_path, card)
    assert [(r.where, r.reason) for r in refused] == [("train.json#1", reason)]


def test_an_image_stays_in_the_split_that_named_it_first(tmp_path):
    card = make_slake(tmp_path)
    put_json(tmp_path / "validation.json", [SLAKE_ROW | {"qid": 9, "question": "Which organ?"}])
    records, refused = read_all(tmp_path, card)
    assert [r.split for r in records] == ["train"]
    assert [(r.where, r.reason) for r in refused] == [("validation.json#1", "image_in_another_split")]


def ask(columns=("a", "b"), **values):
    mapping = QuestionColumns(
        question="q", answer="gold", options=columns, answer_is=values.pop("answer_is", "text")
    )
    return read_question(Row("t#1", {"q": "What?", "gold": "x", **values}, FileGroup(file="t")), mapping)


@pytest.mark.parametrize(
    ("values", "answer", "options"),
    [
        ({"a": "x", "b": "y"}, "x", ("x", "y")),
        ({"a": "Left  Lung", "b": "y", "gold": "left lung"}, "Left  Lung", ("Left  Lung", "y")),
        ({"a": "A. x", "b": "B. y", "gold": "B. y"}, "y", ("x", "y")),
        ({"a": "A: x", "b": "(B) y", "gold": "b", "answer_is": "letter"}, "y", ("x", "y")),
        ({"a": "B. of", "b": "x"}, "x", ("B. of", "x")),
        ({"columns": ("o",), "o": ["x", 2]}, "x", ("x", "2")),
        ({"columns": ("o",), "o": "['x', 'y']"}, "x", ("x", "y")),
        ({"columns": ("o",), "o": '["x", "y"]'}, "x", ("x", "y")),
        ({"columns": ("o",), "o": {"A": "x", "B": "y"}}, "x", ("x", "y")),
        ({"a": None, "b": None}, "x", ()),
    ],
)
def test_options_are_read_however_a_table_writes_them(values, answer, options):
    assert ask(**values) == SourceQuestion("What?", answer, options, "not stated")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"a": "y", "b": "z"}, "answer_not_among_options"),
        ({"a": "x", "b": "y", "gold": "C", "answer_is": "letter"}, "answer_not_among_options"),
        ({"a": "x", "b": "y", "gold": "AB", "answer_is": "letter"}, "answer_not_among_options"),
        ({"a": "x", "b": "X"}, "options_repeated"),
        ({"a": "", "b": "y", "gold": "B", "answer_is": "letter"}, "options_with_a_gap"),
        ({"a": ["x"], "b": "y"}, "option_not_text"),
        ({"columns": ("o",), "o": "[__import__('os')]"}, "option_not_text"),
    ],
)
def test_a_gold_answer_must_be_one_of_its_options(values, reason):
    with pytest.raises(Refused) as caught:
        ask(**values)
    assert caught.value.reason == reason


def test_the_same_files_give_the_same_records(tmp_path):
    card = make_slake(tmp_path)
    assert read_all(tmp_path, card) == read_all(tmp_path, card)
