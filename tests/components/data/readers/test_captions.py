"""Tables of captions: ROCO, MedICaT and MedPix-like layouts, and what is refused."""

import json
import zlib

import pytest

from components.data.image import decode
from components.errors import CardInvalid, DataError, DatasetMissing
from tests.fakes.formats_text import make_medicat, make_medpix, make_roco, picture, put, put_lines, put_zip
from tests.fakes.sources import make_card, read_all


def lines_card(**changes):
    options = {"tables": [{"file": "rows.jsonl"}], "image": "{image}", "text": "caption", "id": "id", **changes}
    return make_card("lines", "captions", options)


def test_roco_keeps_captions_word_for_word_and_takes_the_tables_split(tmp_path):
    records, refused = read_all(tmp_path, make_roco(tmp_path))
    assert not refused
    assert [(r.source_path, r.text, r.text_kind, r.split, r.language) for r in records] == [
        ("roco/train/radiology/images/PMC1_0.jpg", "Axial CT, a mass (0), with oedema.", "caption", "train", "en"),
        ("roco/train/radiology/images/PMC1_1.jpg", "Axial CT, a mass (1), with oedema.", "caption", "train", "en"),
    ]
    assert [decode(r.image).shape for r in records] == [(32, 48, 3)] * 2
    assert [(r.width, r.height, r.image_format, r.has_pixels) for r in records] == [(48, 32, "PNG", True)] * 2


def test_medicats_path_is_made_of_two_columns_and_other_rows_are_left_out_uncounted(tmp_path):
    records, refused = read_all(tmp_path, make_medicat(tmp_path))
    assert not refused
    assert [r.source_path for r in records] == [f"medicat/figures/0ab_{n}-Figure{n}-1.png" for n in (0, 1)]
    assert len({r.patient_key for r in records}) == 1  # one paper


def test_medpix_reads_nested_columns_images_in_a_zip_and_the_rows_own_patient(tmp_path):
    records, refused = read_all(tmp_path, make_medpix(tmp_path))
    assert not refused
    assert [(r.text, r.body_part, r.modality, r.fact("stated plane")) for r in records] == [
        ("Case 0: subdural hygroma.", "head", "CT", "Axial"), ("Case 1: subdural hygroma.", "head", "CT", "Axial"),
    ]  # fmt: skip
    assert len({r.patient_key for r in records}) == 2 and not any("MPX" in r.patient_key for r in records)


