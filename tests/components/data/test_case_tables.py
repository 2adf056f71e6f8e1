"""What a table says of a case: decades for ages, two words for sexes, and rows that do not fit."""

import pytest

from components.data.case_tables import CaseRules, CaseTable, read_case_table, said_of_case
from components.data.reading import Rejection
from components.errors import DataError
from tests.fakes.sources import make_card

CARD = make_card("fake_cases", "nifti_cases", {}, label_map={"LGG": "glioma", "none found": ""})


def said(root, text, *, name="t.csv", case="a", **columns):
    (root / name).write_text(text, encoding="utf-8")
    table = CaseTable.model_validate({"file": name, "key": "id", **columns})
    return said_of_case(CaseRules(table=table), read_case_table(root, table), CARD, {"case": case})


@pytest.mark.parametrize(
    ("age", "band"),
    [
        ("58", "50-59 years"),
        ("58.4", "50-59 years"),
        ("058Y", "50-59 years"),
        ("n/a", ""),
        ("old", ""),
        ("nan", ""),
        ("inf", ""),
    ],
)
def test_an_age_leaves_as_its_decade_alone(age, band, tmp_path):
    facts = dict(said(tmp_path, f"id,age\na,{age}\n", age="age").facts)
    assert facts.get("age band", "") == band and "58" not in "".join(facts.values())


@pytest.mark.parametrize(("cell", "sex"), [("M", "male"), ("female", "female"), (" f ", "female"), ("x", "")])
def test_a_sex_is_one_of_two_words_or_unsaid(cell, sex, tmp_path):
    assert dict(said(tmp_path, f"id,sex\na,{cell}\n", sex="sex").facts).get("sex", "") == sex


def test_tabs_are_told_by_the_ending_and_a_mark_of_byte_order_is_no_letter(tmp_path):
    found = said(tmp_path, "\ufeffid\tkind\tsite\na\tLGG\t-\n", name="t.tsv", label="kind", facts={"site": "site"})
    assert found.classes == ("glioma",) and found.facts == {}


def test_a_class_that_is_dropped_or_unsaid_is_no_label(tmp_path):
    text = "id,kind\na,none found\nb,n/a\n"
    assert said(tmp_path, text, label="kind").classes == said(tmp_path, text, label="kind", case="b").classes == ()


def test_a_repeated_row_is_refused_only_when_it_differs(tmp_path):
    (tmp_path / "t.csv").write_text("id,sex\na,M\na,M\na,F\n")
    rows = read_case_table(tmp_path, CaseTable(file="t.csv", key="id", sex="sex"))
    assert rows.refused == (Rejection("t.csv#row 4", "row_repeated"),) and rows.rows["a"]["sex"] == "M"


def test_a_table_that_is_not_utf8_text_is_named(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"id,sex\n\xff\xfe,M\n")
    with pytest.raises(DataError, match="not a table"):
        read_case_table(tmp_path, CaseTable(file="t.csv", key="id"))
