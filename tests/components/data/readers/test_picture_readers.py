"""Pictures: instances and counts, tiles, captions, pairs, label maps and segments by name."""

import numpy as np

from components.data.slides import aperio_facts
from tests.fakes.sources import (
    BODY_LABELS,
    make_captions_source,
    make_instances_source,
    make_nifti_source,
    make_nrrd_source,
    make_pairs_source,
    make_plain_source,
    make_slide_source,
    read_all,
    write_nifti,
)


def by_part(records):
    return {record.record_id: record for record in records}


def test_instances_are_boxes_and_a_cut_one_forbids_counting(tmp_path):
    records, refused = read_all(tmp_path, make_instances_source(tmp_path))
    top_left, top_right, bottom_left, bottom_right = records
    assert not refused and [len(r.regions) for r in records] == [2, 1, 0, 0]
    assert top_left.regions[0].box == (2 / 32, 2 / 32, 8 / 32, 8 / 32)
    assert top_left.regions_complete and top_left.region_vocabulary == ("cell nucleus",)
    assert bottom_left.regions_complete
    assert not bottom_right.regions_complete and bottom_right.region_vocabulary == ()
    assert top_right.regions[0].box[3] == 1.0 and top_right.regions_complete


def test_a_mask_of_another_size_or_an_unknown_object_is_refused(tmp_path):
    import tifffile

    card = make_instances_source(tmp_path)
    unknown = card.model_copy(update={"label_map": {}})
    assert [r.reason for r in read_all(tmp_path, unknown)[1]] == ["label_not_in_vocabulary"]
    tifffile.imwrite(tmp_path / "cells_mask.tif", np.zeros((10, 10), dtype=np.uint16))
    assert [r.reason for r in read_all(tmp_path, card)[1]] == ["mask_of_another_size"]
    (tmp_path / "cells_mask.tif").unlink()
    assert [r.reason for r in read_all(tmp_path, card)[1]] == ["file_missing"]


def test_slide_tiles_hold_tissue_and_say_how_they_were_taken(tmp_path):
    records, _ = read_all(tmp_path, make_slide_source(tmp_path))
    assert len(records) == 4  # of eight tiles, the four with tissue
    assert records[0].fact("magnification") == "20x" and records[0].fact("micrometres per pixel") == "0.50"
    assert records[0].fact("tissue amount") == "almost all tissue"


def test_a_slide_without_an_aperio_header_claims_nothing():
    assert aperio_facts("somebody's TIFF") == ()


def test_the_caption_is_the_whole_pictures_alone(tmp_path):
    records, _ = read_all(tmp_path, make_captions_source(tmp_path))
    whole, *tiles = records
    assert (whole.text, whole.text_kind, whole.labels) == ("A normal eye.", "caption", ("normal eye",))
    assert len(tiles) == 6 and all((t.text, t.text_kind, t.labels) == ("", "", ()) for t in tiles)


def test_a_picture_without_its_caption_is_refused(tmp_path):
    records, refused = read_all(tmp_path, make_captions_source(tmp_path, caption=" "))
    assert [r.reason for r in refused] == ["text_empty"] and len(records) == 6


def test_pairs_name_each_other_and_what_is_said_of_them(tmp_path):
    records, _ = read_all(tmp_path, make_pairs_source(tmp_path))
    known = by_part(records)
    firsts = [record for record in records if record.compared_with]
    assert len(records) == 12 and len(firsts) == 6
    for first in firsts:
        second = known[first.compared_with]
        assert second.source_path == first.source_path.replace("a.bmp", "b.bmp")
        assert first.study_key == second.study_key and second.comparison == ""
        assert first.comparison == ("same texture" if "Same" in first.source_path else "different texture")


def test_half_a_pair_is_refused_and_thinning_is_the_same_each_time(tmp_path):
    card = make_pairs_source(tmp_path)
    thinned = card.model_copy(update={"options": {**card.options, "take": 2}})
    assert len(read_all(tmp_path, thinned)[0]) == 8
    assert read_all(tmp_path, thinned) == read_all(tmp_path, thinned)
    (tmp_path / "Same" / "p1b.bmp").unlink()
    records, refused = read_all(tmp_path, card)
    assert len(records) == 10 and [(r.where, r.reason) for r in refused] == [
        ("Same/p1a.bmp", "second_image_missing")
    ]


def test_segments_are_read_by_the_names_in_the_header(tmp_path):
    records, refused = read_all(tmp_path, make_nrrd_source(tmp_path))
    sides = {(region.label, region.side) for record in records for region in record.regions}
    assert not refused and sides == {("liver", "not stated"), ("kidney", "left")}


def test_nrrd_and_nifti_of_one_patient_show_the_same(tmp_path):
    nifti, _ = read_all(tmp_path / "a", make_nifti_source(tmp_path / "a"))
    nrrd, _ = read_all(tmp_path / "b", make_nrrd_source(tmp_path / "b"))
    assert [(r.sha256, r.regions) for r in nifti] == [(r.sha256, r.regions) for r in nrrd]


def test_a_code_without_a_name_is_refused_and_the_rest_stays(tmp_path):
    card = make_nifti_source(tmp_path)
    labels = BODY_LABELS.copy()
    labels[12, 12, :] = 77
    write_nifti(tmp_path / "labels.nii.gz", labels)
    records, refused = read_all(tmp_path, card)
    assert records and [(r.where, r.reason) for r in refused] == [("ct.nii.gz#77", "label_not_in_vocabulary")]


def test_the_most_probable_tissue_wins_above_the_threshold(tmp_path):
    card = make_nifti_source(tmp_path)
    grey, white = np.zeros(BODY_LABELS.shape, np.uint8), np.zeros(BODY_LABELS.shape, np.uint8)
    grey[4:12], white[4:12] = 200, 90
    white[12:18], grey[0, 0, 0], white[0, 0, 0] = 250, 255, 255
    for name, array in (("grey", grey), ("white", white)):
        write_nifti(tmp_path / f"{name}.nii.gz", array)
    maps = {"grey matter": "grey.nii.gz", "white matter": "white.nii.gz"}
    options = {
        **{k: card.options[k] for k in ("planes", "windows", "background", "volume")},
        "probability_maps": maps,
    }
    brain = card.model_copy(update={"options": options, "label_map": {name: name for name in maps}})
    record = next(r for r in read_all(tmp_path, brain)[0] if r.plane == "axial" and r.slice_index == 4)
    boxes = {region.label: region.box for region in record.regions}
    assert (boxes["grey matter"][0], boxes["grey matter"][2]) == (4 / 24, 12 / 24)
    assert (boxes["white matter"][0], boxes["white matter"][2]) == (12 / 24, 18 / 24)


def test_time_points_and_arrays_are_told_apart(tmp_path):
    records, _ = read_all(tmp_path, make_plain_source(tmp_path))
    assert [r.plane for r in records] == ["axial"] * 6 + ["coronal"]
    assert len({r.record_id for r in records}) == 7 and len({r.patient_key for r in records}) == 2
