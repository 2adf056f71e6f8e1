"""Labels in tables: single, several in a cell, a column a label, boxes; and every way a row may be bad."""

import pytest

from components.errors import DataError
from tests.fakes.formats_labels import label_card, make_one_label_table, make_table, save, shade
from tests.fakes.sources import read_all


def reasons(refused):
    return [(r.where, r.reason) for r in refused]


def test_the_golden_records(tmp_path):
    records, refused = read_all(tmp_path, make_one_label_table(tmp_path))
    assert not refused and [(r.source_path, r.labels, r.absent_labels, r.facts) for r in records] == [
        ("fake_label_table/img/a.png", ("polyp",), (), ()), ("fake_label_table/img/b.png", ("normal",), (), ())
    ]  # fmt: skip


def test_several_labels_stand_in_one_cell(tmp_path):
    text = "id\tfinding\na\tpolyp|cyst\nb\tscar\n"
    options = {"delimiter": "\t", "label_column": "finding", "separator": "|", "unlabelled": "keep"}
    records, refused = read_all(tmp_path, make_table(tmp_path, text, options))
    assert not refused and [r.labels for r in records] == [("cyst", "polyp"), ()]


def test_a_column_a_label_says_present_absent_uncertain_or_nothing(tmp_path):
    text = "id,polyp,cyst,NORMAL\na,1.0,0.0,-1\nb,,0,\nc,0,0,0\nd,,,\n"
    options = {"label_columns": ["polyp", "cyst", "NORMAL"]}
    records, refused = read_all(tmp_path, make_table(tmp_path, text, options, pictures="abcd"))
    assert [(r.labels, r.absent_labels, r.fact("uncertain")) for r in records] == [
        (("polyp",), ("cyst",), "normal"), ((), ("cyst",), "not stated"),
        ((), ("cyst", "normal", "polyp"), "not stated"),
    ]  # fmt: skip
    assert reasons(refused) == [("img/d.png", "label_missing")]


def test_a_value_that_means_nothing_known_is_refused(tmp_path):
    card = make_table(tmp_path, "id,polyp\na,1\nb,9\n", {"label_columns": ["polyp"]})
    records, refused = read_all(tmp_path, card)
    assert len(records) == 1 and reasons(refused) == [("img/b.png", "value_not_known")]


def test_a_grade_is_looked_up_with_its_column(tmp_path):
    terms = {
        "grade=0": "no retinopathy",
        "grade=4": "proliferative retinopathy",
        "edema=0": "",
        "edema=1": "oedema",
    }
    text = "id,grade,edema\na,4,1\nb,0,0\n"
    card = make_table(tmp_path, text, {"value_columns": ["grade", "edema"], "exclusive": True}, label_map=terms)
    records, _ = read_all(tmp_path, card)
    assert [r.labels for r in records] == [("oedema", "proliferative retinopathy"), ("no retinopathy",)]
    assert records[1].absent_labels == ("oedema", "proliferative retinopathy")


def test_rows_and_pictures_that_miss_each_other_are_counted(tmp_path):
    text = "id,finding\na,polyp\nabsent,polyp\n../../etc/passwd,polyp\n/etc/passwd,polyp\na,cyst\nb\nc,horn\n"
    card = make_table(tmp_path, text, {"label_column": "finding"}, pictures="abc")
    records, refused = read_all(tmp_path, card)
    assert [r.labels for r in records] == [("polyp",)]
    assert reasons(refused) == [
        ("labels.csv#row/2", "file_missing"), ("labels.csv#row/3", "path_escapes_source"),
        ("labels.csv#row/4", "file_missing"), ("labels.csv#row/5", "row_repeated"),
        ("labels.csv#row/6", "row_malformed"), ("img/c.png", "label_not_in_vocabulary"),
        ("img/b.png", "row_missing"),
    ]  # fmt: skip


