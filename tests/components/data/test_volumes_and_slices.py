"""Sides and boxes are the patient's whatever order a file stores its axes in."""

import numpy as np
import pytest

from components.data.card import Term
from components.data.masks import decode_runs
from components.data.slices import (
    LabelledVolume,
    SliceOptions,
    cut_slices,
    find_levels,
    merge_codes,
    side_contradicts,
)
from components.data.volumes import (
    Volume,
    affine_from_dicom,
    display,
    display_spacing,
    plane_of,
    read_nifti,
    resample_labels,
    stated_plane,
    to_lps,
)
from tests.fakes.sources import (
    BODY,
    BODY_LABELS,
    KIDNEY,
    LIVER,
    SPACING,
    lps_affine,
    make_card,
    make_nifti_source,
    read_all,
    turn_array,
    write_nifti,
)

ORIENTATIONS = ("LPS", "RAS", "LAS", "PSR", "SAL")


def regions_of(record):
    return {region.label: region for region in record.regions}


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    root = tmp_path_factory.mktemp("lps")
    records, refused = read_all(root, make_nifti_source(root))
    assert not refused
    return records


def test_the_patients_right_is_on_the_images_left(straight):
    both = [r for r in straight if r.plane in ("axial", "coronal") and len(r.regions) == 2]
    assert both
    for record in both:
        found = regions_of(record)
        assert found["kidney"].side == "left" and found["liver"].side == "not stated"
        assert found["liver"].box[2] < 0.5 < found["kidney"].box[0]


def test_the_head_is_up_in_a_coronal_slice_and_the_front_in_an_axial_one(straight):
    coronal = next(r for r in straight if r.plane == "coronal" and len(r.regions) == 2)
    axial = next(r for r in straight if r.plane == "axial" and len(r.regions) == 2)
    assert regions_of(coronal)["liver"].box[1] < regions_of(coronal)["kidney"].box[1]
    assert regions_of(axial)["liver"].box[1] < regions_of(axial)["kidney"].box[1]


@pytest.mark.parametrize("axes", ORIENTATIONS[1:])
def test_the_stored_axis_order_changes_nothing(axes, straight, tmp_path):
    records, _ = read_all(tmp_path, make_nifti_source(tmp_path, axes))
    shown = [(r.record_id, r.sha256, r.regions, r.plane, r.slice_index) for r in records]
    assert shown == [(r.record_id, r.sha256, r.regions, r.plane, r.slice_index) for r in straight]


def test_boxes_masks_and_areas_agree_with_the_volume(straight):
    record = next(r for r in straight if r.plane == "axial" and r.slice_index == 4)
    liver = regions_of(record)["liver"]
    assert liver.box == pytest.approx((4 / 24, 5 / 20, 10 / 24, 11 / 20))
    assert liver.area_mm2 == pytest.approx(6 * 6 * SPACING[0] * SPACING[1])
    mask = decode_runs(liver.mask)
    assert mask.shape == (record.height, record.width) and mask[5:11, 4:10].all() and mask.sum() == 36


def test_slices_are_stored_with_square_pixels(straight):
    coronal = next(r for r in straight if r.plane == "coronal")
    assert (coronal.height, coronal.width) == (24, 24)  # 12 slices of 4 mm, 24 columns of 2 mm


def test_completeness_leaves_out_what_was_too_small_to_list(tmp_path):
    card = make_nifti_source(tmp_path)
    strict = card.model_copy(update={"options": {**card.options, "min_area": 0.05}})
    record = next(r for r in read_all(tmp_path, strict)[0] if r.plane == "axial" and r.slice_index == 4)
    assert [region.label for region in record.regions] == ["liver"]
    assert record.regions_complete and record.region_vocabulary == ("liver", "spleen")


def test_left_and_right_the_wrong_way_round_refuse_the_volume(tmp_path):
    card = make_nifti_source(tmp_path)
    labels = BODY_LABELS.copy()
    labels[4:6, 12:15, 3:6] = 9
    write_nifti(tmp_path / "labels.nii.gz", labels)
    (tmp_path / "names.csv").write_text(f"id,structure\n{LIVER},liver\n{KIDNEY},kidney_right\n9,kidney_left\n")
    card = card.model_copy(update={"label_map": {**card.label_map, "kidney_right": "right kidney"}})
    records, refused = read_all(tmp_path, card)
    assert not records and [r.reason for r in refused] == ["side_contradicts_orientation"]


def test_one_side_alone_contradicts_nothing():
    terms = {KIDNEY: Term(label="kidney", side="left"), LIVER: Term(label="liver")}
    assert not side_contradicts(BODY_LABELS, terms)


