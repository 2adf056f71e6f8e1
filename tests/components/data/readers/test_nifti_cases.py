"""Cases of volumes: golden boxes in every layout and axis order, and what is refused by which name."""

import gzip

import numpy as np
import pytest

from components.data.image import decode
from components.data.masks import decode_runs
from components.errors import CardInvalid, DataError, DatasetMissing
from components.pairs.facts import absent_labels
from tests.fakes.formats_volumes import (
    CASE_MAKERS,
    KIDNEY_BOX,
    LIVER_BOX,
    changed,
    make_bids_source,
    make_decathlon_source,
    make_mask_files_source,
    make_metaimage_source,
    make_sequences_source,
    write_metaimage,
    write_plain_nifti,
)
from tests.fakes.sources import BODY, BODY_LABELS, LIVER, lps_affine, read_all, write_nifti

LABELLED = (make_decathlon_source, make_sequences_source, make_mask_files_source, make_metaimage_source)


def at_slice(records, index):
    return [record for record in records if record.slice_index == index]


def reasons(refused):
    return [rejection.reason for rejection in refused]


@pytest.mark.parametrize("maker", LABELLED, ids=lambda maker: maker.__name__)
def test_every_layout_gives_the_same_golden_boxes(maker, tmp_path):
    records, refused = read_all(tmp_path, maker(tmp_path))
    assert not refused and records
    for record in at_slice(records, 4):
        found = {(region.label, region.side): region.box for region in record.regions}
        assert found == {
            ("liver", "not stated"): pytest.approx(LIVER_BOX), ("kidney", "left"): pytest.approx(KIDNEY_BOX),
        }  # fmt: skip
        assert record.plane == "axial" and record.regions_complete


@pytest.mark.parametrize("axes", ["LPS", "RAS", "SPL", "AIR"])
def test_the_patients_right_is_on_the_left_however_the_file_lies(axes, tmp_path):
    records, _ = read_all(tmp_path, make_decathlon_source(tmp_path, axes))
    (record, *_) = at_slice(records, 4)
    liver = next(region for region in record.regions if region.label == "liver")
    assert liver.box == pytest.approx(LIVER_BOX)
    assert np.array_equal(decode_runs(liver.mask), (BODY_LABELS[:, :, 4] == LIVER).T)
    pixels = decode(record.image)[:, :, 0]
    assert pixels[8, 6] > pixels[8, 12] > pixels[0, 0] == 0  # liver on the left, muscle, air


def test_a_cases_sequences_are_records_of_one_study(tmp_path):
    records, _ = read_all(tmp_path, make_sequences_source(tmp_path))
    assert {(r.fact("sequence"), r.window) for r in records} == {
        ("FLAIR", "percentile 1-99"), ("T1-weighted", "full range"),
    }  # fmt: skip
    assert len({r.study_key for r in records}) == 2 and len({r.patient_key for r in records}) == 2
    assert {(r.source_path.split("/")[1], r.labels) for r in records} == {
        ("HGG", ("high-grade glioma",)), ("LGG", ("low-grade glioma",)),
    }  # fmt: skip


def test_class_names_of_folders_are_no_part_of_the_label_volumes_vocabulary(tmp_path):
    records, _ = read_all(tmp_path, make_sequences_source(tmp_path))
    assert {record.region_vocabulary for record in records} == {("kidney", "liver")}


def test_only_labels_with_a_mask_file_may_be_called_absent(tmp_path):
    records, _ = read_all(tmp_path, make_mask_files_source(tmp_path))
    assert {record.region_vocabulary for record in at_slice(records, 0)} == {("kidney", "liver")}


def test_a_smaller_mask_lies_over_a_larger_whatever_their_names(tmp_path):
    card = make_mask_files_source(tmp_path)
    inner = np.zeros_like(BODY_LABELS)
    inner[5:8, 6:9, 3:8] = 1
    for name in ("a_lesion", "z_lesion"):
        write_nifti(tmp_path / "s0001" / "segmentations" / f"{name}.nii.gz", inner)
    terms = {**card.label_map, "a_lesion": "liver lesion", "z_lesion": ""}
    (record, *_) = at_slice(read_all(tmp_path, changed(card, label_map=terms))[0], 4)
    found = {region.label: round(region.area_fraction * 480) for region in record.regions}
    assert found["liver lesion"] == 9 and found["liver"] == 36 - 9