@pytest.mark.parametrize("where", ["/etc/passwd", "..\\..\\x", "C:\\x.png", "a/../../../x"])
def test_a_whole_path_in_a_cell_may_not_escape(where, tmp_path):
    card = make_table(tmp_path, f"id,finding\n{where},polyp\n", {"label_column": "finding", "image": "{id}"})
    assert reasons(read_all(tmp_path, card)[1])[0] == ("labels.csv#row/1", "path_escapes_source")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id;finding\na;polyp\n", "table_delimiter_wrong"),
        ("id,label\na,polyp\n", "table_columns_missing: no column 'finding'"),
        ("id,finding\na,Größe\n".encode("latin-1"), "table_encoding_wrong"),
        ("", "table_empty"),
    ],
)
def test_a_table_that_cannot_be_read_stops_the_source_with_its_reason(text, told, tmp_path):
    card = make_table(tmp_path, "", {"label_column": "finding"})
    (tmp_path / "labels.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=told):
        read_all(tmp_path, card)


def test_a_skipped_picture_is_left_out_without_a_word(tmp_path):
    options = {"label_column": "finding", "skip": ["*/a.png"]}
    records, refused = read_all(tmp_path, make_table(tmp_path, "id,finding\na,horn\nb,polyp\n", options))
    assert len(records) == 1 and not refused


def test_boxes_of_several_rows_belong_to_one_picture(tmp_path):
    text = (
        "id,finding,x,y,w,h\na,polyp,10,6,10,9\na,cyst,0,0,4,3\na,polyp,5,5,0,3\nb,NORMAL,,,,\n"
        "c,polyp,30,20,15,5\nc,cyst,one,1,1,1\nc,horn,1,1,2,2\n"
    )
    box = {"columns": ["x", "y", "w", "h"], "form": "corner and size"}
    options = {"label_column": "finding", "box": box, "rows_per_image": "several", "complete": True}
    records, refused = read_all(tmp_path, make_table(tmp_path, text, options, pictures="abc"))
    first, second, third = records
    assert [region.label for region in first.regions] == ["polyp", "cyst"]
    assert first.regions[0].box == pytest.approx((0.25, 0.2, 0.5, 0.5), abs=1e-6)
    assert first.regions[1].box == pytest.approx((0, 0, 0.1, 0.1), abs=1e-6)
    assert first.region_vocabulary == ("cyst", "normal") and first.fact("annotation") == "instance box"
    assert (second.labels, second.regions, second.regions_complete) == (("normal",), (), True)
    assert third.regions == () and third.region_vocabulary == ("normal",)
    assert reasons(refused) == [
        ("img/a.png#row/3", "box_degenerate"), ("img/c.png#row/5", "box_outside_image"),
        ("img/c.png#row/6", "box_not_a_number"), ("img/c.png#row/7", "label_not_in_vocabulary"),
    ]  # fmt: skip


def test_boxes_may_come_as_shares_with_one_word_for_all(tmp_path):
    box = {"columns": ["x", "y", "w", "h"], "form": "centre and size", "unit": "shares", "label": "polyp"}
    text = "id,x,y,w,h\na,0.375,0.35,0.25,0.3\nb,,,,\n"
    records, _ = read_all(tmp_path, make_table(tmp_path, text, {"box": box}))
    assert records[0].regions[0].box == pytest.approx((0.25, 0.2, 0.5, 0.5), abs=1e-6)
    assert records[1].regions == () and not records[1].regions_complete


def test_raters_who_contradict_each_other_leave_a_label_uncertain(tmp_path):
    text = "id,polyp,cyst\na,1,0\na,0,0\nb,1,0\n"
    options = {"label_columns": ["polyp", "cyst"], "rows_per_image": "several"}
    records, _ = read_all(tmp_path, make_table(tmp_path, text, options))
    assert [(r.labels, r.absent_labels, r.fact("uncertain")) for r in records] == [
        ((), ("cyst",), "polyp"), (("polyp",), ("cyst",), "not stated")
    ]  # fmt: skip


def test_patient_split_age_and_facts_come_from_columns(tmp_path):
    text = "id,finding,who,fold,age,view\na,polyp,p1,train,63,AP\nb,NORMAL,p1,train,63,PA\nc,cyst,p2,val,101,\n"
    options = {
        "label_column": "finding", "patient_column": "who", "split_column": "fold", "age_column": "age",
        "splits": {"train": "train", "val": "validation"}, "facts": {"view": "view"},
    }  # fmt: skip
    card = make_table(tmp_path, text, options, pictures="abc", patient={"rule": "column"})
    records, refused = read_all(tmp_path, card)
    assert not refused and [r.split for r in records] == ["train", "train", "validation"]
    assert records[0].patient_key == records[1].patient_key != records[2].patient_key
    assert records[0].facts == (("age band", "60-69 years"), ("view", "AP"))
    assert records[2].facts == (("age band", "90 years and over"),)


def test_a_row_without_its_patient_or_a_known_split_is_refused(tmp_path):
    text = "id,finding,who,fold\na,polyp,,train\nb,polyp,p1,weird\n"
    options = {
        "label_column": "finding", "patient_column": "who", "split_column": "fold", "splits": {"train": "train"}
    }  # fmt: skip
    card = make_table(tmp_path, text, options, patient={"rule": "column"})
    assert reasons(read_all(tmp_path, card)[1]) == [
        ("img/a.png", "patient_unknown"), ("img/b.png", "split_not_known")
    ]  # fmt: skip


def test_pictures_are_found_by_name_in_whatever_folder(tmp_path):
    for number, name in enumerate(("one/a.png", "two/b.png", "one/c.png", "two/c.png")):
        save(tmp_path / name, shade(number))
    (tmp_path / "train.csv").write_text("file,label\na.png,polyp\nc.png,cyst\nd.png,cyst\n")
    (tmp_path / "test.csv").write_text("file,label\nb.png,NORMAL\n")
    options = {
        "tables": ["train.csv", "test.csv"], "table_splits": {"test.csv": "test"}, "label_column": "label",
        "image": "{file}", "find_by": "name", "images": ["*/*.png"],
    }  # fmt: skip
    records, refused = read_all(tmp_path, label_card("label_table", options))
    assert [(r.source_path.split("/", 1)[1], r.split) for r in records] == [
        ("two/b.png", "test"), ("one/a.png", "train")
    ]  # fmt: skip
    assert reasons(refused) == [
        ("train.csv#row/2", "file_ambiguous"), ("train.csv#row/3", "file_missing"), ("one/c.png", "row_missing"),
        ("two/c.png", "row_missing"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "told"),
    [({}, "must be given"), ({"label_column": "finding", "find_by": "name", "images": []}, "needs `images`")],
)
def test_options_that_say_nothing_are_refused(options, told, tmp_path):
    with pytest.raises(DataError, match=told):
        read_all(tmp_path, make_table(tmp_path, "id,finding\n", options))
