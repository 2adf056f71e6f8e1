"""Workbooks by hand-made parts, and what a table says of stretches of a video."""

import zipfile

import pytest

from components.data.faults import Refused
from components.data.segments import SegmentTable, read_timeline
from components.data.spreadsheet import read_cells
from components.data.tables import TableFormat, read_rows
from components.errors import DataError
from tests.fakes.formats_labels import label_card, make_table, write_workbook
from tests.fakes.sources import read_all


def timeline_of(root, text, video="v1", **table):
    (root / "v1.txt").write_text(text)
    named = {"file": "{name}.txt", "delimiter": "\t", "start": "Frame", **table}
    return read_timeline(root, video, SegmentTable(**named), label_card("video_frames", {}))


def test_cells_come_as_the_file_holds_them(tmp_path):
    path = write_workbook(tmp_path / "t.xlsx", [["id", "age"], ["a", 45], ["", ""], ["b", 4.5], ["", "x"]])
    assert list(read_cells(path)) == [["id", "age"], ["a", "45"], ["b", "4.5"], ["", "x"]]
    assert list(read_cells(path, "Labels"))[0] == ["id", "age"]
    with pytest.raises(Refused, match="sheet_missing: 'Other'; there are Labels"):
        list(read_cells(path, "Other"))


def test_short_rows_are_filled_up_and_long_ones_are_malformed(tmp_path):
    path = write_workbook(tmp_path / "t.xlsx", [["id", "label"], ["a"], ["b", "x", "y"]])
    found = list(read_rows(path, "t.xlsx", TableFormat(), ["id"]))
    assert found[0] == (1, {"id": "a", "label": ""}) and found[1].reason == "row_malformed"


def test_a_workbook_may_hold_the_labels(tmp_path):
    card = make_table(tmp_path, "", {"tables": ["labels.xlsx"], "label_column": "finding"})
    write_workbook(tmp_path / "labels.xlsx", [["id", "finding"], ["a", "polyp"], ["b", "NORMAL"]])
    records, refused = read_all(tmp_path, card)
    assert not refused and [record.labels for record in records] == [("polyp",), ("normal",)]


def test_a_workbook_that_is_none_is_named(tmp_path):
    whole = write_workbook(tmp_path / "whole.xlsx", [["id"], ["a"]]).read_bytes()
    contents = {"text.xlsx": b"id,label", "cut.xlsx": whole[:200], "empty.xlsx": b""}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    with zipfile.ZipFile(tmp_path / "other.xlsx", "w") as archive:
        archive.writestr("word/document.xml", "<a/>")
    write_workbook(tmp_path / "entity.xlsx", [["id"]], first='<!DOCTYPE a [<!ENTITY x "y">]>')
    write_workbook(tmp_path / "far.xlsx", [["id"]], cell='<c r="XFD1"><v>1</v></c>')
    write_workbook(tmp_path / "shared.xlsx", [["id"]], cell='<c r="B1" t="s"><v>99</v></c>')
    reasons = {}
    for path in sorted(tmp_path.glob("*.xlsx")):
        try:
            list(read_cells(path))
        except Refused as error:
            reasons[path.stem] = error.reason
    assert reasons == {
        "cut": "workbook_malformed", "text": "workbook_malformed", "empty": "file_empty",
        "other": "workbook_malformed", "entity": "xml_entities_refused", "far": "workbook_malformed",
        "shared": "workbook_malformed",
    }  # fmt: skip
    with pytest.raises(DataError, match="table_malformed: workbook_malformed"):
        list(read_rows(tmp_path / "text.xlsx", "text.xlsx", TableFormat(), ["id"]))


def test_a_row_holds_until_the_next(tmp_path):
    text = "Frame\tPhase\n25\tcyst\n0\tpolyp\n25\tNORMAL\n100\t\n"
    timeline, refused = timeline_of(tmp_path, text, label_column="Phase", frames_per_unit=0.04)
    assert not refused and [sorted(timeline.at(frame)[0]) for frame in (0, 1, 3, 4, 999)] == [
        ["polyp"], ["cyst", "normal"], ["cyst", "normal"], [], []
    ]  # fmt: skip


def test_rows_with_an_end_may_overlap(tmp_path):
    text = "Frame\tto\tPhase\n0\t9\tpolyp\n5\t5\tcyst\n"
    timeline, _ = timeline_of(tmp_path, text, end="to", label_column="Phase")
    assert [sorted(timeline.at(frame)[0]) for frame in (0, 4, 5, 6, 10)] == [
        ["polyp"], ["polyp"], ["cyst", "polyp"], ["polyp"], []
    ]  # fmt: skip


def test_a_column_a_label_also_says_what_is_not_there(tmp_path):
    timeline, _ = timeline_of(tmp_path, "Frame\tpolyp\tcyst\n0\t1\t0\n5\t0\t\n", label_columns=["polyp", "cyst"])
    assert timeline.at(0) == ({"polyp"}, {"cyst"}) and timeline.at(7) == (set(), {"polyp"})


def test_bad_rows_are_refused_and_a_video_without_a_table_too(tmp_path):
    text = "Frame\tto\tPhase\n9\t0\tpolyp\nx\t1\tpolyp\n0\tnan\tpolyp\n0\t1\thorn\n0\n0\t1\tcyst\n"
    timeline, refused = timeline_of(tmp_path, text, end="to", label_column="Phase")
    assert [(r.where, r.reason) for r in refused] == [
        ("v1.txt#row/1", "segment_malformed"), ("v1.txt#row/2", "box_not_a_number"),
        ("v1.txt#row/3", "segment_malformed"), ("v1.txt#row/4", "label_not_in_vocabulary"),
        ("v1.txt#row/5", "row_malformed"),
    ]  # fmt: skip
    assert timeline.at(0)[0] == {"cyst"}
    with pytest.raises(Refused, match="file_missing"):
        timeline_of(tmp_path, text, video="v2", end="to", label_column="Phase")
    marks = timeline_of(tmp_path, "Frame\tpolyp\n0\tmaybe\n", label_columns=["polyp"])[1]
    assert marks[0].reason == "value_not_known"
    with pytest.raises(ValueError, match="label_column"):
        SegmentTable(file="a", start="b")
