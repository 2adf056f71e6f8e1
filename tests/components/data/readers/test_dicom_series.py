"""DICOM series without contours: volumes, enhanced frames, cines, stills; golden places; what is refused."""

import numpy as np
import pytest

from components.data.image import decode
from components.errors import CardInvalid, DatasetMissing
from tests.fakes.formats_volumes import (
    KIDNEY_BOX,
    LABEL_NAMES,
    LIVER_BOX,
    ORGANS,
    changed,
    identity,
    make_series_source,
    write_enhanced,
    write_series,
)
from tests.fakes.sources import BODY, BODY_LABELS, gradient, read_all, write_dicom, write_nifti


def reasons(refused):
    return [rejection.reason for rejection in refused]


def only(card, **options):
    """The card without its table and its other series."""
    return changed(card, {"table": None, "planes": {"axial": 1}, **options})


def test_series_of_a_study_are_told_apart_and_share_the_study(tmp_path):
    records, refused = read_all(tmp_path, make_series_source(tmp_path))
    assert not refused
    of_first = [r for r in records if "/P-1/" in r.source_path]
    assert {(r.modality, r.labels) for r in of_first} == {("CT", ("liver tumour",)), ("PET", ("liver tumour",))}
    assert {r.labels for r in records if "/P-2/" in r.source_path} == {()}
    assert len({r.patient_key for r in records}) == 2 and {r.plane for r in records} == {"axial", "coronal"}


def test_an_axial_slice_is_shown_radiologically_and_names_its_own_file(tmp_path):
    card = only(make_series_source(tmp_path))
    records, _ = read_all(tmp_path, card)
    (record,) = [r for r in records if r.source_path == "fake_series/P-2/study/thin/1-005.dcm"]
    pixels = decode(record.image)[:, :, 0]
    assert record.slice_index == 4 and pixels.shape == (20, 24)
    assert pixels[12, 17] > pixels[8, 6] > pixels[8, 12] > pixels[0, 0] == 0  # kidney, liver, muscle, air


def test_slices_are_ordered_by_place_whatever_their_names_and_order(tmp_path):
    card = only(make_series_source(tmp_path))
    write_series(tmp_path / "P-3", "P-3.thin", BODY[:, :, ::-1])
    for k, path in enumerate(sorted((tmp_path / "P-3").iterdir())):
        path.rename(path.with_name(f"IM{(k * 7) % 12}"))
    records, refused = read_all(tmp_path, changed(card, {"files": "P-3/*"}))
    assert not refused and [r.slice_index for r in records] == list(range(12))
    bright = [decode(record.image).max() for record in records]
    assert [index for index, value in enumerate(bright) if value == max(bright)] == [6, 7, 8, 9]  # the kidney


def test_a_label_volume_beside_the_series_gives_golden_boxes(tmp_path):
    card = make_series_source(tmp_path)
    for patient in ("P-1", "P-2"):
        write_nifti(tmp_path / "labels" / f"{patient}.nii.gz", BODY_LABELS, "RAS")
    options = {
        "files": "{patient}/study/thin/*.dcm",
        "labels": "labels/{patient}.nii.gz",
        "label_names": LABEL_NAMES,
    }
    records, refused = read_all(tmp_path, changed(only(card, **options), label_map=ORGANS))
    assert not refused
    for record in (r for r in records if r.slice_index == 4):
        found = {(region.label, region.side): region.box for region in record.regions}
        assert found[("liver", "not stated")] == pytest.approx(LIVER_BOX)
        assert found[("kidney", "left")] == pytest.approx(KIDNEY_BOX)


def test_an_enhanced_file_is_the_same_volume_as_its_slices(tmp_path):
    card = only(make_series_source(tmp_path), files="*.dcm", windows=["full range"], planes={"coronal": 5})
    write_enhanced(tmp_path / "one.dcm")
    records, refused = read_all(tmp_path, card)
    slices, _ = read_all(tmp_path, changed(card, {"files": "P-2/**/*.dcm"}))
    assert not refused and len(records) > 1
    assert [r.sha256 for r in records] == [r.sha256 for r in slices]
    assert {r.source_path for r in records} == {"fake_series/one.dcm"}


