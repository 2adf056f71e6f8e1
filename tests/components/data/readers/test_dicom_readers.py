"""DICOM: contours to masks, photometric interpretations, frames, orientation, crops."""

import numpy as np
import pytest

from components.data.dicom import decode_frames, is_mirrored, open_dicom
from components.data.image import decode
from components.data.masks import decode_runs
from tests.fakes.formats_volumes import identity, write_series
from tests.fakes.sources import (
    BODY,
    VOLUME_OPTIONS,
    gradient,
    make_card,
    make_headers_source,
    make_rtstruct_source,
    read_all,
    write_dicom,
    write_rtstruct,
)

STILL = np.zeros((16, 24), dtype=np.int16)
STILL[2:6, 3:9] = 1000  # bright at the top left


def read_still(root, pixels, *, row=None, **tags):
    write_dicom(root / "still.dcm", pixels, **tags)
    options = {"files": [{"file": "still.dcm", "window": "full range", **(row or {})}]}
    return read_all(root, make_card("fake_headers", "dicom_headers", options, vocabulary=["cyst"]))


def bright_corner(record) -> tuple[str, str]:
    """Where the bright patch lies in a record's picture."""
    rows, columns = np.nonzero(decode(record.image)[:, :, 0] > 128)
    return (
        "top" if rows.mean() < record.height / 2 else "bottom",
        "left" if columns.mean() < record.width / 2 else "right",
    )


def test_contours_become_masks_on_their_slices_alone(tmp_path):
    records, refused = read_all(tmp_path, make_rtstruct_source(tmp_path))
    with_tumour = {(r.study_key, r.slice_index): r for r in records if r.regions}
    assert not refused and sorted(index for _, index in with_tumour) == [3, 4, 5]
    mask = decode_runs(next(iter(with_tumour.values())).regions[0].mask)
    assert mask.shape == (20, 24) and mask[6:10, 5:9].all()
    assert not mask[:5].any() and not mask[:, :4].any() and not mask[11:].any() and not mask[:, 10:].any()


def test_every_slice_of_a_contoured_series_may_be_asked_of_and_no_other(tmp_path):
    records, _ = read_all(tmp_path, make_rtstruct_source(tmp_path))
    by_patient = {r.source_path.split("/")[1]: r for r in records}
    assert by_patient["pat_1"].regions_complete and by_patient["pat_1"].region_vocabulary == ("lung tumour",)
    assert not by_patient["pat_2"].regions_complete and by_patient["pat_2"].region_vocabulary == ()


def test_a_slice_names_its_own_file_and_its_split_follows_the_patient(tmp_path):
    records, _ = read_all(tmp_path, make_rtstruct_source(tmp_path))
    assert {r.source_path for r in records if r.slice_index == 4} == {
        "fake_rt/pat_1/IMG_004.dcm", "fake_rt/pat_2/IMG_004.dcm",
    }  # fmt: skip
    assert {(r.source_path.split("/")[1], r.split) for r in records} == {("pat_1", "train"), ("pat_2", "test")}
    assert len({r.study_key for r in records}) == 2


def test_an_unknown_structure_is_refused_by_name_and_the_slices_stay(tmp_path):
    records, refused = read_all(tmp_path, make_rtstruct_source(tmp_path, roi="HEART"))
    assert [(r.where, r.reason) for r in refused] == [("pat_1#HEART", "label_not_in_vocabulary")]
    assert records and not any(r.regions for r in records)


def test_a_series_of_two_sizes_is_refused(tmp_path):
    card = make_rtstruct_source(tmp_path)
    write_dicom(
        tmp_path / "pat_2" / "odd.dcm", BODY[:10, :, 0].T, ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        ImagePositionPatient=[0, 0, 99], PixelSpacing=[2, 2],
    )  # fmt: skip
    records, refused = read_all(tmp_path, card)
    assert [(r.where, r.reason) for r in refused] == [("pat_2", "series_not_one_volume")]
    assert {r.source_path.split("/")[1] for r in records} == {"pat_1"}


def test_monochrome1_is_inverted(tmp_path):
    plain, _ = read_still(tmp_path / "a", STILL)
    inverted, _ = read_still(tmp_path / "b", STILL.max() - STILL, kind="MONOCHROME1")
    assert plain[0].sha256 == inverted[0].sha256