def test_a_bids_table_gives_sex_decade_and_class(tmp_path):
    records, refused = read_all(tmp_path, make_bids_source(tmp_path))
    told = {(r.source_path.split("/")[1], r.fact("sex"), r.fact("age band"), r.labels) for r in records}
    assert told == {
        ("sub-01", "female", "60-69 years", ("Alzheimer disease",)), ("sub-02", "male", "90 years and over", ()),
    }  # fmt: skip
    assert not refused and {r.plane for r in records} == {"sagittal"}


def test_a_case_without_its_row_is_refused_when_the_table_gives_the_class(tmp_path):
    card = make_bids_source(tmp_path)
    table = tmp_path / "participants.tsv"
    table.write_text(table.read_text().replace("sub-02", "sub-09").replace("\tAD", "\tMCI"))
    assert reasons(read_all(tmp_path, card)[1]) == ["class_not_in_vocabulary", "row_missing"]


def test_two_differing_rows_of_one_case_are_counted(tmp_path):
    card = make_bids_source(tmp_path)
    with (tmp_path / "participants.tsv").open("a") as handle:
        handle.write("sub-01\tM\t20\tAD\nsub-02\tM\t95\tn/a\n")
    _, refused = read_all(tmp_path, card)
    assert [(r.where, r.reason) for r in refused] == [("participants.tsv#row 4", "row_repeated")]


def test_a_table_that_is_absent_or_lacks_its_column_stops_the_source(tmp_path):
    card = make_bids_source(tmp_path)
    (tmp_path / "participants.tsv").write_text("id,sex\n")
    with pytest.raises(DataError, match="no column 'age'"):
        read_all(tmp_path, card)
    (tmp_path / "participants.tsv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not a table"):
        read_all(tmp_path, card)
    (tmp_path / "participants.tsv").unlink()
    with pytest.raises(DatasetMissing, match="absent"):
        read_all(tmp_path, card)