def test_repeated_places_are_phases_of_one_series(tmp_path):
    card = only(make_series_source(tmp_path), files="P-4/*.dcm")
    write_series(tmp_path / "P-4", "P-4.cine")
    for k in range(12):
        (tmp_path / "P-4" / f"1-{k + 1:03d}.dcm").rename(tmp_path / "P-4" / f"0-{k:03d}.dcm")
    write_series(tmp_path / "P-4", "P-4.cine", BODY + 20)
    for k, path in enumerate(sorted((tmp_path / "P-4").glob("1-*"))):
        retag(path, InstanceNumber=100 + k, SOPInstanceUID=f"1.2.9.{k}")
    records, refused = read_all(tmp_path, card)
    assert not refused and len(records) == 24 and len({r.record_id for r in records}) == 24
    next(iter((tmp_path / "P-4").glob("1-*"))).unlink()
    assert reasons(read_all(tmp_path, card)[1]) == ["series_not_one_volume"]


def retag(path, **tags):
    import pydicom

    data = pydicom.dcmread(path)
    for keyword, value in tags.items():
        setattr(data, keyword, value)
    data.save_as(path)


def test_a_cine_gives_every_nth_frame_without_its_banner(tmp_path):
    card = only(
        make_series_source(tmp_path), files="us/*.dcm", every_frame=3, crop=[0, 0.25, 1, 1], windows=["stored"]
    )
    colours = np.stack([np.stack([np.roll(gradient(), k, axis=1)] * 3, axis=2) for k in range(7)])
    write_dicom(tmp_path / "us" / "a.dcm", colours, kind="RGB", Modality="US", **identity("us.a"))
    records, refused = read_all(tmp_path, card)
    assert not refused and [r.slice_index for r in records] == [0, 3, 6]
    assert {(r.modality, r.plane, r.height, r.fact("frames")) for r in records} == {
        ("Ultrasound", "not stated", 24, "7")
    }  # fmt: skip


def test_stills_of_one_folder_are_one_record_each(tmp_path):
    card = only(make_series_source(tmp_path), files="xr/*.dcm", windows=["full range"])
    for number in range(3):
        told = {**identity(f"xr{number}.a"), "Modality": "DX", "ViewPosition": "PA"}
        write_dicom(tmp_path / "xr" / f"{number}.dcm", np.roll(gradient(), number).astype(np.int16), **told)
    records, refused = read_all(tmp_path, card)
    assert not refused and len(records) == 3 == len({r.patient_key for r in records})
    assert {(r.modality, r.fact("view")) for r in records} == {("X-ray", "PA")}


SYNTAXES = {
    "RLE": "1.2.840.10008.1.2.5", "JPEG-LS": "1.2.840.10008.1.2.4.80", "JPEG 2000": "1.2.840.10008.1.2.4.90",
}  # fmt: skip


@pytest.mark.parametrize("syntax", sorted(SYNTAXES))
def test_compressed_syntaxes_give_the_same_pixels(syntax, tmp_path):
    card = only(make_series_source(tmp_path), files="P-2/**/*.dcm")
    for path in (tmp_path / "P-2").rglob("*.dcm"):
        retag(path, BitsStored=12, HighBit=11)
    plain, _ = read_all(tmp_path, card)
    for path in (tmp_path / "P-2").rglob("*.dcm"):
        compress(path, syntax)
    packed, refused = read_all(tmp_path, card)
    assert not refused and [r.sha256 for r in packed] == [r.sha256 for r in plain]


def compress(path, syntax):
    import imagecodecs
    import pydicom
    from pydicom.encaps import encapsulate

    data = pydicom.dcmread(path)
    if syntax == "RLE":
        data.compress(SYNTAXES[syntax], generate_instance_uid=False)
    else:
        pixels = data.pixel_array
        if syntax == "JPEG-LS":  # of unsigned values alone
            pixels, data.PixelRepresentation = (pixels + 1000).astype(np.uint16), 0
            data.RescaleSlope, data.RescaleIntercept = 1, -1000
        encode = imagecodecs.jpegls_encode if syntax == "JPEG-LS" else imagecodecs.jpeg2k_encode
        more = {} if syntax == "JPEG-LS" else {"reversible": True, "codecformat": "j2k", "bitspersample": 16}
        if more:
            data.BitsStored, data.HighBit = 16, 15
        data.PixelData = encapsulate([encode(np.ascontiguousarray(pixels), level=0, **more)])
        data.file_meta.TransferSyntaxUID = SYNTAXES[syntax]
    data.save_as(path)


