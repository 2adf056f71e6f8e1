"""Reports: IU X-ray's XML, MIMIC-CXR's folders, R2Gen's annotation.json, and what is refused."""

import pytest
from pydantic import ValidationError

from components.data.readers.report_tables import Options
from components.data.report_text import join_sections, part_report, split_sections
from components.errors import CardInvalid, DatasetMissing
from components.records import record_from_row, to_rows
from tests.fakes.formats_text import (
    MIMIC_REPORT,
    MIMIC_ROWS,
    make_mimic_cxr,
    make_open_i,
    make_r2gen,
    picture,
    put,
    put_open_i,
    put_table,
)
from tests.fakes.sources import make_card, read_all

WHOLE = (
    "Findings: There is no focal consolidation, pleural effusion or pneumothorax. The heart is normal.\n"
    "Impression: No acute cardiopulmonary process."
)


def with_published(card, **changes):
    return card.model_copy(update={"options": {"published": {**card.options["published"], **changes}}})


def test_iu_xrays_report_of_two_images_is_a_record_that_names_both(tmp_path):
    (first, second, single, together), refused = read_all(tmp_path, make_open_i(tmp_path))
    assert not refused
    assert together.text == "Findings: The heart is normal.\nImpression: No acute disease."
    assert (together.text_kind, together.has_pixels, together.image) == ("report", False, b"")
    assert together.image_ids == (first.record_id, second.record_id)
    assert (first.text, second.text, first.image_ids) == ("", "", (first.record_id,))
    assert (single.text, single.labels, first.labels) == (
        "Impression: Clear.",
        ("cardiomegaly",),
        ("normal chest",),
    )
    assert {r.patient_key for r in (first, second, together)} == {together.patient_key} != {single.patient_key}


def test_a_record_without_pixels_goes_through_arrow_unchanged(tmp_path):
    import pyarrow as pa

    from components.records import record_schema

    records, _ = read_all(tmp_path, make_open_i(tmp_path))
    table = pa.Table.from_pylist(list(to_rows(records)), schema=record_schema())
    assert record_from_row(table.to_pylist()[-1]) == records[-1]


@pytest.mark.parametrize(("images", "texts"), [("first", 2), ("each", 3)])
def test_a_report_may_go_to_the_first_image_or_to_each(tmp_path, images, texts):
    card = with_published(make_open_i(tmp_path), images=images)
    records, refused = read_all(tmp_path, card)
    assert not refused and all(record.has_pixels for record in records)
    assert sum(bool(record.text) for record in records) == len(records) == texts


def test_mimic_takes_split_patient_and_views_from_the_tables(tmp_path):
    records, refused = read_all(tmp_path, make_mimic_cxr(tmp_path))
    assert not refused
    assert [(r.fact("view"), r.split, bool(r.text)) for r in records] == [
        ("PA", "train", False), ("LATERAL", "train", False), ("AP", "validation", True),
        ("not stated", "train", True),
    ]  # fmt: skip
    assert records[2].text == records[3].text == WHOLE
    assert records[3].image_ids == (records[0].record_id, records[1].record_id)
    assert len({r.patient_key for r in records}) == 2 and len({r.study_key for r in records}) == 2
    assert "10000032" not in "".join(r.patient_key + r.study_key for r in records)


def test_mimics_views_may_be_chosen(tmp_path):
    records, refused = read_all(tmp_path, with_published(make_mimic_cxr(tmp_path), views=["PA", "AP"]))
    assert not refused and [r.fact("view") for r in records] == ["PA", "AP"]
    assert all(r.text == WHOLE for r in records)


def test_mimics_tables_may_be_compressed(tmp_path):
    import gzip

    card = make_mimic_cxr(tmp_path)
    for path in list(tmp_path.glob("*.csv")):
        put(path.with_suffix(".csv.gz"), gzip.compress(path.read_bytes()))
        path.unlink()
    assert len(read_all(tmp_path, card)[0]) == 4


def test_r2gens_sections_give_the_splits(tmp_path):
    records, refused = read_all(tmp_path, make_r2gen(tmp_path))
    reports = [r for r in records if r.text]
    assert not refused and [(r.text, r.split, len(r.image_ids)) for r in reports] == [
        ("the lungs are clear 0 .", "train", 2), ("the lungs are clear 1 .", "validation", 2),
        ("the lungs are clear 2 .", "test", 2),
    ]  # fmt: skip
    assert sum(r.has_pixels for r in records) == 6