def test_a_palette_gives_its_colours(tmp_path):
    reds, none = np.arange(256, dtype=np.uint16) * 256, np.zeros(256, dtype=np.uint16)
    tables = {
        f"{colour}PaletteColorLookupTable{part}": value
        for colour, values in (("Red", reds), ("Green", none), ("Blue", none))
        for part, value in (("Descriptor", [256, 0, 16]), ("Data", values.tobytes()))
    }
    records, refused = read_still(tmp_path, gradient(), kind="PALETTE COLOR", **tables)
    pixels = decode(records[0].image)
    assert not refused and np.array_equal(pixels[:, :, 0], gradient()) and not pixels[:, :, 1:].any()


def test_ybr_is_converted_to_rgb(tmp_path):
    grey = np.stack([gradient(), np.full((32, 48), 128), np.full((32, 48), 128)], axis=2).astype(np.uint8)
    records, _ = read_still(tmp_path, grey, kind="YBR_FULL")
    assert np.abs(decode(records[0].image).astype(int) - gradient()[:, :, None]).max() <= 1


def test_an_unknown_interpretation_is_refused(tmp_path):
    _, refused = read_still(tmp_path, STILL, kind="CMYK")
    assert [r.reason for r in refused] == ["file_unreadable"]


def test_hounsfield_units_follow_slope_and_intercept(tmp_path):
    write_dicom(tmp_path / "a.dcm", STILL, RescaleSlope=2, RescaleIntercept=-1000)
    frames = decode_frames(open_dicom(tmp_path / "a.dcm"))
    assert frames.shape == (1, 16, 24) and frames.min() == -1000 and frames.max() == 1000


def test_frames_are_thinned_and_told_apart(tmp_path):
    cine = np.stack([np.roll(STILL, k, axis=1) for k in range(6)])
    records, _ = read_still(tmp_path, cine, row={"every": 2})
    assert [r.slice_index for r in records] == [0, 2, 4]
    assert len({r.record_id for r in records}) == 3 and len({r.patient_key for r in records}) == 1
    assert records[0].fact("frames") == "6"


@pytest.mark.parametrize(
    ("directions", "corner", "plane"),
    [
        ([1, 0, 0, 0, 1, 0], ("top", "left"), "axial"),
        ([1, 0, 0, 0, -1, 0], ("bottom", "left"), "axial"),
        ([-1, 0, 0, 0, 1, 0], ("top", "right"), "axial"),
        ([1, 0, 0, 0, 0, -1], ("top", "left"), "coronal"),
        ([-1, 0, 0, 0, 0, 1], ("bottom", "right"), "coronal"),
        ([0, 1, 0, 0, 0, -1], ("top", "left"), "sagittal"),
        ([0.7071, 0.7071, 0, 0, 0, -1], ("top", "left"), "not stated"),
    ],
)
def test_stills_are_turned_to_the_radiological_display(directions, corner, plane, tmp_path):
    records, _ = read_still(tmp_path, STILL, ImageOrientationPatient=directions)
    assert (bright_corner(records[0]), records[0].plane) == (corner, plane)


def test_a_mirrored_projection_is_mirrored_back(tmp_path):
    straight, _ = read_still(tmp_path / "a", STILL, PatientOrientation=["L", "F"])
    mirrored, _ = read_still(tmp_path / "b", STILL, PatientOrientation=["R", "F"])
    assert bright_corner(straight[0]) == ("top", "left") and bright_corner(mirrored[0]) == ("top", "right")
    assert not is_mirrored({})


def test_a_crop_keeps_its_share_and_the_card_speaks(tmp_path):
    row = {"crop": [0.5, 0.25, 1.0, 1.0], "labels": ["cyst"], "body_part": "breast", "facts": {"view": "CC"}}
    records, _ = read_still(tmp_path, STILL, row=row, ViewPosition="MLO")
    (record,) = records
    assert (record.height, record.width) == (12, 12)
    assert (record.labels, record.body_part, record.fact("view")) == (("cyst",), "breast", "CC")


def test_a_label_outside_the_vocabulary_refuses_the_record(tmp_path):
    records, refused = read_still(tmp_path, STILL, row={"labels": ["horn"]})
    assert not records and [(r.where, r.reason) for r in refused] == [("still.dcm", "label_not_in_vocabulary")]


def test_a_patient_the_header_does_not_name_is_refused_under_that_rule(tmp_path):
    card = make_headers_source(tmp_path)
    by_header = card.model_copy(update={"patient": card.patient.model_copy(update={"rule": "dicom"})})
    records, refused = read_all(tmp_path, by_header)
    assert not records and [r.reason for r in refused] == ["patient_unknown"]