def lose_pixels(path):
    import pydicom

    data = pydicom.dcmread(path)
    del data.PixelData
    data.save_as(path)


def with_copy(path):
    path.with_name("copy.dcm").write_bytes(path.read_bytes())


SPOILERS = {
    "no_pixels": lose_pixels,
    "series_not_one_volume": lambda path: retag(path, ImageOrientationPatient=[0, 1, 0, 0, 0, -1]),
    "slices_missing": lambda path: path.unlink(),
    "instance_repeated": with_copy,
    "file_truncated": lambda path: path.write_bytes(path.read_bytes()[:-100]),
}


@pytest.mark.parametrize("reason", sorted(SPOILERS))
def test_bad_files_are_refused_by_name(reason, tmp_path):
    card = changed(make_series_source(tmp_path), {"files": "P-2/**/*.dcm", "table": None})
    SPOILERS[reason](tmp_path / "P-2" / "study" / "thin" / "1-006.dcm")
    records, refused = read_all(tmp_path, card)
    assert reasons(refused) == [reason] or reason == "file_truncated"
    assert refused and bool(records) == (reason == "instance_repeated")


def test_a_missing_slice_does_no_harm_in_the_stored_plane(tmp_path):
    card = only(make_series_source(tmp_path), files="P-2/**/*.dcm")
    (tmp_path / "P-2" / "study" / "thin" / "1-006.dcm").unlink()
    records, refused = read_all(tmp_path, card)
    assert not refused and len(records) == 11


def test_plans_and_reports_are_no_images_and_short_series_are_refused(tmp_path):
    card = only(make_series_source(tmp_path), files="P-2/**/*.dcm", min_slices=5)
    write_series(tmp_path / "P-2" / "scout", "P-2.scout", BODY[:, :, :2])
    write_series(tmp_path / "P-2" / "dose", "P-2.dose", BODY[:, :, :1], Modality="RTDOSE")
    records, refused = read_all(tmp_path, card)
    assert [(r.where, r.reason) for r in refused] == [("P-2/scout#series/00", "series_too_short")]
    assert len(records) == 12


def test_a_class_of_the_table_that_the_card_does_not_know_refuses_the_series(tmp_path):
    card = make_series_source(tmp_path)
    (tmp_path / "classes.csv").write_text("patient,finding\nSECRET-P-1,horn\n")
    _, refused = read_all(tmp_path, card)
    assert reasons(refused) == ["class_not_in_vocabulary", "class_not_in_vocabulary", "row_missing"]


def test_header_values_of_the_wrong_shape_are_refused_and_not_raised(tmp_path):
    card = only(make_series_source(tmp_path), files="P-2/**/*.dcm")
    for path in (tmp_path / "P-2").rglob("*.dcm"):
        retag(path, PixelSpacing=2.0)
    records, refused = read_all(tmp_path, card)
    assert not records and reasons(refused) == ["file_unreadable"]


def test_nobody_is_named_anywhere(tmp_path):
    records, refused = read_all(tmp_path, make_series_source(tmp_path))
    told = repr([(r.facts, r.patient_key, r.study_key, r.source_path, r.labels) for r in records]) + repr(refused)
    assert "SECRET" not in told and "Doe" not in told and "1.2.826" not in told


def test_an_absent_series_and_a_wrong_card_stop_the_source(tmp_path):
    card = make_series_source(tmp_path)
    with pytest.raises(DatasetMissing, match="no file matches"):
        read_all(tmp_path, only(card, files="nowhere/*.dcm"))
    with pytest.raises(CardInvalid, match="did you mean 'files'"):
        read_all(tmp_path, only(card, file="x"))