def test_an_uncompressed_file_gives_the_same_pixels_as_a_compressed_one(tmp_path):
    card = make_decathlon_source(tmp_path)
    packed, _ = read_all(tmp_path, card)
    for path in tmp_path.rglob("*.nii.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    plain = {"images": [{"path": "imagesTr/{case}_0000.nii"}], "labels": "labelsTr/{case}.nii"}
    unpacked, refused = read_all(tmp_path, changed(card, plain))
    assert not refused and [r.sha256 for r in packed] == [r.sha256 for r in unpacked]
    assert [r.regions for r in packed] == [r.regions for r in unpacked]


def test_channels_of_the_fourth_axis_are_sequences(tmp_path):
    write_plain_nifti(tmp_path / "a.nii.gz", np.stack([BODY, BODY + 100, BODY + 200], axis=-1))
    write_plain_nifti(tmp_path / "a_seg.nii.gz", BODY_LABELS[..., None])
    card = make_decathlon_source(tmp_path / "other")
    images = {"path": "{case}.nii.gz", "exclude": ["*_seg.nii.gz"], "channels": ["FLAIR", "", "T2-weighted"]}
    records, refused = read_all(tmp_path, changed(card, {"images": [images], "labels": "{case}_seg.nii.gz"}))
    assert not refused and {r.fact("sequence") for r in records} == {"FLAIR", "T2-weighted"}
    assert all(r.regions for r in at_slice(records, 4)) and len(at_slice(records, 4)) == 2
    few = {"images": [{**images, "channels": ["FLAIR"]}], "labels": ""}
    assert reasons(read_all(tmp_path, changed(card, few))[1]) == ["channels_differ"]


def test_frames_of_a_series_take_the_labels_of_their_time(tmp_path):
    write_plain_nifti(tmp_path / "a.nii.gz", np.stack([BODY, BODY, BODY], axis=-1))
    empty = np.zeros_like(BODY_LABELS)
    write_plain_nifti(tmp_path / "a_gt.nii.gz", np.stack([empty, empty, BODY_LABELS], axis=-1))
    card = make_decathlon_source(tmp_path / "other")
    images = {"path": "{case:a}.nii.gz", "every_frame": 2}
    records, refused = read_all(tmp_path, changed(card, {"images": [images], "labels": "{case}_gt.nii.gz"}))
    assert not refused and [len(r.regions) for r in at_slice(records, 4)] == [0, 2]


def test_a_picture_in_a_volume_file_is_shown_as_it_lies(tmp_path):
    write_plain_nifti(tmp_path / "a_2CH.nii", BODY[:, :, 4] + 1000, np.eye(4), code=0)
    write_plain_nifti(tmp_path / "a_2CH_gt.nii", BODY_LABELS[:, :, 4], np.eye(4), code=0)
    card = make_decathlon_source(tmp_path / "other")
    options = {"images": [{"path": "{case}_{view:2CH|4CH}.nii"}], "labels": "{case}_{view}_gt.nii"}
    options |= {"orientation": "stored", "windows": ["full range"], "background": 0}
    options |= {"facts_from": {"view": "apical {view}"}}
    records, refused = read_all(tmp_path, changed(card, options))
    (record,) = records
    assert not refused and (record.plane, record.fact("view")) == ("not stated", "apical 2CH")
    assert {region.label: region.box for region in record.regions}["liver"] == pytest.approx(LIVER_BOX)


def test_a_stated_orientation_stands_in_for_a_header_without_one(tmp_path):
    card = make_decathlon_source(tmp_path, "RAS")
    for path in tmp_path.rglob("*.nii.gz"):
        array = BODY if "images" in path.parent.name else BODY_LABELS
        write_plain_nifti(path, array[::-1, ::-1], np.diag([2.0, 2, 4, 1]), code=0)
    assert reasons(read_all(tmp_path, card)[1]) == ["orientation_missing"] * 2
    records, refused = read_all(tmp_path, changed(card, {"orientation": "RAS"}))
    found = {region.label: region.box for region in at_slice(records, 4)[0].regions}
    assert not refused and found["liver"] == pytest.approx(LIVER_BOX)


def test_a_sheared_affine_is_read_and_an_oblique_one_states_no_plane(tmp_path):
    card = changed(make_decathlon_source(tmp_path), {"labels": ""})
    sheared, oblique = lps_affine(), lps_affine()
    sheared[1, 2] = 1.5
    turn = np.cos(np.pi / 4)
    oblique[:3, :3] = np.array([[1, 0, 0], [0, turn, -turn], [0, turn, turn]]) @ oblique[:3, :3]
    write_plain_nifti(tmp_path / "imagesTr" / "ct_001_0000.nii.gz", BODY, sheared)
    write_plain_nifti(tmp_path / "imagesTr" / "ct_002_0000.nii.gz", BODY, oblique)
    records, refused = read_all(tmp_path, card)
    assert not refused
    assert {(r.source_path[-15:-12], r.plane) for r in records} == {("001", "axial"), ("002", "not stated")}


def with_image(tmp_path, array, **changes):
    write_plain_nifti(tmp_path / "imagesTr" / "ct_001_0000.nii.gz", array, **changes)


def with_label(tmp_path, array, **changes):
    write_plain_nifti(tmp_path / "labelsTr" / "ct_001.nii.gz", array, **changes)


def spoiled(array, value):
    out = array.astype(np.float32)
    out[3, 3, 3] = value
    return out


SINGULAR, MOVED = lps_affine(), lps_affine()
SINGULAR[:3, 2] = SINGULAR[:3, 1]
MOVED[0, 3] += 7
BAD = {
    "volume_not_finite": lambda p: with_image(p, spoiled(BODY, np.nan)),
    "volume_not_3d": lambda p: with_image(p, np.stack([BODY, BODY], axis=-1)),
    "volume_not_grey": lambda p: with_image(p, BODY.astype(np.complex64)),
    "affine_singular": lambda p: with_image(p, BODY, affine=SINGULAR),
    "orientation_missing": lambda p: with_image(p, BODY, code=0),
    "mask_size_differs": lambda p: with_label(p, BODY_LABELS[:-1]),
    "mask_grid_differs": lambda p: with_label(p, BODY_LABELS, affine=MOVED),
    "label_not_whole": lambda p: with_label(p, spoiled(BODY_LABELS, 2.5)),
    "label_negative": lambda p: with_label(p, spoiled(BODY_LABELS, -1)),
    "label_file_missing": lambda p: (p / "labelsTr" / "ct_001.nii.gz").unlink(),
    "file_unreadable": lambda p: (p / "imagesTr" / "ct_001_0000.nii.gz").write_bytes(b"no gzip"),
}


@pytest.mark.parametrize("reason", sorted(BAD))
def test_bad_input_is_refused_by_name_and_the_other_case_stays(reason, tmp_path):
    card = make_decathlon_source(tmp_path, "LPS")
    BAD[reason](tmp_path)
    records, refused = read_all(tmp_path, card)
    assert [(r.where, r.reason) for r in refused] == [("imagesTr/ct_001_0000.nii.gz", reason)]
    assert {record.source_path for record in records} == {"fake_decathlon/imagesTr/ct_002_0000.nii.gz"}


def test_a_truncated_file_is_named_so(tmp_path):
    card = make_decathlon_source(tmp_path)
    path = tmp_path / "imagesTr" / "ct_001_0000.nii.gz"
    path.write_bytes(path.read_bytes()[:-200])
    assert reasons(read_all(tmp_path, card)[1]) == ["file_truncated"]


def test_a_label_value_outside_the_map_is_named_and_the_rest_stays(tmp_path):
    card = make_decathlon_source(tmp_path, "LPS")
    with_label(tmp_path, np.where(BODY_LABELS == LIVER, 9, BODY_LABELS).astype(np.uint8))
    records, refused = read_all(tmp_path, card)
    assert [(r.where, r.reason) for r in refused] == [
        ("imagesTr/ct_001_0000.nii.gz#9", "label_not_in_vocabulary")
    ]  # fmt: skip
    assert len(records) == 24


def test_a_label_volume_of_another_affine_may_be_taken_by_voxels_or_resampled(tmp_path):
    card = make_decathlon_source(tmp_path, "LPS")
    with_label(tmp_path, BODY_LABELS, affine=MOVED)
    by_voxels = at_slice(read_all(tmp_path, changed(card, {"label_grid": "voxels"}))[0], 4)[0]
    assert by_voxels.regions[1].box == pytest.approx(LIVER_BOX)
    placed = at_slice(read_all(tmp_path, changed(card, {"label_grid": "resample"}))[0], 4)[0]
    assert placed.regions[1].box[0] == pytest.approx((4 - 4) / 24, abs=0.05)  # 7 mm to the right are 4 voxels


def test_probability_maps_are_cut_at_the_threshold(tmp_path):
    card = make_decathlon_source(tmp_path, "LPS")
    with_label(tmp_path, (BODY_LABELS == LIVER) * np.float32(0.7))
    some = {
        "label_threshold": 0.5,
        "label_names": {1: "liver"},
        "images": [{"path": "imagesTr/ct_{case:001}_0000.nii.gz"}],
    }
    records, refused = read_all(tmp_path, changed(card, {**some, "labels": "labelsTr/ct_{case}.nii.gz"}))
    assert not refused and at_slice(records, 4)[0].regions[0].box == pytest.approx(LIVER_BOX)


def test_images_without_labels_may_be_kept_without_claims(tmp_path):
    card = make_decathlon_source(tmp_path)
    (tmp_path / "labelsTr" / "ct_001.nii.gz").unlink()
    records, refused = read_all(tmp_path, changed(card, {"unlabelled": "keep"}))
    assert not refused
    assert {(r.source_path[-15:-12], r.regions_complete) for r in records} == {("001", False), ("002", True)}


def test_a_label_template_that_fits_several_files_is_ambiguous(tmp_path):
    card = make_decathlon_source(tmp_path)
    assert (
        reasons(read_all(tmp_path, changed(card, {"labels": "labelsTr/*.nii.gz"}))[1])
        == ["label_file_ambiguous"] * 2
    )


def test_slices_may_be_asked_to_show_a_label(tmp_path):
    card = changed(make_decathlon_source(tmp_path), {"min_labelled": 0.05})
    assert {record.slice_index for record in read_all(tmp_path, card)[0]} == {3, 4, 5, 6, 7}


def test_left_and_right_the_wrong_way_round_refuse_the_case(tmp_path):
    card = make_decathlon_source(tmp_path, "LPS")
    sides = {"label_names": {5: "kidney_left", 3: "kidney_right"}}
    both = changed(card, sides, label_map={"kidney_left": "left kidney", "kidney_right": "right kidney"})
    assert reasons(read_all(tmp_path, both)[1]) == ["side_contradicts_orientation"] * 2


def test_links_are_never_followed_round_or_out(tmp_path):
    root = tmp_path / "source"
    card = make_decathlon_source(root)
    secret = tmp_path / "outside.nii.gz"
    secret.write_bytes(b"x")
    (root / "imagesTr" / "round").symlink_to(root)
    (root / "again").symlink_to(root / "labelsTr")
    (root / "imagesTr" / "ct_009_0000.nii.gz").symlink_to(secret)
    (root / "imagesTr" / "ct_008_0000.nii.gz").symlink_to("ct_008_0000.nii.gz")
    (root / "imagesTr" / "ct_007_0000.nii.gz").symlink_to("nowhere")
    records, refused = read_all(root, card)
    assert len(records) == 24 and [(r.where, r.reason) for r in refused] == [
        ("again", "link_repeated"), ("imagesTr/ct_007_0000.nii.gz", "file_missing"),
        ("imagesTr/ct_008_0000.nii.gz", "link_cyclic"), ("imagesTr/ct_009_0000.nii.gz", "link_leaves_source"),
        ("imagesTr/round", "link_cyclic"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": "x", "masks": "{label}"}, "not both"),
        ({"labels": "", "masks": "a.nii.gz"}, "must capture"),
        ({"orientation": "stored", "planes": {"coronal": 1}}, "third axis"),
        ({"images": [{"path": "../{case}.nii"}]}, "leaves its source"),
        ({"images": [{"path": "{case"}]}, "stray"),
        ({"class_from": "{grade}"}, "captured by no path"),
        ({"lables": "x"}, "did you mean 'labels'"),
    ],
)
def test_a_card_that_cannot_be_right_stops_before_it_reads(options, message, tmp_path):
    card = make_decathlon_source(tmp_path)
    with pytest.raises(CardInvalid, match=message):
        read_all(tmp_path, changed(card, options))


def test_a_kind_of_images_of_which_there_is_none_is_missing_unless_optional(tmp_path):
    card = make_decathlon_source(tmp_path)
    kinds = [*card.options["images"], {"path": "imagesVal/{case}.nii.gz"}]
    with pytest.raises(DatasetMissing, match="imagesVal"):
        read_all(tmp_path, changed(card, {"images": kinds}))
    kinds[1] = {**kinds[1], "optional": True}
    assert len(read_all(tmp_path, changed(card, {"images": kinds}))[0]) == 24


@pytest.mark.parametrize("maker", CASE_MAKERS, ids=lambda maker: maker.__name__)
def test_reading_twice_gives_the_same_records(maker, tmp_path):
    card = maker(tmp_path)
    assert read_all(tmp_path, card) == read_all(tmp_path, card)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ElementType": "MET_ASCII"}, "file_unreadable"), ({"DimSize": "24 20"}, "file_unreadable"),
        ({"DimSize": "24 20 99"}, "file_truncated"), ({"ElementNumberOfChannels": "3"}, "file_unreadable"),
        ({"TransformMatrix": ""}, "orientation_missing"), ({"ElementSpacing": "0 1 1"}, "affine_singular"),
    ],
)  # fmt: skip
def test_metaimages_that_are_not_right_are_refused(change, reason, tmp_path):
    card = make_metaimage_source(tmp_path)
    write_metaimage(tmp_path / "001.mhd", BODY, **change)
    assert reasons(read_all(tmp_path, card)[1]) == [reason]