def test_codes_of_one_term_become_one_and_unknown_names_are_told():
    codes = np.array([[[0, 1, 2, 3, 4]]])
    card = make_card("a", "r", {}, label_map={"upper": "left lung", "lower": "left lung", "skin": ""})
    merged, terms, unknown = merge_codes(codes, {1: "upper", 2: "lower", 3: "skin", 4: "horn"}, card)
    assert merged.tolist() == [[[0, 1, 1, 0, 0]]]
    assert terms == {1: Term(label="lung", side="left")} and unknown == ("horn",)


def test_an_atlas_on_another_grid_is_brought_over():
    coarse = Volume(BODY_LABELS[::2, ::2, ::2], lps_affine() @ np.diag([2.0, 2, 2, 1]))
    placed = resample_labels(coarse, Volume(BODY, lps_affine()))
    agree = np.mean(placed.voxels == BODY_LABELS)
    assert placed.voxels.shape == BODY.shape and agree > 0.97
    assert set(np.unique(placed.voxels)) == {0, LIVER, KIDNEY}


@pytest.mark.parametrize("axes", ORIENTATIONS)
def test_to_lps_keeps_every_voxel_at_its_place_in_the_patient(axes):
    array, affine = turn_array(BODY_LABELS, axes)
    standing = to_lps(Volume(array, affine))
    assert np.array_equal(standing.voxels, BODY_LABELS)
    assert standing.affine == pytest.approx(lps_affine())


def test_display_turns_and_spacings_follow():
    volume = Volume(BODY_LABELS, lps_affine())
    assert display(BODY_LABELS, "sagittal", 5).shape == (12, 20)
    assert display(BODY_LABELS, "axial", 4)[6, 5] == LIVER
    assert display(BODY_LABELS, "coronal", 6)[12 - 1 - 4, 5] == LIVER
    assert display_spacing(volume, "coronal") == (4.0, 2.0)


def test_an_oblique_slice_has_no_plane():
    assert plane_of(np.array([0.0, 0.1, -0.99])) == "axial"
    assert plane_of(np.array([0.7, 0.7, 0.0])) == "not stated"
    turned = Volume(BODY, np.array([[-2, 0, 0, 0], [0, -1.6, -1.2, 0], [0, -1.2, 1.6, 0], [0, 0, 0, 1.0]]))
    assert stated_plane(turned, "axial") == "not stated" and stated_plane(turned, "sagittal") == "sagittal"


def test_a_sheared_stack_of_axial_slices_is_axial():
    sheared = np.array([[-2.0, 0, 30, 0], [0, -2, 30, 0], [0, 0, 32, 0], [0, 0, 0, 1]])
    assert stated_plane(Volume(BODY, sheared), "axial") == "axial"


def test_a_dicom_affine_puts_the_first_voxel_at_the_origin():
    affine = affine_from_dicom(
        np.array([-20.0, -15, -30]), np.array([1.0, 0, 0]), np.array([0.0, 1, 0]), np.array(SPACING)
    )
    assert affine == pytest.approx(lps_affine())


def test_empty_slices_are_left_out_and_windows_taken_in_turn():
    voxels = BODY.copy()
    voxels[:, :, :4] = -1000
    options = SliceOptions(planes={"axial": 1}, windows=("lung", "bone"), background=-500)
    drafts = list(cut_slices(LabelledVolume("ct", Volume(voxels, lps_affine())), options, max_side=64))
    assert [draft.slice_index for draft in drafts] == list(range(4, 12))
    assert [draft.window for draft in drafts] == ["lung", "bone"] * 4
    assert not drafts[0].regions_complete and drafts[0].region_vocabulary == ()


def test_the_level_is_the_vertebra_that_fills_most_of_the_slice():
    names = {LIVER: "vertebrae_T7", KIDNEY: "vertebrae_L1"}
    levels = find_levels({**names, 9: "rib_left_7"}, "vertebrae_([CTL][0-9]+)")
    assert levels == {LIVER: "T7", KIDNEY: "L1"}
    labelled = LabelledVolume("ct", Volume(BODY, lps_affine()), BODY_LABELS, {}, (), BODY_LABELS, levels)
    options = SliceOptions(planes={"axial": 4, "coronal": 8}, windows=("bone",), background=-500)
    drafts = {(d.plane, d.slice_index): dict(d.facts) for d in cut_slices(labelled, options, max_side=64)}
    assert drafts["axial", 4] == {"level": "T7"} and drafts["axial", 8] == {}
    assert drafts["coronal", 8] == {}


def test_scaled_whole_numbers_are_held_as_int16(tmp_path):
    write_nifti(tmp_path / "scaled.nii.gz", BODY.astype(np.float32))
    write_nifti(tmp_path / "fractions.nii.gz", BODY.astype(np.float32) + 0.3)
    assert read_nifti(tmp_path / "scaled.nii.gz")[0].voxels.dtype == np.int16
    assert read_nifti(tmp_path / "fractions.nii.gz")[0].voxels.dtype == np.float32
