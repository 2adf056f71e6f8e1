"""Runs, boxes, sizes, hashes and windows, by hand-made examples and by property."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from components.data.card import Term
from components.data.image import (
    decode,
    difference_hash,
    encode_png,
    pixel_hash,
    resize,
    resize_labels,
    stored_size,
    to_rgb,
)
from components.data.masks import box_of, decode_runs, encode_runs, find_regions
from components.data.tiles import TileOptions, cut_tiles, tissue_share
from components.data.windows import WindowName, bounds, to_grey
from components.errors import DataError
from tests.fakes.sources import gradient

MASKS = arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))


@given(MASKS)
@settings(max_examples=60, deadline=None)
def test_runs_come_back_as_they_were(mask):
    assert np.array_equal(decode_runs(encode_runs(mask)), mask)


def test_runs_are_row_major_and_start_at_zero():
    assert encode_runs(np.array([[1, 1, 0], [0, 1, 1]], dtype=bool)) == "2 3 0 2 4 2"


@pytest.mark.parametrize("text", ["2 3 5 2", "2 3 0", "2 3 -1 2", "2 3 0 0"])
def test_runs_that_leave_the_mask_are_refused(text):
    with pytest.raises(ValueError, match=r"run|odd"):
        decode_runs(text)


def test_a_box_holds_its_mask_exactly():
    mask = np.zeros((10, 20), dtype=bool)
    mask[2:5, 4:10] = True
    assert box_of(mask) == (0.2, 0.2, 0.5, 0.5)
    with pytest.raises(ValueError, match="empty"):
        box_of(np.zeros((3, 3), dtype=bool))


def test_regions_have_area_and_the_too_small_are_named():
    labels = np.zeros((10, 10), dtype=np.uint8)
    labels[0:5, 0:4], labels[9, 9], labels[8, 0] = 1, 2, 7
    found = find_regions(
        labels, {1: Term(label="liver"), 2: Term(label="cyst", side="left")}, min_area=0.02, pixel_mm2=4
    )
    (liver,) = found.regions
    assert (liver.label, liver.area_fraction, liver.area_mm2) == ("liver", 0.2, 80.0)
    assert decode_runs(liver.mask).sum() == 20
    assert found.too_small == {"cyst"}


@pytest.mark.parametrize(
    ("height", "width", "spacing", "expected"),
    [
        (100, 50, (1, 1), (100, 50)),
        (1000, 500, (1, 1), (400, 200)),
        (100, 200, (2, 1), (200, 200)),
        (10, 10, (5, 1), (50, 10)),
        (1, 3000, (1, 1), (1, 400)),
    ],
)
def test_stored_pixels_are_square_and_no_side_is_too_long(height, width, spacing, expected):
    assert stored_size(height, width, max_side=400, row_mm=spacing[0], column_mm=spacing[1]) == expected


def test_resized_labels_invent_no_label():
    labels = np.array([[0, 9], [4, 4]])
    assert set(np.unique(resize_labels(labels, (7, 5)))) == {0, 4, 9}
    assert np.array_equal(resize_labels(labels, (2, 2)), labels)


@pytest.mark.parametrize("pixels", [gradient(), np.stack([gradient()] * 3, axis=2)])
def test_png_keeps_every_pixel_and_is_the_same_each_time(pixels):
    assert encode_png(pixels) == encode_png(pixels.copy())
    assert np.array_equal(decode(encode_png(pixels)), to_rgb(pixels))
    assert pixel_hash(decode(encode_png(pixels))) == pixel_hash(pixels)


def test_the_difference_hash_forgives_brightness_and_sees_a_mirror():
    picture = gradient(64, 64) // 2
    brighter, mirrored = (picture + 40).astype(np.uint8), picture[:, ::-1]
    near = (int(difference_hash(picture), 16) ^ int(difference_hash(brighter), 16)).bit_count()
    far = (int(difference_hash(picture), 16) ^ int(difference_hash(mirrored), 16)).bit_count()
    assert len(difference_hash(picture)) == 16
    assert near <= 4 < far


def test_resize_leaves_a_fitting_picture_alone():
    picture = gradient()
    assert resize(picture, (32, 48)) is picture
    assert resize(picture, (16, 24)).shape == (16, 24)


def test_a_ct_window_is_level_and_width():
    low, high = bounds("soft tissue", np.zeros(1))
    assert (low, high) == (-160, 240)
    assert to_grey(np.array([-1000, -160, 40, 240, 3000]), low, high).tolist() == [0, 0, 128, 255, 255]


def test_percentiles_leave_out_air_and_stand_a_flat_image():
    voxels = np.concatenate([np.zeros(1000), np.linspace(100, 200, 101)])
    assert bounds("percentile 1-99", voxels) == (101.0, 199.0)
    assert to_grey(np.zeros((2, 2)), *bounds("full range", np.zeros((2, 2)))).tolist() == [[0, 0], [0, 0]]
    two_valued = np.array([[0, 7], [7, 0]])
    assert to_grey(two_valued, *bounds("percentile 1-99", two_valued)).tolist() == [[0, 255], [255, 0]]
    with pytest.raises(DataError, match="no window"):
        bounds("kidney", voxels)


def test_every_named_window_has_bounds_and_old_ones_keep_theirs():
    # Records name their window: a preset that is once used must show the same for ever.
    voxels = np.concatenate([np.zeros(1000), np.linspace(100, 200, 101)])
    found = {name: bounds(name, voxels) for name in get_args(WindowName)}
    assert all(low < high for low, high in found.values())
    assert {name: found[name] for name in ("soft tissue", "lung", "bone", "brain", "abdomen", "stored")} == {
        "soft tissue": (-160, 240), "lung": (-1350, 150), "bone": (-500, 1300), "brain": (0, 80),
        "abdomen": (-125, 225), "stored": (0, 255),
    }  # fmt: skip
    assert (found["subdural"], found["stroke"], found["liver"]) == ((-32.5, 182.5), (20, 60), (-45, 105))
    assert (found["mediastinum"], found["angiography"]) == ((-125, 225), (0, 600))
    assert (found["percentile 0.5-99.5"], found["percentile 2-98"]) == ((100.5, 199.5), (102, 198))
    deviation = float(np.std(np.linspace(100, 200, 101)))
    assert found["mean and 3 deviations"] == pytest.approx((150 - 3 * deviation, 150 + 3 * deviation))


def test_tiles_are_whole_in_reading_order_and_need_tissue():
    picture = np.full((40, 70, 3), 245, dtype=np.uint8)
    picture[:, :32] = (200, 80, 150)
    options = TileOptions(side=16, stride=16)
    corners = [(top, left) for top, left, _ in cut_tiles(picture, options)]
    assert corners == [(top, left) for top in (0, 16) for left in (0, 16, 32, 48)]
    stained = [(top, left) for top, left, _ in cut_tiles(picture, TileOptions(side=16, stride=16, min_tissue=0.5))]
    assert stained == [(0, 0), (0, 16), (16, 0), (16, 16)]
    assert tissue_share(picture[:, :32]) == 1.0 and tissue_share(picture[:, 32:]) == 0.0
