"""Items of JSON one by one: the same as the standard parser's, in bounded memory, faults with their line."""

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data import json_rows
from components.data.json_rows import iterate_json
from components.errors import DataError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def items(text, **options):
    return list(iterate_json(io.StringIO(text), "t.json", **options))


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(VALUES, max_size=5), chunk=st.integers(1, 9), indent=st.sampled_from([None, 1]))
def test_any_list_is_read_as_the_standard_parser_reads_it(rows, chunk, indent):
    before, json_rows.CHUNK = json_rows.CHUNK, chunk
    try:
        found = items(json.dumps(rows, indent=indent))
    finally:
        json_rows.CHUNK = before
    assert found == [(str(number), row) for number, row in enumerate(rows, start=1)]


def test_sections_are_named_and_may_be_chosen():
    text = json.dumps({"info": {"v": 1}, "train": [{"a": 1}, {"a": 2}], "test": [{"a": 3}]})
    assert items(text) == [
        ("info", {"_key": "info", "v": 1}), ("train/1", {"a": 1}), ("train/2", {"a": 2}), ("test/1", {"a": 3}),
    ]  # fmt: skip
    assert items(text, section="test") == [("test/1", {"a": 3})]
    with pytest.raises(DataError, match="no section 'dev'"):
        items(text, section="dev")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[{"a": 1},\n{"a": 2},\n]', 3), ('[{"a": 1},\n{"a": 2,}\n]', 2), ('[{"a": 1}\n{"a": 2}]', 2),
        ('[\n\n{"a": 1}', 3), ('{"a": [1,\n2', 2), ('{"a"\n1}', 2), ("[1]\nx", 2), ("{1: 2}", 1), ("hello", 1),
        ("[" * 5000, 1), ('["a\n', 1), ("", 1),
    ],
)  # fmt: skip
def test_a_fault_names_the_file_and_the_line(text, line):
    with pytest.raises(DataError) as caught:
        items(text)
    assert caught.value.where == f"t.json, line {line}"


def test_memory_is_bounded_by_the_item_and_a_broken_one_does_not_read_the_rest(monkeypatch):
    monkeypatch.setattr(json_rows, "CHUNK", 64)
    monkeypatch.setattr(json_rows, "MAX_ITEM", 1000)
    rows = [{"a": "x" * 20}] * 2000
    handle = io.StringIO(json.dumps(rows))
    reader = iterate_json(handle, "t.json")
    for _ in range(100):
        next(reader)
    assert handle.tell() < 100 * 40 + 500
    broken = io.StringIO('[{"a": "x},' + json.dumps(rows)[1:].replace('"', "'"))
    with pytest.raises(DataError):
        list(iterate_json(broken, "t.json"))
    assert broken.tell() < 5000