def test_a_metaimage_never_reads_a_file_elsewhere(tmp_path):
    card = make_metaimage_source(tmp_path)
    for name in ("../001.raw", "LIST", "slice%03d.raw"):
        header = (tmp_path / "001.mhd").read_text().rpartition("ElementDataFile")[0]
        (tmp_path / "001.mhd").write_text(f"{header}ElementDataFile = {name}\n")
        assert reasons(read_all(tmp_path, card)[1]) == ["file_unreadable"]


def test_a_nrrd_pair_gives_the_golden_boxes_and_never_reads_a_file_elsewhere(tmp_path):
    import nrrd

    space = {
        "space": "left-posterior-superior",
        "space directions": np.diag([2.0, 2, 4]),
        "space origin": [0, 0, 0],
    }
    (tmp_path / "a").mkdir()
    nrrd.write(str(tmp_path / "a" / "ct.nrrd"), BODY, space)
    nrrd.write(str(tmp_path / "a" / "label.nrrd"), BODY_LABELS, space)
    card = changed(
        make_decathlon_source(tmp_path / "other"),
        {"images": [{"path": "{case}/ct.nrrd"}], "labels": "{case}/label.nrrd"},
    )
    records, refused = read_all(tmp_path, card)
    assert not refused and at_slice(records, 4)[0].regions[1].box == pytest.approx(LIVER_BOX)
    head = (
        "NRRD0004\ntype: short\ndimension: 3\nsizes: 2 2 2\nencoding: raw\nendian: little\ndata file: ../x.raw\n"
    )
    (tmp_path / "a" / "ct.nrrd").write_text(head)
    (tmp_path / "x.raw").write_bytes(bytes(16))
    assert reasons(read_all(tmp_path, card)[1]) == ["file_unreadable"]


@pytest.mark.parametrize("maker", [make_decathlon_source, make_mask_files_source])
def test_labels_that_are_not_complete_say_nothing_of_what_is_absent(maker, tmp_path):
    card = maker(tmp_path)
    partly = card.model_copy(update={"options": {**card.options, "complete": False}})
    whole, part = (read_all(tmp_path, one)[0] for one in (card, partly))
    assert [record.regions for record in part] == [record.regions for record in whole]
    assert any(absent_labels(record) for record in whole)
    assert not any(absent_labels(record) or record.regions_complete for record in part)