def bomb() -> bytes:
    """A picture of 91 bytes that says it has 3.6 thousand million pixels."""
    content = bytearray(picture())
    content[16:24] = (60000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


BAD_ROWS = [
    ({"image": "gone.png"}, "file_missing"),
    ({"image": "../a.png"}, "path_escapes_source"),
    ({"image": "/etc/passwd"}, "path_escapes_source"),
    ({"image": "C:\\a.png"}, "path_escapes_source"),
    ({"image": None}, "image_not_named"),
    ({"image": []}, "image_not_named"),
    ({"image": ""}, "image_not_named"),
    ({"image": True}, "image_not_named"),
    ({"caption": " "}, "text_empty"),
    ({"caption": None}, "text_empty"),
    ({"caption": {"a": 1}}, "text_not_text"),
    ({"caption": "\ud800"}, "text_not_unicode"),
    ({"id": "good"}, "row_id_repeated"),
    ({"image": "broken.png"}, "file_truncated"),
    ({"image": "empty.png"}, "file_unreadable"),
    ({"image": "deep.png"}, "image_not_8_bit"),
    ({"image": "link.png"}, "path_escapes_source"),
    ({"image": "bomb.png"}, "image_too_large"),
    ({"image": "good.png/x"}, "file_missing"),
    ({"image": "good.png", "caption": "Other."}, "second_text_of_image"),
    ({"image": "good.png"}, "row_repeated"),
]


@pytest.mark.parametrize(("change", "reason"), BAD_ROWS)
def test_a_bad_row_is_refused_with_its_reason_and_the_good_one_stays(tmp_path, change, reason):
    from PIL import Image

    good = {"id": "good", "image": "good.png", "caption": "A caption."}
    root = tmp_path / "source"
    put(root / "good.png", picture())
    put(root / "a.png", picture(1))
    put(root / "broken.png", picture(2)[:60])
    put(root / "empty.png", b"")
    put(root / "bomb.png", bomb())
    Image.new("I;16", (8, 8), 900).save(root / "deep.png")
    (root / "link.png").symlink_to(put(tmp_path / "outside.png", picture()))
    put(root / "rows.jsonl", json.dumps(good) + "\n" + json.dumps(good | {"id": "bad", "image": "a.png"} | change))
    records, refused = read_all(root, lines_card())
    assert [r.text for r in records] == ["A caption."]
    assert [(r.where, r.reason) for r in refused] == [("rows.jsonl#2", reason)]


def test_broken_lines_are_counted_by_their_number(tmp_path):
    put(tmp_path / "a.png", picture())
    rows = [
        '{"id": 1, "image": "a.png", "caption": "x",}',
        "[1]",
        "",
        "{",
        '{"id": 2, "image": "a.png", "caption": "x"}',
    ]
    put(tmp_path / "rows.jsonl", "\n".join(rows))
    records, refused = read_all(tmp_path, lines_card())
    assert len(records) == 1
    assert [(r.where, r.reason) for r in refused] == [
        ("rows.jsonl#1", "row_not_json"), ("rows.jsonl#2", "row_not_an_object"), ("rows.jsonl#4", "row_not_json"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "error", "told"),
    [
        ("t.csv", b"file;text\na.png;x\n", CardInvalid, "no column image, caption; the header has: file;text"),
        ("t.csv", "image,caption\na.png,é\n".encode("latin-1"), DataError, "not utf-8 text"),
        ("t.csv", b"", CardInvalid, "the header has: nothing"),
        ("t.json", b'[{"image": "a.png", "caption": "x"},\n]', DataError, "t.json, line 2"),
        ("t.json", b'[{"image": "a.png",\n "caption": "x"', DataError, "t.json, line 2"),
        ("t.json", b"", DataError, "neither a list nor an object"),
        ("t.parquet", b"", CardInvalid, "cannot tell a table's form"),
    ],
)
def test_a_file_that_is_not_what_the_card_says_stops_with_file_and_line(tmp_path, name, content, error, told):
    put(tmp_path / "a.png", picture())
    put(tmp_path / name, content)
    with pytest.raises(error, match=told) as caught:
        read_all(tmp_path, lines_card(tables=[{"file": name}], id=""))
    assert name in str(caught.value)


def test_an_absent_table_is_named(tmp_path):
    with pytest.raises(DatasetMissing, match="rows.jsonl"):
        read_all(tmp_path, lines_card())


def test_other_encodings_and_delimiters_are_read_when_the_card_states_them(tmp_path):
    put(tmp_path / "a.png", picture())
    put(tmp_path / "t.csv", "image;caption\na.png;Ödem\n".encode("latin-1"))
    table = {"file": "t.csv", "delimiter": ";", "encoding": "latin-1"}
    records, _ = read_all(tmp_path, lines_card(tables=[table], id=""))
    assert [r.text for r in records] == ["Ödem"]


def test_a_zip_member_that_climbs_is_refused_and_a_cut_zip_stops(tmp_path):
    put_zip(tmp_path / "i.zip", {"../a.png": picture(), "a.png": picture(), "/b.png": picture()})
    put_lines(tmp_path / "rows.jsonl", [{"id": 1, "image": "a.png", "caption": "x"}])
    card = lines_card(archives=["*.zip"])
    records, refused = read_all(tmp_path, card)
    assert len(records) == 1
    assert [(r.where, r.reason) for r in refused] == [
        ("i.zip#../a.png", "path_escapes_source"), ("i.zip#/b.png", "path_escapes_source"),
    ]  # fmt: skip
    put(tmp_path / "i.zip", (tmp_path / "i.zip").read_bytes()[:200])
    with pytest.raises(DataError, match="zip file is broken"):
        read_all(tmp_path, card)
