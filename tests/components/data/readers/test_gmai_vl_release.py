"""The release's two halves, its traceable paths, and what is refused."""

import pytest

from components.data.readers.gmai_vl_release import SOURCE_FACT
from components.errors import CardInvalid
from tests.fakes.formats_text import (
    make_release,
    make_release_closed,
    picture,
    put,
    put_lines,
    put_zip,
    release_row,
    talk,
)
from tests.fakes.sources import make_card, read_all

CAPTIONS = "annotations/GMAI-MM-Caption-1.7M.jsonl"
IMAGE = "images/2d/cls/histopathology/crc100k/images/NORM/example.tif"


def test_the_open_half_joins_its_files_over_zips_without_the_leading_folder(tmp_path):
    (image, text), refused = read_all(tmp_path, make_release(tmp_path))
    assert not refused
    assert image.source_path == "gmai_vl_open/2d/cls/histopathology/crc100k/images/NORM/example.tif"
    assert (image.modality, image.fact(SOURCE_FACT), image.width) == ("Pathology", "crc100k", 48)
    assert [(q.question, q.question_type) for q in image.questions] == [
        ("Caption it.", "caption"), ("What is <box> [[0.10, 0.10, 0.50, 0.50]]</box>?", "percept"),
    ]  # fmt: skip
    assert [q.question_type for q in text.questions] == ["text_only", "continues"] and not text.has_pixels


def test_the_other_half_reads_the_users_own_copies(tmp_path):
    (record,), refused = read_all(tmp_path, make_release_closed(tmp_path))
    assert not refused and record.fact(SOURCE_FACT) == "totalsegmentator_v2"
    assert [(q.question, q.answer, q.question_type) for q in record.questions] == [
        ("Why?", "Because.", "instruct")
    ]


def test_the_example_row_of_the_paper_names_its_data_set_in_its_id(tmp_path):
    row = release_row(IMAGE, "<image>\nCould you kindly generate a caption?", "This histopathological image …")
    put_lines(tmp_path / CAPTIONS, [row | {"image": "example.tif"}])
    put(tmp_path / "example.tif", picture())
    (record,), refused = read_all(tmp_path, make_card("example", "gmai_vl_release", {"zips": []}))
    assert not refused and (record.fact(SOURCE_FACT), record.modality) == ("crc100k", "Pathology")


def test_only_the_wanted_data_sets_are_read_and_departments_go_by_data_set(tmp_path):
    card = make_release(tmp_path)
    other = card.model_copy(update={"options": {"data_sets": ["PAD-UFES-20"]}})
    records, refused = read_all(tmp_path, other)
    assert not refused and [r.has_pixels for r in records] == [False]
    named = card.model_copy(update={"options": {"departments": {"crc100k": "Oncology"}}})
    assert [r.department for r in read_all(tmp_path, named)[0]] == ["Oncology", card.department]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (release_row("images/2d/cls/histopathology/crc100k/gone.tif", "<image>\na", "b"), "file_missing"),
        (release_row("images/../../etc/x/y/z.png", "<image>\na", "b"), "path_escapes_source"),
        (release_row("images/2d/cls/sketches/a/b.png", "<image>\na", "b"), "modality_not_mapped"),
        (release_row("images/b.png", "<image>\na", "b") | {"id": "7"}, "source_data_set_unknown"),
        (release_row(IMAGE, "<image>\nCaption it.", "Normal mucosa."), "row_repeated"),
        (release_row(IMAGE, "<image>\n<image>\na", "b"), "placeholder_count_differs"),
        (release_row(IMAGE, "a", "b") | {"conversations": talk("a")}, "turns_do_not_alternate"),
        (release_row(IMAGE, "a", "b") | {"image": 5}, "image_not_named"),
    ],
)
def test_a_bad_row_is_refused_with_its_reason(tmp_path, row, reason):
    card = make_release(tmp_path)
    put_lines(tmp_path / CAPTIONS, [release_row(IMAGE, "<image>\nCaption it.", "Normal mucosa."), row])
    records, refused = read_all(tmp_path, card)
    assert len(records) == 2
    assert [(r.where, r.reason) for r in refused] == [(f"{CAPTIONS}#2", reason)]


def test_an_image_in_two_zips_is_read_once(tmp_path):
    card = make_release(tmp_path)
    put_zip(tmp_path / "zips/images_chunk_002.zip", {IMAGE.removeprefix("images/"): picture(9)})
    records, refused = read_all(tmp_path, card)
    assert len(records) == 2 and [r.reason for r in refused] == ["image_repeated"]


def test_a_file_whose_kind_is_not_named_stops(tmp_path):
    card = make_release(tmp_path)
    put_lines(tmp_path / "annotations/Other.jsonl", [release_row(IMAGE, "<image>\na", "b")])
    with pytest.raises(CardInvalid, match=r"no kind is named for Other\.jsonl"):
        read_all(tmp_path, card)
