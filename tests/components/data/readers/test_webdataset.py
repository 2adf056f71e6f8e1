"""WebDataset shards: members of one key are one sample, streamed, and what is refused."""

import pytest
from pydantic import ValidationError

from components.data.readers.webdataset import Options
from components.errors import DataError
from tests.fakes.formats_text import make_shards, picture, put, put_tar
from tests.fakes.sources import make_card, read_all


def card_of(**options):
    return make_card("tars", "webdataset", {"shards": [{"file": "*.tar"}], **options})


def test_members_of_a_key_are_one_sample_in_any_order(tmp_path):
    records, refused = read_all(tmp_path, make_shards(tmp_path))
    assert not refused and [(r.source_path, r.text, r.labels, r.split) for r in records] == [
        ("shards/train-000000.tar/000000.jpg", "A nodule.", ("lung nodule",), "train"),
        ("shards/train-000000.tar/000001.jpg", "Normal lungs.", (), "train"),
    ]
    assert len({r.patient_key for r in records}) == 2


def test_columns_of_the_json_member_carry_questions_and_conversations(tmp_path):
    said = b'{"q": "Where?", "a": 3, "talk": [{"from": "human", "value": "x"}, {"from": "gpt", "value": "y"}]}'
    put_tar(tmp_path / "a.tar", [("s/1.png", picture()), ("s/1.json", said)])
    card = card_of(question="q", answer="a", conversations="talk", kind="instruct")
    (record,), refused = read_all(tmp_path, card)
    assert not refused and [(q.question, q.answer, q.question_type) for q in record.questions] == [
        ("Where?", "3", "not stated"), ("x", "y", "instruct"),
    ]  # fmt: skip


def test_a_sample_without_an_image_may_be_text_alone(tmp_path):
    put_tar(tmp_path / "a.tar", [("1.json", b'{"q": "Why?", "a": "So."}')])
    card = card_of(question="q", answer="a", may_be_text_only=True)
    (record,), refused = read_all(tmp_path, card)
    assert not refused and not record.has_pixels and record.image_ids == ()


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([("1.txt", b"x")], "image_not_named"),
        ([("1.png", picture())], "text_empty"),
        ([("1.png", picture()), ("1.txt", b"\xff")], "text_not_unicode"),
        ([("1.png", picture()), ("1.txt", b"x"), ("1.json", b'{"a": 1,}')], "row_not_json"),
        ([("1.png", picture()), ("1.txt", b"x"), ("1.json", b"[1]")], "row_not_an_object"),
        ([("1.png", picture()), ("1.png", picture()), ("1.txt", b"x")], "member_repeated"),
        ([("1.png", b"nothing"), ("1.txt", b"x")], "file_unreadable"),
        ([("1.png", picture()[:60]), ("1.txt", b"x")], "file_truncated"),
        ([("../1.png", picture()), ("../1.txt", b"x")], "path_escapes_source"),
    ],
)
def test_a_bad_sample_is_refused_with_its_reason_and_the_rest_stays(tmp_path, members, reason):
    good = [("0.png", picture(3)), ("0.txt", b"fine"), ("2.png", picture(4)), ("2.txt", b"fine")]
    put_tar(tmp_path / "a.tar", [*good[:2], *members, *good[2:]])
    records, refused = read_all(tmp_path, card_of(text_member="txt"))
    assert [r.source_path for r in records] == ["tars/a.tar/0.png", "tars/a.tar/2.png"]
    assert {r.reason for r in refused} == {reason}


@pytest.mark.parametrize("number", [b"7", b"-1", b"one", b""])
def test_a_class_must_be_one_of_the_cards(tmp_path, number):
    put_tar(tmp_path / "a.tar", [("1.png", picture()), ("1.cls", number)])
    _, refused = read_all(tmp_path, card_of(class_member="cls", classes=["a", "b"]))
    assert [(r.where, r.reason) for r in refused] == [("a.tar#1", "label_not_in_vocabulary")]


def test_a_link_in_a_shard_is_not_followed(tmp_path):
    import tarfile

    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        link = tarfile.TarInfo("1.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    _, refused = read_all(tmp_path, card_of(text_member="txt"))
    assert [r.reason for r in refused] == ["file_unreadable"]


def test_a_cut_shard_stops_the_source(tmp_path):
    card = make_shards(tmp_path)
    shard = tmp_path / "train-000000.tar"
    put(shard, shard.read_bytes()[:700])
    with pytest.raises(DataError, match="tar file is broken"):
        read_all(tmp_path, card)
    put(shard, b"not a tar file")
    with pytest.raises(DataError, match="tar file is broken"):
        read_all(tmp_path, card)


def test_options_that_contradict_are_refused():
    for wrong in ({"class_member": "cls"}, {"text_member": "txt", "text": "caption"}):
        with pytest.raises(ValidationError):
            Options.model_validate({"shards": [{"file": "x"}], **wrong})
