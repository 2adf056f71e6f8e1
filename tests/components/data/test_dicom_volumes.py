"""Slices to volumes: order, phases, gaps, directions, and files that are no series."""

from dataclasses import replace

import numpy as np
import pytest

from components.data.dicom_volumes import (
    Grid,
    Plate,
    Stacked,
    decode_file,
    keys_of,
    read_header,
    stack_files,
    stack_one,
    stack_plates,
)
from components.data.faults import Refused
from components.data.reading import Rejection
from tests.fakes.formats_volumes import BODY, write_series
from tests.fakes.sources import SPACING, write_dicom, write_rtstruct

GRID = Grid(
    shape=(3, 4), row=np.array([1.0, 0, 0]), column=np.array([0, 1.0, 0]), row_mm=2, column_mm=0.5, thickness_mm=7,
    is_whole=True,
)  # fmt: skip


def plate(height, value, order=0):
    shown = np.full((3, 4), value, dtype=np.float32)
    return Plate(f"{value}.dcm", np.array([1.0, 2.0, height]), order, lambda: shown)


def reason(function, *arguments):
    with pytest.raises(Refused) as told:
        function(*arguments)
    return told.value.reason


def headers_of(folder):
    return [read_header(path, path.name) for path in sorted(folder.iterdir())]


def test_slices_are_stacked_from_low_to_high_and_placed_in_ras():
    (stacked,) = stack_plates([plate(9, 30), plate(3, 10), plate(6, 20)], GRID)
    assert stacked.files == ("10.dcm", "20.dcm", "30.dcm") and stacked.is_even
    assert stacked.volume.voxels.shape == (4, 3, 3) and stacked.volume.voxels.dtype == np.int16
    assert stacked.volume.voxels[0, 0].tolist() == [10, 20, 30]
    assert stacked.volume.spacing_mm == (0.5, 2.0, 3.0)
    assert stacked.volume.affine @ [0, 0, 1, 1] == pytest.approx([-1, -2, 6, 1])


def test_one_slice_is_as_thick_as_its_header_says():
    (stacked,) = stack_plates([plate(3, 1)], GRID)
    assert stacked.volume.spacing_mm[2] == 7 and stacked.is_even


def test_every_place_filled_twice_makes_two_volumes_and_filled_unevenly_none():
    plates = [plate(0, 1, 1), plate(0, 2, 2), plate(5, 3, 3), plate(5, 4, 4)]
    assert [one.files for one in stack_plates(plates, GRID)] == [("1.dcm", "3.dcm"), ("2.dcm", "4.dcm")]
    assert reason(stack_plates, plates[:3], GRID) == reason(stack_plates, [], GRID) == "series_not_one_volume"


def test_values_that_are_not_whole_are_kept_and_whole_ones_stay_inside_their_type():
    (exact,) = stack_plates([plate(0, 1.25)], replace(GRID, is_whole=False))
    (whole,) = stack_plates([plate(0, 1e6)], GRID)
    assert exact.volume.voxels.dtype == np.float32 and exact.volume.voxels.max() == 1.25
    assert whole.volume.voxels.max() == np.iinfo(np.int16).max


def test_across_a_gap_only_the_stored_plane_is_true_to_scale():
    (even,) = stack_plates([plate(h, h) for h in (0, 3, 6)], GRID)
    (gap,) = stack_plates([plate(h, h) for h in (0, 3, 6, 12)], GRID)
    assert not gap.is_even and gap.can_show({"axial"}) and gap.can_show(())
    assert not gap.can_show({"axial", "coronal"}) and not gap.can_show(["sagittal"])
    assert even.can_show({"axial", "coronal", "sagittal"})


def test_axial_slices_are_named_from_foot_to_head_and_others_not():
    (up,) = stack_plates([plate(0, 1), plate(3, 2)], GRID)
    (down,) = stack_plates([plate(0, 1), plate(3, 2)], replace(GRID, column=-GRID.column))
    (coronal,) = stack_plates([plate(0, 1)], replace(GRID, column=np.array([0, 0, -1.0])))
    assert up.axial_files() == ("1.dcm", "2.dcm") and coronal.axial_files() == ()
    assert down.files == ("2.dcm", "1.dcm") and down.axial_files() == ("1.dcm", "2.dcm")


def test_a_written_series_is_read_back(tmp_path):
    write_series(tmp_path, "P-1.ct")
    stacked = stack_one(headers_of(tmp_path), tmp_path)
    assert isinstance(stacked, Stacked) and np.array_equal(stacked.volume.voxels, BODY)
    assert stacked.volume.spacing_mm == pytest.approx(SPACING)
    assert stacked.files[0] == "1-001.dcm" and len(stacked.files) == BODY.shape[2]


def test_one_series_alone_is_one_volume(tmp_path):
    write_series(tmp_path / "a", "P-1.ct")
    headers = headers_of(tmp_path / "a")
    assert reason(stack_one, [], tmp_path) == "series_not_one_volume"
    assert reason(stack_one, [replace(headers[0], height=None)], tmp_path) == "series_not_one_volume"
    assert len(stack_files([*headers, *headers], tmp_path / "a")) == 2
    assert reason(stack_one, [*headers, *headers], tmp_path / "a") == "series_not_one_volume"


def test_slices_of_two_directions_or_spacings_are_no_volume(tmp_path):
    for name, tags in {
        "turned": {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, "coarse": {"PixelSpacing": [9, 9]},
        "plain": {"PixelSpacing": None},
    }.items():  # fmt: skip
        write_series(tmp_path / name, "P-1.ct")
        odd = {
            "ImagePositionPatient": [0, 0, 99],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "PixelSpacing": [2, 2],
        }
        write_dicom(tmp_path / name / "2.dcm", BODY[:, :, 0].T, **{**odd, **tags})
        assert reason(stack_files, headers_of(tmp_path / name), tmp_path / name) == "series_not_one_volume"


def test_keys_tell_pictures_from_what_is_drawn_on_them_and_copies_are_refused(tmp_path):
    write_series(tmp_path, "P-1.ct", BODY[:, :, :1])
    (tmp_path / "copy.dcm").write_bytes((tmp_path / "1-001.dcm").read_bytes())
    (tmp_path / "words.dcm").write_text("no DICOM at all" * 20)
    write_rtstruct(tmp_path / "rs.dcm", "GTV-1")
    first, copy, contours, words = keys_of((path.name, path) for path in sorted(tmp_path.iterdir()))
    assert not isinstance(first, Rejection) and first.is_image
    assert copy == Rejection("copy.dcm", "instance_repeated") and words == Rejection(
        "words.dcm", "file_unreadable"
    )
    assert not isinstance(contours, Rejection) and not contours.is_image and contours.kind.endswith(".481.3")


def test_an_object_without_pixels_and_one_that_claims_too_many_are_refused(tmp_path):
    write_rtstruct(tmp_path / "rs.dcm", "GTV-1")
    assert reason(decode_file, tmp_path / "rs.dcm") == "no_pixels"
    import pydicom

    write_dicom(tmp_path / "a.dcm", BODY[:, :, 0].T)
    data = pydicom.dcmread(tmp_path / "a.dcm")
    data.Rows = data.Columns = 60000
    data.save_as(tmp_path / "a.dcm")
    assert reason(decode_file, tmp_path / "a.dcm") == "volume_too_large"
