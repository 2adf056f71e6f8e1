"""YOLO: boxes and polygons in shares, class names from three places, and lines that do not fit."""

import pytest

from components.data.masks import decode_runs
from components.data.readers.yolo import usual_place
from components.errors import DataError
from tests.fakes.formats_labels import make_yolo, save
from tests.fakes.sources import read_all


def reasons(refused):
    return [(r.where, r.reason) for r in refused]


def test_the_golden_record(tmp_path):
    (record,), refused = read_all(tmp_path, make_yolo(tmp_path))
    (region,) = record.regions
    assert not refused and record.source_path == "fake_yolo/images/train/a.png"
    assert (region.label, region.mask) == ("polyp", "")
    assert region.box == pytest.approx((0.25, 0.2, 0.5, 0.5), abs=1e-6)
    assert record.regions_complete and record.region_vocabulary == ("cyst", "polyp")
    assert record.facts == (("annotation", "instance box"),)


def test_a_polygon_becomes_a_mask(tmp_path):
    (record,), _ = read_all(tmp_path, make_yolo(tmp_path, "1 0.25 0.2 0.5 0.2 0.5 0.5 0.25 0.5\n"))
    (region,) = record.regions
    assert region.label == "cyst" and region.box == pytest.approx((0.25, 0.2, 0.5, 0.5), abs=1e-6)
    assert decode_runs(region.mask).sum() == 90 and record.fact("annotation") == "instance mask"


def test_bad_lines_are_refused_one_by_one(tmp_path):
    lines = (
        "0 0.375 0.35 0.25 0.3\n\n7 0.5 0.5 0.1 0.1\npolyp 0.5 0.5 0.1 0.1\n0 0.5 0.5 0.1\n0 0.5 0.5 0 0.1\n"
        "0 0.99 0.5 0.4 0.1\n1 a b c d\n1 0 0 2 0 2 2\n-1 0.5 0.5 0.1 0.1\n"
    )
    (record,), refused = read_all(tmp_path, make_yolo(tmp_path, lines))
    assert len(record.regions) == 1 and record.region_vocabulary == ()
    assert reasons(refused) == [
        (f"images/train/a.png#line/{number}", reason)
        for number, reason in (
            (3, "class_not_named"), (4, "class_not_named"), (5, "line_malformed"), (6, "box_degenerate"),
            (7, "box_outside_image"), (8, "box_not_a_number"),
            (9, "polygon_outside_image"), (10, "class_not_named"),
        )
    ]  # fmt: skip


def test_an_unknown_name_is_refused_and_other_labels_stay_complete(tmp_path):
    options = {"names_file": "", "names": ["polyp", "horn"]}
    (record,), refused = read_all(tmp_path, make_yolo(tmp_path, "1 0.5 0.5 0.1 0.1\n", options=options))
    assert reasons(refused) == [("images/train/a.png#line/1", "label_not_in_vocabulary")]
    assert record.regions == () and record.region_vocabulary == ("polyp",)


def test_pictures_and_lines_that_miss_each_other_are_counted(tmp_path):
    card = make_yolo(tmp_path, options={"all_lines": ["labels/*/*.txt"]})
    save(tmp_path / "images" / "train" / "b.png")
    (tmp_path / "labels" / "train" / "c.txt").write_text("")
    (tmp_path / "images" / "train" / "d.png").write_bytes(b"")
    (tmp_path / "labels" / "train" / "d.txt").write_text("")
    (tmp_path / "labels" / "train" / "e.txt").write_bytes(b"\xff\xfe\x00")
    save(tmp_path / "images" / "train" / "e.png")
    assert reasons(read_all(tmp_path, card)[1]) == [
        ("images/train/b.png", "annotation_missing"), ("images/train/d.png", "file_empty"),
        ("images/train/e.png", "file_unreadable"), ("labels/train/c.txt", "file_missing"),
    ]  # fmt: skip


def test_a_picture_without_lines_may_show_nothing(tmp_path):
    card = make_yolo(tmp_path, options={"without_lines": True})
    (tmp_path / "labels" / "train" / "a.txt").unlink()
    (record,), refused = read_all(tmp_path, card)
    assert not refused and record.regions == () and record.regions_complete


def test_lines_may_lie_where_a_template_says(tmp_path):
    card = make_yolo(tmp_path, options={"lines": "{folder}/{stem}.lines"})
    (tmp_path / "labels" / "train" / "a.txt").rename(tmp_path / "images" / "train" / "a.lines")
    assert len(read_all(tmp_path, card)[0][0].regions) == 1


@pytest.mark.parametrize(
    ("picture", "lines"),
    [
        ("images/train/a.png", "labels/train/a.txt"), ("set/images/images/a.jpg", "set/images/labels/a.txt"),
        ("train/a.png", "train/a.txt"), ("a.b.png", "a.b.txt"), ("images.png", "images.txt"),
    ],
)  # fmt: skip
def test_the_usual_place_of_lines(picture, lines):
    assert usual_place(picture) == lines


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("data.yaml", "names: [polyp, cyst]"), ("data.yaml", "names:\n  0: polyp\n  1: cyst\n"),
        ("obj.names", "polyp\ncyst\n"),
    ],
)  # fmt: skip
def test_names_come_from_a_file(name, text, tmp_path):
    card = make_yolo(tmp_path, "1 0.5 0.5 0.1 0.1\n", options={"names_file": name})
    (tmp_path / name).write_text(text)
    assert read_all(tmp_path, card)[0][0].regions[0].label == "cyst"


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("absent.yaml", None, "names_missing"), ("data.yaml", "nc: 2", "names_malformed"),
        ("data.yaml", "names: [a", "names_malformed"), ("data.yaml", "names: {1: a, 7: b}", "names_malformed"),
        ("data.yaml", "- a", "names_malformed"),
    ],
)  # fmt: skip
def test_names_that_cannot_be_read_stop_the_source(name, text, told, tmp_path):
    card = make_yolo(tmp_path, options={"names_file": name})
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=told):
        read_all(tmp_path, card)


def test_names_have_one_source(tmp_path):
    with pytest.raises(DataError, match="either"):
        read_all(tmp_path, make_yolo(tmp_path, options={"names": ["polyp"]}))


def test_a_folder_in_place_of_the_names_stops_the_source(tmp_path):
    card = make_yolo(tmp_path, options={"names_file": "data.yaml"})
    (tmp_path / "data.yaml").unlink(missing_ok=True)
    (tmp_path / "data.yaml").mkdir()
    with pytest.raises(DataError, match="names_unreadable"):
        read_all(tmp_path, card)


def test_an_empty_text_file_says_that_the_picture_shows_no_object(tmp_path):
    card = make_yolo(tmp_path, lines="")
    records, refused = read_all(tmp_path, card)
    assert [record.regions for record in records] == [()]
    assert refused == []


def test_a_line_said_twice_is_one_object(tmp_path):
    (record,), refused = read_all(tmp_path, make_yolo(tmp_path, 2 * "0 0.375 0.35 0.25 0.3\n"))
    assert len(record.regions) == 1 and record.region_vocabulary == ("cyst",)
    assert reasons(refused) == [("images/train/a.png#line/2", "annotation_repeated")]
