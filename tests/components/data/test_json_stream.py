"""A large JSON object read piece by piece says what it says when it is read whole."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data import json_stream
from components.data.json_stream import decoded, read_item, scan_object

TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def scanned(path, text, encoding="utf-8"):
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    places = []
    others = scan_object(path, "items", lambda item, start, stop: places.append((start, stop)))
    with path.open("rb") as handle:
        return others, [read_item(handle, start, stop) for start, stop in places]


@given(st.lists(VALUES, max_size=6), VALUES, st.booleans(), st.sampled_from([None, 1]))
@settings(max_examples=80, deadline=None)
def test_items_and_members_come_as_they_were(tmp_path_factory, items, other, escaped, indent):
    path = tmp_path_factory.getbasetemp() / "stream.json"
    raw = {"before": other, "items": items, "after": other}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "CHUNK_BYTES", 7)
        others, found = scanned(path, json.dumps(raw, ensure_ascii=escaped, indent=indent))
    assert others == {"before": other, "items": None, "after": other} and found == items


@pytest.mark.parametrize("chunk", [1, 2, 3, 1 << 20])
def test_a_number_at_the_edge_of_a_piece_is_whole(chunk, tmp_path, monkeypatch):
    monkeypatch.setattr(json_stream, "CHUNK_BYTES", chunk)
    text = '\ufeff{"items": [12345, 6.5e3, "é", {}], "n": 98765}'
    assert scanned(tmp_path / "a", text) == ({"items": None, "n": 98765}, [12345, 6500.0, "é", {}])


@pytest.mark.parametrize(
    "text",
    [
        "", "{", '{"items": [1}', '{"items": [1,]}', '{"items": [1 2]}', '{"items": [1],}', '{"items": [1]',
        "{1: 2}", '{"items" [1]}', '{"items": []} x', '{"n": "\\ud8"}', '{"n": tru}', '{,}', "nul",
        b'{"n": "\xff"}',
    ],
)  # fmt: skip
def test_what_is_no_json_is_refused(text, tmp_path):
    with pytest.raises(ValueError, match=r".+"):
        scanned(tmp_path / "a", text)


@pytest.mark.parametrize("text", ["[1]", "3", '"items"', '{"items": 3}', '{"items": {"a": 1}}'])
def test_what_is_no_object_with_a_list_is_refused(text, tmp_path):
    with pytest.raises(TypeError):
        scanned(tmp_path / "a", text)


def test_a_value_that_never_ends_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(json_stream, "CHUNK_BYTES", 64)
    monkeypatch.setattr(json_stream, "LONGEST_VALUE", 1000)
    with pytest.raises(ValueError, match="more than 1000 bytes"):
        scanned(tmp_path / "a", '{"items": ["' + "a" * 9000)


def test_text_is_read_as_utf_8_or_as_its_escapes():
    assert decoded("é".encode().decode("latin-1")) == "é" and decoded("图") == "图" and decoded(7) == 7
