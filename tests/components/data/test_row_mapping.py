"""What a row says: paths, splits, words; and how a reader's own words join its statement."""

from dataclasses import replace

import pytest

from components.data.faults import Refused
from components.data.reading import Rejection
from components.data.row_files import FileGroup, Row
from components.data.row_mapping import (
    ColumnMapping,
    RowMapping,
    Statement,
    add_words,
    check_path,
    images_of,
    plain_text,
    state_row,
    with_language,
)
from tests.fakes.sources import make_card

CARD = make_card("rows", "captions", {}, label_map={"CYST": "cyst", "none": ""})


def row(**values):
    return Row("t.csv#3", values, FileGroup(file="t.csv", split="test", language="en"))


def mapping(**columns):
    return RowMapping.model_validate({"tables": [{"file": "t.csv"}], **columns})


def reason(function, *arguments, **keywords):
    with pytest.raises(Refused) as told:
        function(*arguments, **keywords)
    return told.value.reason


def test_a_row_states_what_its_columns_say_and_the_file_says_the_rest():
    columns = {"id": "n", "patient": "who", "body_part": "organ", "labels": ["a", "b"], "facts": {"side": "s"}}
    stated = state_row(
        row(n=7, who=" p1 ", organ="Liver", a="CYST", b=["none", "CYST"], s=None), ColumnMapping(**columns), CARD
    )
    assert stated == Statement(
        "t.csv#3", id="7", patient="p1", body_part="liver", labels=("cyst",), split="test", language="en"
    )


@pytest.mark.parametrize(
    ("columns", "values", "why"),
    [
        ({"split": "s"}, {"s": "holdout"}, "split_unknown"),
        ({"language": "l"}, {"l": "fr"}, "language_unknown"),
        ({"modality": "m", "modalities": {"ct": "CT"}}, {"m": "CT"}, "modality_not_mapped"),
        ({"labels": ["a"]}, {"a": "horn"}, "label_not_in_vocabulary"),
        ({"patient": "who"}, {"who": ["p"]}, "column_not_text"),
        ({"id": "n"}, {"n": True}, "column_not_text"),
        ({"id": "n"}, {"n": "\ud800"}, "text_not_unicode"),
    ],
)
def test_a_column_that_cannot_be_taken_refuses_its_row(columns, values, why):
    assert state_row(row(**values), ColumnMapping(**columns), CARD) == Rejection("t.csv#3", why)


def test_the_rows_own_split_goes_before_its_tables():
    assert state_row(row(s="VAL"), ColumnMapping(split="s"), CARD).split == "validation"


def test_a_list_in_a_column_is_a_path_each_and_a_prefix_is_cut():
    named = mapping(image="all/{folder}/{name}", remove_prefix="all/")
    assert images_of(row(folder="a", name=["1.png", 2]), named) == ("a/1.png", "a/2")
    assert reason(images_of, row(folder="a", name=[]), named) == "image_not_named"
    assert reason(images_of, row(folder="..", name="1.png"), named) == "path_escapes_source"
    assert images_of(row(), mapping()) == () and named.columns() == ("folder", "name")


@pytest.mark.parametrize("path", ["/etc/passwd", "a/../../b", "C:\\x", "C:/x", "a\\b"])
def test_a_path_that_leaves_its_source_is_refused(path):
    assert reason(check_path, path) == "path_escapes_source"


def test_a_path_is_put_in_plain_form():
    assert check_path("./a//b.png") == "a/b.png"
    assert [reason(check_path, path) for path in ("", ".", "a\0b")] == ["image_not_named"] * 3


def test_text_is_kept_numbers_are_digits_and_the_rest_is_refused():
    said = [plain_text(value, fault="x") for value in (" two  words ", 3, 2.5, None)]
    assert said == ["two  words", "3", "2.5", ""]
    assert [reason(plain_text, value, fault="x_y") for value in (True, float("nan"), [], {})] == ["x_y"] * 4


def test_one_image_of_several_keeps_its_view_and_the_first_the_id():
    both = Statement("w", id="7", images=("a", "b"), text="t", text_kind="report", views=("PA", ""))
    first, second = both.only(0), both.only(1)
    assert (first.id, first.images, first.facts) == ("7", ("a",), (("view", "PA"),))
    assert (second.id, second.images, second.facts, second.text) == ("", ("b",), (), "t")
    assert both.bare(0) == replace(first, id="", text="", text_kind="")


def test_a_language_is_read_off_the_words_and_may_not_contradict_them():
    plain = Statement("t.csv#3")
    assert with_language(plain, "肺").language == "zh" and with_language(plain, "lung").language == ""
    assert with_language(replace(plain, language="en"), "").language == "en"
    wrong = Rejection("t.csv#3", "language_contradicts_text")
    assert with_language(replace(plain, language="en"), "肺") == wrong
    assert with_language(replace(plain, language="zh"), "lung") == wrong


def caption(statement, text):
    return replace(statement, text=text, text_kind="caption"), text


def test_words_join_their_statement_and_show_its_language():
    told = add_words(Statement("t.csv#3", id="7"), lambda plain: caption(plain, "肺结节"))
    assert told == Statement("t.csv#3", id="7", text="肺结节", text_kind="caption", language="zh")
    contradicting = add_words(Statement("t.csv#3", language="zh"), lambda plain: caption(plain, "a nodule"))
    assert contradicting == Rejection("t.csv#3", "language_contradicts_text")


def test_an_empty_text_is_refused_where_a_text_is_asked_for_alone():
    assert add_words(Statement("w"), lambda plain: caption(plain, "")) == Rejection("w", "text_empty")
    assert add_words(Statement("w"), lambda plain: (plain, "")) == Statement("w")


def test_a_refused_word_is_named_by_its_row_and_a_refused_row_says_nothing():
    def refuse(_):
        raise Refused("text_not_text")

    assert add_words(Statement("w"), refuse) == Rejection("w", "text_not_text")
    gone = Rejection("w", "split_unknown")
    assert add_words(gone, lambda _: pytest.fail("a rejection was asked for its words")) is gone
