"""Hugging Face Parquet: rows gathered by the image's bytes, class names from the metadata, and what is refused."""

import pytest
from pydantic import ValidationError

from components.data.parquet_rows import class_names
from components.data.readers.hf_parquet import Options
from components.errors import CardInvalid, DataError
from tests.fakes.formats_text import make_hf_classes, make_path_vqa, picture, put, put_parquet, talk
from tests.fakes.sources import make_card, read_all

FILE = "data/train-00000-of-00001.parquet"


def card_of(**options):
    return make_card("rows", "hf_parquet", {"files": [{"file": "data/*.parquet"}], **options})


def test_path_vqas_rows_of_one_picture_are_one_record_however_far_apart(tmp_path):
    records, refused = read_all(tmp_path, make_path_vqa(tmp_path))
    assert not refused and [[q.question for q in r.questions] for r in records] == [
        ["where?", "what?"],
        ["is it so?"],
    ]
    assert [r.split for r in records] == ["train", "train"] and len({r.patient_key for r in records}) == 2


def test_class_numbers_take_their_names_from_the_metadata(tmp_path):
    records, refused = read_all(tmp_path, make_hf_classes(tmp_path))
    assert not refused and [(r.labels, r.text, r.source_path.rpartition("/")[2]) for r in records] == [
        (("glioma",), "a glioma", "scan0.png"), ((), "nothing", "scan1.png"), ((), "unknown", "scan2.png"),
    ]  # fmt: skip


def test_a_class_that_the_label_map_does_not_know_is_refused(tmp_path):
    card = make_hf_classes(tmp_path).model_copy(update={"label_map": {"glioma": "glioma"}})
    records, refused = read_all(tmp_path, card)
    assert len(records) == 2 and [(r.where, r.reason) for r in refused] == [
        (f"{FILE}#2", "label_not_in_vocabulary")
    ]


def test_several_images_of_a_row_belong_together(tmp_path):
    images = [{"bytes": picture(n), "path": None} for n in (1, 2, 3)]
    columns = {
        "image_1": [images[0], images[2]],
        "image_2": [images[1], None],
        "text": ["Two films.", "One film."],
    }
    put_parquet(tmp_path / FILE, columns)
    records, refused = read_all(tmp_path, card_of(image=["image_1", "image_2"], text="text", text_kind="report"))
    assert not refused and [r.text for r in records] == ["", "", "One film.", "Two films."]
    assert records[3].image_ids == (records[0].record_id, records[1].record_id)


def test_a_list_of_images_and_plain_bytes_are_read_too(tmp_path):
    put_parquet(tmp_path / FILE, {"image": [[{"bytes": picture(1), "path": "a.png"}]], "text": ["x"]})
    assert len(read_all(tmp_path, card_of(text="text"))[0]) == 1
    put_parquet(tmp_path / FILE, {"image": [picture(1)], "text": ["x"]})
    assert len(read_all(tmp_path, card_of(text="text"))[0]) == 1


def test_conversations_and_text_alone(tmp_path):
    columns = {
        "image": [{"bytes": picture(1), "path": None}, None],
        "talk": [talk("<image>\na", "b"), talk("c", "d")],
    }
    put_parquet(tmp_path / FILE, columns)
    card = card_of(conversations="talk", kind="instruct", may_be_text_only=True)
    records, refused = read_all(tmp_path, card)
    assert not refused and [(r.has_pixels, r.questions[0].question_type) for r in records] == [
        (True, "instruct"), (False, "text_only"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("image", "text", "reason"),
    [
        (None, "x", "image_not_named"),
        ({"bytes": None, "path": "a.png"}, "x", "image_bytes_missing"),
        ({"bytes": b"nothing", "path": None}, "x", "file_unreadable"),
        ({"bytes": picture(1)[:60], "path": None}, "x", "file_truncated"),
        ({"bytes": picture(2), "path": None}, " ", "text_empty"),
        ({"bytes": picture(0), "path": None}, "good", "row_repeated"),
    ],
)
def test_a_bad_row_is_refused_with_its_reason(tmp_path, image, text, reason):
    put_parquet(tmp_path / FILE, {"image": [{"bytes": picture(0), "path": "p"}, image], "text": ["good", text]})
    records, refused = read_all(tmp_path, card_of(text="text"))
    assert [r.text for r in records] == ["good"]
    assert [(r.where, r.reason) for r in refused] == [(f"{FILE}#2", reason)]


def test_a_path_in_the_file_never_reaches_the_disk(tmp_path):
    put_parquet(tmp_path / FILE, {"image": [{"bytes": picture(0), "path": "../../etc/passwd"}], "text": ["x"]})
    (record,), _ = read_all(tmp_path, card_of(text="text"))
    assert record.source_path == f"rows/{FILE}/passwd"


def test_a_cut_file_and_an_absent_column_stop_the_source(tmp_path):
    card = make_path_vqa(tmp_path)
    wrong = card.model_copy(update={"options": {**card.options, "answer": "gold"}})
    with pytest.raises(CardInvalid, match="no column gold; the file has: image, question, answer"):
        read_all(tmp_path, wrong)
    put(tmp_path / FILE, (tmp_path / FILE).read_bytes()[:-20])
    with pytest.raises(DataError, match="not a whole Parquet file"):
        read_all(tmp_path, card)


def test_options_say_something_and_metadata_may_be_anything():
    with pytest.raises(ValidationError, match="name a column"):
        Options.model_validate({"files": [{"file": "x"}]})
    assert (
        class_names({b"huggingface": b"not json"}) == class_names({}) == class_names({b"huggingface": b"[]"}) == {}
    )
    listed = b'{"info": {"features": {"x": [{"_type": "ClassLabel", "names": ["a"]}], "y": {"_type": "Value"}}}}'
    assert class_names({b"huggingface": listed}) == {"x": ["a"]}
