"""Delimited text: cells, headers, rows by their columns' names, and what does not fit."""

import csv
import io

import pytest

from components.data.delimited import LONGEST_CELL, rows_by_name, take_header, text_cells


def cells(text, delimiter=",", **options):
    return text_cells(io.StringIO(text, newline=""), delimiter, **options)


def test_quotes_hold_delimiters_and_line_ends_unless_they_are_letters():
    assert list(cells('a,"b,\nc"\n')) == [["a", "b,\nc"]]
    assert list(cells('a|"b|c"\n', "|", quoted=False)) == [["a", '"b', 'c"']]


def test_a_header_is_the_first_row_stripped_or_what_the_card_states():
    rows = cells(" id , name\n1,2\n")
    assert take_header(rows, ()) == ["id", "name"] and list(rows) == [["1", "2"]]
    rows = cells("1,2\n")
    assert take_header(rows, ("id", "name")) == ["id", "name"] and list(rows) == [["1", "2"]]
    assert take_header(cells(""), ()) == []


def test_rows_are_numbered_from_one_with_the_empty_ones_and_misfits_are_told():
    found = rows_by_name(["id", "name"], cells("1,a\n\n2\n3,b,c\n4, d\n"))
    assert list(found) == [(1, {"id": "1", "name": "a"}), (3, None), (4, None), (5, {"id": "4", "name": " d"})]


def test_a_cell_that_never_ends_is_an_error_with_its_line():
    with pytest.raises(csv.Error, match="line 2"):
        list(cells('a\n"' + "x" * (LONGEST_CELL + 1)))
