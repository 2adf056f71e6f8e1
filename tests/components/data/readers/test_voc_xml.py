"""Pascal VOC: boxes to a millionth, what is difficult, and XML files that do not fit."""

import pytest

from tests.fakes.formats_labels import make_voc, save, voc_document, voc_object
from tests.fakes.sources import read_all


def reasons(refused):
    return [(r.where, r.reason) for r in refused]


def test_the_golden_record(tmp_path):
    (record,), refused = read_all(tmp_path, make_voc(tmp_path))
    (region,) = record.regions
    assert not refused and record.source_path == "fake_voc_xml/JPEGImages/a.png"
    assert (region.label, region.mask, region.area_fraction) == ("polyp", "", 0.0)
    assert region.box == pytest.approx((0.25, 0.2, 0.5, 0.5), abs=1e-6)
    assert record.region_vocabulary == ("cyst", "normal", "polyp") and record.regions_complete
    assert record.facts == (("annotation", "instance box"), ("difficult objects", "1"))


def test_the_first_pixel_may_be_zero(tmp_path):
    card = make_voc(tmp_path, voc_object("polyp", (10, 6, 20, 15)), options={"first_pixel": 0})
    assert read_all(tmp_path, card)[0][0].regions[0].box == pytest.approx((0.25, 0.2, 0.5, 0.5), abs=1e-6)


def test_a_difficult_object_left_out_leaves_its_label_open(tmp_path):
    objects = voc_object("polyp", (11, 7, 20, 15), difficult=1, truncated=1) + voc_object("cyst", (1, 1, 5, 5))
    card = make_voc(tmp_path, objects, options={"skip_difficult": True})
    (record,), refused = read_all(tmp_path, card)
    assert not refused and [region.label for region in record.regions] == ["cyst"]
    assert record.region_vocabulary == ("cyst", "normal") and record.fact("truncated objects") == "1"


def test_bad_objects_are_refused_one_by_one(tmp_path):
    objects = (
        voc_object("polyp", (11, 7, 11, 5)) + voc_object("horn", (1, 1, 5, 5)) + voc_object("cyst", (1, 1, 50, 5))
        + voc_object("scar", (9, 9, 1, 1)) + "<object><name>cyst</name></object>"
        + voc_object("NORMAL", (0, 0, 41, 30))
    )  # fmt: skip
    (record,), refused = read_all(tmp_path, make_voc(tmp_path, objects))
    assert [(region.label, region.box) for region in record.regions] == [("normal", (0, 0, 1, 1))]
    assert record.region_vocabulary == ("normal",) and reasons(refused) == [
        ("JPEGImages/a.png#object/0", "box_degenerate"), ("JPEGImages/a.png#object/1", "label_not_in_vocabulary"),
        ("JPEGImages/a.png#object/2", "box_outside_image"), ("JPEGImages/a.png#object/4", "box_not_a_number"),
    ]  # fmt: skip


def test_bad_files_are_refused_and_the_good_one_stays(tmp_path):
    card = make_voc(tmp_path, options={"images": ["JPEGImages/*.png"]})
    save(tmp_path / "JPEGImages" / "b.png")
    for name in "dg":
        (tmp_path / "JPEGImages" / f"{name}.png").write_bytes(b"" if name == "d" else b"not a picture" * 9)
    entity = (
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><filename>&x;</filename></annotation>'
    )
    files = {
        "aa": voc_document("a.png", ""), "b": voc_document("b.png", "", width=99),
        "c": voc_document("absent.png", ""), "d": voc_document("d.png", ""), "e": entity,
        "f": "<annotation><object>", "g": voc_document("g.png", ""),
        "h": voc_document("../../../etc/passwd", ""), "i": "<html></html>", "j": "",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / "Annotations" / f"{name}.xml").write_text(text)
    records, refused = read_all(tmp_path, card)
    assert len(records) == 1 and reasons(refused) == [
        ("Annotations/aa.xml", "annotation_repeated"), ("Annotations/b.xml", "image_size_differs"),
        ("Annotations/c.xml", "file_missing"), ("Annotations/d.xml", "file_empty"),
        ("Annotations/e.xml", "xml_entities_refused"), ("Annotations/f.xml", "xml_malformed"),
        ("Annotations/g.xml", "file_unreadable"), ("Annotations/h.xml", "path_escapes_source"),
        ("Annotations/i.xml", "xml_not_voc"), ("Annotations/j.xml", "file_empty"),
    ]  # fmt: skip


def test_a_skipped_picture_is_left_out_without_a_word(tmp_path):
    card = make_voc(tmp_path, options={"skip": ["JPEGImages/*"], "images": ["JPEGImages/*.png"]})
    assert read_all(tmp_path, card) == ([], [])


def test_a_picture_without_xml_is_counted_and_an_empty_one_shows_nothing(tmp_path):
    card = make_voc(tmp_path, "", options={"images": ["JPEGImages/*.png"], "image": "JPEGImages/{stem}.png"})
    save(tmp_path / "JPEGImages" / "b.png")
    (record,), refused = read_all(tmp_path, card)
    assert record.regions == () and record.regions_complete
    assert reasons(refused) == [("JPEGImages/b.png", "annotation_missing")]