def test_a_table_may_have_findings_and_impression(tmp_path):
    put_table(tmp_path / "t.csv", [{"image": "a.png", "findings": "心影\n增大", "impression": "心脏增大"}])
    put(tmp_path / "a.png", picture())
    published = {
        "layout": "table", "tables": [{"file": "t.csv"}], "image": "{image}", "findings": "findings",
        "impression": "impression",
    }  # fmt: skip
    (record,), _ = read_all(tmp_path, make_card("t", "report_tables", {"published": published}))
    assert (record.text, record.language) == ("所见：心影 增大\n印象：心脏增大", "zh")


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>'
    "<eCitation><AbstractText Label='FINDINGS'>&b;</AbstractText></eCitation>"
)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (BOMB, "xml_entities"),
        ('<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>', "xml_entities"),
        (BOMB.encode("utf-16"), "xml_entities"),
        ("<eCitation>", "xml_unreadable"),
        ("", "xml_unreadable"),
        ("<eCitation/>", "report_without_image"),
        ('<eCitation><parentImage id="CXR2_IM-0652-1001"/></eCitation>', "text_empty"),
        ('<eCitation><parentImage id="../../x"/></eCitation>', "path_escapes_source"),
    ],
)
def test_a_bad_xml_file_is_refused_with_its_reason(tmp_path, content, reason):
    card = make_open_i(tmp_path)
    put(tmp_path / "ecgen-radiology/9.xml", content)
    records, refused = read_all(tmp_path, card)
    assert len(records) == 4
    assert [(r.where, r.reason) for r in refused] == [("ecgen-radiology/9.xml", reason)]


def test_a_set_with_an_absent_image_is_refused_and_its_other_image_stays(tmp_path):
    card = make_open_i(tmp_path)
    put_open_i(tmp_path, "CXR3", ["CXR2_IM-0652-1001", "CXR3_gone"], findings="x", impression="y")
    (tmp_path / "NLMCXR_png/CXR1_1_IM-0001-4001.png").unlink()
    records, refused = read_all(tmp_path, card)
    assert [r.source_path.split("/")[-1] for r in records] == ["CXR1_1_IM-0001-3001.png", "CXR2_IM-0652-1001.png"]
    assert sorted((r.where, r.reason) for r in refused) == [
        ("ecgen-radiology/1.xml", "file_missing"), ("ecgen-radiology/1.xml", "image_of_set_refused"),
        ("ecgen-radiology/3.xml", "file_missing"), ("ecgen-radiology/3.xml", "image_of_set_refused"),
        ("ecgen-radiology/3.xml", "image_of_two_patients"),
    ]  # fmt: skip


def test_images_of_a_set_must_share_a_split(tmp_path):
    card = make_r2gen(tmp_path).model_copy(update={"patient": {"rule": "file"}})
    options = {k: v for k, v in card.options["published"].items() if k != "split"}
    split = {"rule": "fixed", "default": "train", "assign": {"*/1.png": "test"}}
    torn = make_card("r2gen_iu", "report_tables", {"published": options}, split=split)
    records, refused = read_all(tmp_path, torn)
    assert len(records) == 6 and {r.reason for r in refused} == {"images_in_different_splits"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"subject_id": "../../1"}, "id_malformed"),
        ({"dicom_id": "../x"}, "id_malformed"),
        ({"split": "holdout"}, "split_unknown"),
        ({"study_id": "50000000"}, "file_missing"),
    ],
)
def test_a_bad_row_of_mimics_tables_is_refused(tmp_path, change, reason):
    card = make_mimic_cxr(tmp_path)
    put_table(tmp_path / "mimic-cxr-2.0.0-split.csv", [*MIMIC_ROWS[:2], MIMIC_ROWS[2] | change])
    records, refused = read_all(tmp_path, card)
    assert len(records) == 3 and [r.reason for r in refused] == [reason]


@pytest.mark.parametrize(
    ("report", "reason"),
    [(b"WET READ: nothing", "report_without_sections"), (b"\xff\xfe", "text_not_unicode"), (None, "file_missing")],
)
def test_a_bad_report_of_mimic_is_refused(tmp_path, report, reason):
    card = make_mimic_cxr(tmp_path)
    path = tmp_path / "files/p10/p10000764/s53911762.txt"
    path.unlink()
    if report is not None:
        put(path, report)
    records, refused = read_all(tmp_path, card)
    assert len(records) == 3
    assert [(r.where, r.reason) for r in refused] == [("files/p10/p10000764/s53911762.txt", reason)]


def test_tables_that_are_absent_or_others_stop_the_source(tmp_path):
    card = make_mimic_cxr(tmp_path)
    put(tmp_path / "mimic-cxr-2.0.0-split.csv", "a,b\n1,2\n")
    with pytest.raises(CardInvalid, match="no column dicom_id"):
        read_all(tmp_path, card)
    (tmp_path / "mimic-cxr-2.0.0-split.csv").unlink()
    with pytest.raises(DatasetMissing, match="split"):
        read_all(tmp_path, card)


def test_a_table_names_its_report_in_one_way():
    table = {"layout": "table", "tables": [{"file": "t"}], "image": "x"}
    for columns in ({}, {"report": "r", "findings": "f"}):
        with pytest.raises(ValidationError, match="either `report`"):
            Options.model_validate({"published": table | columns})


def test_sections_are_parted_and_joined_without_loss():
    sections = part_report(MIMIC_REPORT)
    assert join_sections(sections) == WHOLE and split_sections(WHOLE) == sections
    assert split_sections("the lungs are clear .") == {}
    chinese = join_sections({"findings": "清晰。", "impression": "正常。"}, language="zh")
    assert split_sections(chinese) == {"findings": "清晰。", "impression": "正常。"}
    assert part_report("CONCLUSION: Fine.\nIMPRESSION: Good.") == {"impression": "Fine. Good."}
    assert part_report("nothing") == {}
