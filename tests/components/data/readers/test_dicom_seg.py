"""DICOM SEG over its series: golden boxes for every kind, names, and what is refused."""

import numpy as np
import pydicom
import pytest

from components.errors import DatasetMissing
from tests.fakes.formats_volumes import (
    KIDNEY_BOX,
    LIVER_BOX,
    changed,
    make_seg_source,
    write_seg,
    write_series,
)
from tests.fakes.sources import BODY_LABELS, LIVER, SPACING, read_all

SEG = "P-1/seg/1-1.dcm"


def told(refused):
    return [(rejection.where, rejection.reason) for rejection in refused]


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_segments_are_regions_at_their_golden_places(kind, tmp_path):
    card = make_seg_source(tmp_path)
    write_seg(tmp_path / SEG, "P-1.ct", BODY_LABELS, kind)
    records, refused = read_all(tmp_path, card)
    assert not refused and {r.source_path.split("/")[1] for r in records} == {"P-1"}
    (record,) = [r for r in records if r.source_path == "fake_seg/P-1/ct/1-005.dcm"]
    found = {(region.label, region.side): region.box for region in record.regions}
    assert found == {
        ("liver", "not stated"): pytest.approx(LIVER_BOX), ("kidney", "left"): pytest.approx(KIDNEY_BOX),
    }  # fmt: skip


def test_only_what_a_seg_names_may_be_called_absent(tmp_path):
    records, _ = read_all(tmp_path, make_seg_source(tmp_path))
    empty = next(r for r in records if r.slice_index == 0)
    assert empty.regions_complete and empty.region_vocabulary == ("kidney", "liver")


def test_two_segs_of_one_series_are_laid_into_one_volume(tmp_path):
    card = make_seg_source(tmp_path)
    only_liver = np.where(BODY_LABELS == LIVER, LIVER, 0)
    write_seg(tmp_path / SEG, "P-1.ct", only_liver)
    write_seg(tmp_path / "P-1" / "seg" / "1-2.dcm", "P-1.ct", BODY_LABELS - only_liver, SOPInstanceUID="1.2.77")
    records, refused = read_all(tmp_path, card)
    assert not refused and len({r.record_id for r in records}) == len(records)
    assert {len(r.regions) for r in records if r.slice_index == 4 and r.plane == "axial"} == {2}


def test_a_series_without_a_seg_may_be_kept_without_claims(tmp_path):
    card = changed(make_seg_source(tmp_path), {"unlabelled": "keep"})
    records, refused = read_all(tmp_path, card)
    assert not refused and {(r.source_path.split("/")[1], r.regions_complete) for r in records} == {
        ("P-1", True), ("P-2", False),
    }  # fmt: skip


@pytest.mark.parametrize(("name", "label"), [("code", "SCT:10200004"), ("label", "Doe Liver 1")])
def test_a_segment_may_go_by_its_code_or_its_own_label(name, label, tmp_path):
    card = make_seg_source(tmp_path)
    terms = {label: "liver", "SCT:64033007": "kidney", "Doe Kidney 2": "kidney"}
    records, refused = read_all(tmp_path, changed(card, {"name": name}, label_map=terms))
    assert not refused and {region.label for r in records for region in r.regions} == {"liver", "kidney"}


def test_a_segment_the_card_does_not_know_is_refused_and_the_rest_stays(tmp_path):
    card = make_seg_source(tmp_path)
    records, refused = read_all(tmp_path, changed(card, label_map={"Liver": "liver"}))
    assert told(refused) == [("P-1/ct#Kidney, Left", "label_not_in_vocabulary")]
    assert {r.region_vocabulary for r in records if r.slice_index == 0} == {("liver",)}


def edit(path, change):
    data = pydicom.dcmread(path)
    change(data)
    data.save_as(path)


def shift(data):
    for group in data.PerFrameFunctionalGroupsSequence:
        group.PlanePositionSequence[0].ImagePositionPatient[0] += 3 * SPACING[0]


def turn(data):
    standing = data.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    standing.ImageOrientationPatient = [-1, 0, 0, 0, 1, 0]


def point_elsewhere(data):
    data.ReferencedSeriesSequence[0].SeriesInstanceUID = "1.2.3"


SPOILERS = {
    "shifted": (shift, "mask_grid_differs"),
    "turned": (turn, "mask_grid_differs"),
    "elsewhere": (point_elsewhere, "series_missing"),
    "refers to nothing": (lambda data: delattr(data, "ReferencedSeriesSequence"), "series_missing"),
    "no frames' places": (lambda data: delattr(data, "PerFrameFunctionalGroupsSequence"), "mask_grid_differs"),
    "no pixels": (lambda data: delattr(data, "PixelData"), "no_pixels"),
    "no segments": (lambda data: delattr(data, "SegmentSequence"), "file_unreadable"),
}


@pytest.mark.parametrize("name", sorted(SPOILERS))
def test_a_seg_that_does_not_fit_is_refused_by_name_and_claims_nothing(name, tmp_path):
    card = make_seg_source(tmp_path)
    change, reason = SPOILERS[name]
    edit(tmp_path / SEG, change)
    records, refused = read_all(tmp_path, card)
    assert told(refused) == [(SEG, reason)] and not any(r.regions for r in records)


def test_a_seg_of_another_size_and_a_broken_series_are_refused(tmp_path):
    card = make_seg_source(tmp_path)
    write_seg(tmp_path / SEG, "P-1.ct", BODY_LABELS[:20])
    assert told(read_all(tmp_path, card)[1]) == [(SEG, "mask_size_differs")]
    write_seg(tmp_path / SEG, "P-1.ct", BODY_LABELS)
    edit(tmp_path / "P-1" / "ct" / "1-003.dcm", lambda data: delattr(data, "ImagePositionPatient"))
    assert told(read_all(tmp_path, card)[1]) == [("P-1/ct#series/00", "series_not_one_volume")]


def test_two_series_of_a_folder_keep_their_own_segments(tmp_path):
    card = make_seg_source(tmp_path)
    for path in (tmp_path / "P-2" / "ct").iterdir():
        path.unlink()
    write_series(tmp_path / "P-2" / "ct", "P-2.late")
    for path in (tmp_path / "P-2" / "ct").iterdir():
        path.rename(tmp_path / "P-1" / "ct" / f"late-{path.name}")
    write_seg(tmp_path / "P-2" / "seg.dcm", "P-2.late", BODY_LABELS)
    records, refused = read_all(tmp_path, card)
    assert not refused and len({r.record_id for r in records}) == len(records)
    assert len([r for r in records if r.plane == "coronal"]) == 2 * 3


def test_nobody_is_named_and_an_absent_source_is_missing(tmp_path):
    card = make_seg_source(tmp_path)
    records, _ = read_all(tmp_path, card)
    assert "Doe" not in repr([(r.facts, r.regions, r.patient_key, r.study_key) for r in records])
    with pytest.raises(DatasetMissing, match="no file matches"):
        read_all(tmp_path, changed(card, {"files": "nowhere/*"}))
