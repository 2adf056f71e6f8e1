"""Tables: what a cell means, and a wrong delimiter, encoding or column named as such."""

import pytest

from components.data.deidentify import band_of_years
from components.data.faults import Refused
from components.data.reading import Rejection
from components.data.tables import Meaning, RowMeaning, TableFormat, is_blank, meaning_of, read_rows
from components.errors import DataError


def rows_of(path, needed=("id",), **table):
    return list(read_rows(path, path.name, TableFormat(**table), needed))


def write(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_rows_come_numbered_and_a_bad_one_is_a_rejection(tmp_path):
    path = write(tmp_path, 'id, label\n1,"a,\nb"\n2\n\n3,c,d\n4,é\n')
    assert rows_of(path, ("id", "label")) == [
        (1, {"id": "1", "label": "a,\nb"}), Rejection("t.csv#row/2", "row_malformed"),
        Rejection("t.csv#row/4", "row_malformed"), (5, {"id": "4", "label": "é"}),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "table", "told"),
    [
        ("id;label\n1;a\n", {}, "table_delimiter_wrong: the header looks cut by ';'"),
        ("id,label\n1,a\n", {"delimiter": "\t"}, "table_delimiter_wrong: the header looks cut by ','"),
        ("idd,label\n1,a\n", {}, "table_columns_missing: no column 'id'; near are idd"),
        ("id,id\n1,a\n", {}, "table_columns_repeated"),
        ("", {}, "table_empty"),
        ("\n", {}, "table_empty"),
        ("id,label\n1,a\n", {"encoding": "utf-99"}, "table_encoding_wrong"),
    ],
)
def test_a_table_that_cannot_be_read_is_named(text, table, told, tmp_path):
    with pytest.raises(DataError, match=told) as caught:
        rows_of(write(tmp_path, text), **table)
    assert caught.value.where == "t.csv" and caught.value.fix


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "gb18030"])
def test_a_wrong_encoding_is_named(encoding, tmp_path):
    path = write(
        tmp_path, "id,label\n1,Größe 肿瘤\n" if encoding != "latin-1" else "id,label\n1,Größe\n", encoding
    )
    with pytest.raises(DataError, match="table_encoding_wrong: not utf-8-sig"):
        rows_of(path)
    assert rows_of(path, encoding=encoding)[0][1]["label"].startswith("Größe")


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    assert rows_of(write(tmp_path, "id\n1\n", "utf-8-sig")) == [(1, {"id": "1"})]


def test_a_table_without_a_header_row_is_given_one(tmp_path):
    assert rows_of(write(tmp_path, "1 a\n"), header=("id", "x"), delimiter=" ") == [(1, {"id": "1", "x": "a"})]


def test_an_absent_table_is_named(tmp_path):
    with pytest.raises(DataError, match="table_missing"):
        rows_of(tmp_path / "t.csv")


def test_a_row_says_facts_patient_and_split():
    options = RowMeaning(
        facts={"sex": "Gender", "view": "View"}, fact_values={"sex": {"M": "male"}}, age_column="Age",
        patient_column="pid", study_column="sid", split_column="fold", splits={"1": "test"},
    )  # fmt: skip
    row = {"Gender": "M", "View": "nan", "Age": "45.0", "pid": " p7 ", "sid": "s", "fold": "1"}
    facts = (("age band", "40-49 years"), ("sex", "male"))
    assert meaning_of(row, options) == Meaning(facts, "p7", "s", "test")
    assert set(options.columns) == set(row)
    with pytest.raises(Refused, match="split_not_known: 9"):
        meaning_of({**row, "fold": "9"}, options)


@pytest.mark.parametrize(
    ("cell", "band"),
    [("45", "40-49 years"), ("058Y", "50-59 years"), ("97", "90 years and over"), ("7.5", "under 10 years")],
)
def test_an_age_is_told_by_its_decade(cell, band):
    assert band_of_years(cell) == band


@pytest.mark.parametrize("cell", ["", "nan", "old", "-3", "1e9", "4500"])
def test_an_age_that_is_none_is_not_told(cell):
    assert band_of_years(cell) == ""


def test_blank_cells():
    assert all(map(is_blank, ("", " ", "NaN", "None", "N/A"))) and not is_blank("0")