def make_referring_source(root, *, refers_to="P-1.ct"):
    """TCIA's layout: series and structures in folders of their own, two series side by side."""
    write_series(root / "P-1" / "both", "P-1.ct")
    for path in (root / "P-1" / "both").iterdir():
        path.rename(path.with_name(f"ct-{path.name}"))
    write_series(root / "P-1" / "both", "P-1.late")
    (root / "P-1" / "RTSTRUCT").mkdir()
    write_rtstruct(root / "P-1" / "RTSTRUCT" / "1-1.dcm", "GTV-1", identity(refers_to)["SeriesInstanceUID"])
    options = {**VOLUME_OPTIONS, "series": "**/*.dcm", "planes": {"axial": 1, "coronal": 5}, "match": "reference"}
    return make_card("fake_tcia", "dicom_rtstruct", options, label_map={"GTV-1": "lung tumour"})


def test_contours_find_the_series_they_refer_to_wherever_it_lies(tmp_path):
    card = make_referring_source(tmp_path)
    records, refused = read_all(tmp_path, card)
    assert not refused and len({r.record_id for r in records}) == len(records)
    drawn = [r for r in records if r.regions and r.plane == "axial"]
    assert {r.source_path for r in drawn} == {f"fake_tcia/P-1/both/ct-1-{k:03d}.dcm" for k in (4, 5, 6)}
    assert {r.regions_complete for r in records} == {True, False}
    only = card.model_copy(update={"options": {**card.options, "unlabelled": "leave"}})
    assert all(r.regions_complete for r in read_all(tmp_path, only)[0])


def test_contours_of_a_series_that_is_not_there_are_named(tmp_path):
    records, refused = read_all(tmp_path, make_referring_source(tmp_path, refers_to="P-9.ct"))
    assert [(r.where, r.reason) for r in refused] == [("P-1/RTSTRUCT/1-1.dcm", "series_missing")]
    assert records and not any(r.regions_complete for r in records)


def test_a_slice_that_does_not_decode_is_named_and_the_others_are_stacked(tmp_path):
    card = make_rtstruct_source(tmp_path)
    last = tmp_path / "pat_1" / f"IMG_{BODY.shape[2] - 1:03d}.dcm"
    last.write_bytes(last.read_bytes()[:-40])
    write_rtstruct(tmp_path / "pat_2" / "plan.dcm", "none")
    retagged = (tmp_path / "pat_2" / "plan.dcm").read_bytes().replace(b".481.3", b".481.5")
    (tmp_path / "pat_2" / "plan.dcm").write_bytes(retagged)
    records, refused = read_all(tmp_path, card)
    assert [(r.where, r.reason) for r in refused] == [
        (f"pat_1/{last.name}", "file_truncated"), ("pat_2/plan.dcm", "no_pixels"),
    ]  # fmt: skip
    drawn = {r.source_path for r in records if r.regions}
    assert drawn == {f"fake_rt/pat_1/IMG_{k:03d}.dcm" for k in (3, 4, 5)}


def test_contours_are_not_drawn_past_a_gap(tmp_path):
    card = make_rtstruct_source(tmp_path)
    for patient in ("pat_1", "pat_2"):
        (tmp_path / patient / "IMG_002.dcm").unlink()
    records, refused = read_all(tmp_path, card)
    assert [(r.where, r.reason) for r in refused] == [("pat_1", "slices_missing")]
    assert {r.source_path.split("/")[1] for r in records} == {"pat_2"}  # no contours, the stored plane alone
    both = card.model_copy(update={"options": {**card.options, "planes": {"axial": 1, "coronal": 5}}})
    assert [r.where for r in read_all(tmp_path, both)[1]] == ["pat_1", "pat_2"]


def test_a_structure_without_contours_refuses_its_series_and_no_other(tmp_path):
    card = make_rtstruct_source(tmp_path)
    structure = open_dicom(tmp_path / "pat_1" / "RS.dcm")
    del structure.ROIContourSequence
    structure.save_as(tmp_path / "pat_1" / "RS.dcm")
    records, refused = read_all(tmp_path, card)
    assert [(r.where, r.reason) for r in refused] == [("pat_1", "file_unreadable")]
    assert {r.source_path.split("/")[1] for r in records} == {"pat_2"}
