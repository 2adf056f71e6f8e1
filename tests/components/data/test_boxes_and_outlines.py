"""Boxes in every convention, polygons and run lengths, by hand-made examples and by property."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from components.data.boxes import Sketch, annotation_fact, draw, kind_of, parse_numbers, to_corners, to_shares
from components.data.faults import Refused
from components.data.outlines import decode_counts, decode_pairs, fill_polygon, fill_polygons, unpack_counts
from components.data.reading import reason_of
from tests.fakes.formats_labels import counts_of, label_card, pack_counts
from tests.fakes.sources import make_card

MASKS = arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def reason(call, *arguments, **named):
    with pytest.raises(Refused) as caught:
        call(*arguments, **named)
    assert reason_of(caught.value) == caught.value.reason
    return caught.value.reason


@pytest.mark.parametrize(
    ("form", "numbers"),
    [
        ("corners", (10, 6, 20, 15)),
        ("corner and size", (10, 6, 10, 9)),
        ("centre and size", (15, 10.5, 10, 9)),
    ],
)
def test_every_form_gives_the_same_box(form, numbers):
    assert to_shares(to_corners(numbers, form), 40, 30) == pytest.approx((0.25, 0.2, 0.5, 0.5), abs=1e-6)


def test_one_pixel_of_overshoot_is_clipped_and_more_is_refused():
    assert to_shares((-1, -0.5, 41, 30.9), 40, 30) == (0, 0, 1, 1)
    assert reason(to_shares, (-1.5, 0, 5, 5), 40, 30) == "box_outside_image"
    assert reason(to_shares, (0, 0, 5, 32), 40, 30) == "box_outside_image"
    assert reason(to_shares, (40.2, 5, 40.9, 6), 40, 30) == "box_outside_image"


@pytest.mark.parametrize(
    ("corners", "expected"),
    [
        ((5, 5, 5, 9), "box_degenerate"),
        ((9, 5, 5, 9), "box_degenerate"),
        ((5, float("nan"), 9, 9), "box_not_a_number"),
        ((5, 5, float("inf"), 9), "box_not_a_number"),
    ],
)
def test_a_box_that_is_none_is_named(corners, expected):
    assert reason(to_shares, corners, 40, 30) == expected


def test_text_that_is_no_number_is_named():
    assert parse_numbers(["1", " 2.5 "]) == [1, 2.5]
    assert reason(parse_numbers, ["1", "two"]) == "box_not_a_number"


@given(MASKS)
@settings(max_examples=60, deadline=None)
def test_coco_counts_come_back_plain_and_packed(mask):
    counts = counts_of(mask)
    assert np.array_equal(decode_counts(counts, *mask.shape), mask)
    assert unpack_counts(pack_counts(counts)) == counts


def test_packed_counts_of_a_known_text():
    # 3 x 4 picture, column 1 marked: 3 background, 3 marked, 6 background.
    assert unpack_counts("333") == [3, 3, 3]
    assert unpack_counts(pack_counts([100, 7, 5000, 3, 12])) == [100, 7, 5000, 3, 12]
    assert decode_counts([3, 3, 6], 3, 4).tolist() == [[False, True, False, False]] * 3


@pytest.mark.parametrize("counts", [[3, 3], [3, -3, 12], [1.5, 10.5], [[12]], ["a"], []])
def test_counts_that_do_not_fit_are_refused(counts):
    assert reason(decode_counts, counts, 3, 4) == "runs_malformed"


@pytest.mark.parametrize("text", ["\x01", "é", "P", "oooooooooooooooo0"])
def test_text_that_is_no_packed_counts_is_refused(text):
    assert reason(unpack_counts, text) == "runs_malformed"


def test_kaggles_pairs_go_down_the_columns_from_one():
    assert decode_pairs("1 2 6 1", 3, 4).astype(int).tolist() == [[1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]]
    along = decode_pairs("0 2 5 1", 3, 4, by_columns=False, first=0)
    assert along.astype(int).tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("text", ["1 2 3", "0 2", "12 2", "1 0", "a b", "1 99999999999999999999"])
def test_pairs_that_do_not_fit_are_refused(text):
    assert reason(decode_pairs, text, 3, 4) == "runs_malformed"


def test_a_polygon_holds_the_pixels_whose_centres_it_holds():
    mask = fill_polygon([2, 1, 6, 1, 6, 4, 2, 4], 6, 8)
    assert mask.sum() == 12 and mask[1:4, 2:6].all()
    triangle = fill_polygon([0, 0, 4, 0, 0, 4], 6, 8)
    assert triangle.astype(int)[:4, :4].tolist() == [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 9)), min_size=3, max_size=7))
@settings(max_examples=60, deadline=None)
def test_a_polygon_agrees_with_the_even_odd_rule_at_every_centre(points):
    mask = fill_polygon([number for point in points for number in point], 9, 12)
    for row in range(9):
        for column in range(12):
            inside = False
            for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
                level = row + 0.5
                if (y0 > level) != (y1 > level):
                    inside ^= column + 0.5 >= x0 + (level - y0) * (x1 - x0) / (y1 - y0)
            assert mask[row, column] == inside


def test_polygons_of_one_object_add_up():
    mask = fill_polygons([[0, 0, 2, 0, 2, 2, 0, 2], [1, 1, 3, 1, 3, 3, 1, 3]], 4, 4)
    assert mask.sum() == 7


@pytest.mark.parametrize(
    ("corners", "expected"),
    [
        ([1, 1, 2, 2], "polygon_malformed"),
        ([1, 1, 2, 2, 3], "polygon_malformed"),
        ([1, 1, 2, 2, float("nan"), 3], "polygon_malformed"),
        ([1, 1, 2, 2, 12, 3], "polygon_outside_image"),
        ([1, -3, 2, 2, 2, 3], "polygon_outside_image"),
    ],
)
def test_a_polygon_that_is_none_is_named(corners, expected):
    assert reason(fill_polygon, corners, 8, 8) == expected


def test_a_refused_object_takes_its_label_out_of_the_vocabulary():
    card, box = label_card("coco", {}), (0.1, 0.1, 0.2, 0.2)
    sketches = [
        Sketch("polyp", "object/0", box=box), Sketch("cyst", "object/1", fault="box_degenerate"),
        Sketch("horn", "object/2", box=box), Sketch("scar", "object/3", fault="box_degenerate"),
    ]  # fmt: skip
    drawn = draw(sketches, "a.png", card, size=(30, 40), max_side=64, complete=("polyp", "cyst", "scar", "unused"))
    assert [region.label for region in drawn.regions] == ["polyp"] and drawn.vocabulary == ("polyp",)
    assert [(r.where, r.reason) for r in drawn.refused] == [
        ("a.png#object/1", "box_degenerate"), ("a.png#object/2", "label_not_in_vocabulary")
    ]  # fmt: skip


def test_a_nameless_fault_leaves_no_label_complete():
    sketches, card = [Sketch("", "line/1", fault="line_malformed")], label_card("yolo", {})
    drawn = draw(sketches, "a.png", card, size=(30, 40), max_side=64, complete=("polyp",))
    assert drawn.vocabulary == () and drawn.refused[0].reason == "line_malformed"


def test_an_object_too_small_to_be_seen_is_neither_listed_nor_denied():
    mask = np.zeros((300, 400), dtype=bool)
    mask[0, 0] = True
    card = label_card("coco", {})
    drawn = draw([Sketch("polyp", "x", mask=mask)], "a", card, size=(300, 400), max_side=20, complete=("polyp",))
    assert (drawn.regions, drawn.vocabulary, drawn.refused) == ((), (), ())
    empty = draw([Sketch("polyp", "x", mask=mask & False)], "a", card, size=(300, 400), max_side=20)
    assert empty.refused[0].reason == "mask_empty"


def test_the_kind_of_annotation_is_the_cards_or_what_the_regions_are():
    card = label_card("coco", {})
    boxes = draw([Sketch("polyp", "x", box=(0, 0, 1, 1))], "a", card, size=(30, 40), max_side=64)
    masks = draw([Sketch("polyp", "x", mask=np.ones((30, 40), bool))], "a", card, size=(30, 40), max_side=64)
    assert (kind_of(boxes), kind_of(masks)) == ("instance box", "instance mask")
    assert annotation_fact(card, "instance box") == (("annotation", "instance box"),)
    assert annotation_fact(make_card("a", "coco", {}, facts={"annotation": "class mask"}), "instance box") == ()
