"""Masks laid over each other: the smaller stays visible, whatever their order."""

import numpy as np
import pytest

from components.data.label_canvas import LabelCanvas
from components.data.volumes import Volume

PLACE = np.diag([-2.0, -2, 3, 1])


def mask(first, last, value=1):
    voxels = np.zeros((8, 2, 1), dtype=np.int16)
    voxels[first:last] = value
    return Volume(voxels, PLACE)


def seen(*masks):
    canvas = LabelCanvas.empty()
    for label, laid in masks:
        canvas = canvas.with_mask(laid, label)
    codes = canvas.codes()
    return [codes.names.get(int(code), "-") for code in codes.volume.voxels[:, 0, 0]]


@pytest.mark.parametrize("turned", [False, True])
def test_the_smaller_structure_lies_over_the_larger_in_either_order(turned):
    masks = [("lung", mask(0, 6)), ("nodule", mask(4, 5, value=255))]
    assert seen(*(reversed(masks) if turned else masks)) == ["lung"] * 4 + ["nodule", "lung", "-", "-"]


def test_of_two_equal_ones_the_first_stays_and_a_label_may_come_twice():
    assert seen(("a", mask(0, 3)), ("b", mask(2, 5)), ("a", mask(7, 8))) == list("aaabb--a")


def test_values_below_one_are_background_and_an_empty_mask_hides_nothing():
    assert seen(("a", mask(0, 4)), ("b", mask(0, 4, value=-1)), ("c", mask(3, 3))) == ["a"] * 4 + ["-"] * 4


def test_a_canvas_without_masks_has_no_codes_and_others_keep_the_masks_place():
    assert LabelCanvas.empty().codes() is None
    codes = LabelCanvas.empty().with_mask(mask(0, 1), "a").codes()
    assert codes.names == {1: "a"} and codes.volume.voxels.dtype == np.uint16
    assert np.array_equal(codes.volume.affine, PLACE)
