"""Mask pictures: one label, codes, files an object, raters, crops, run lengths; and masks that do not fit."""

import numpy as np
import pytest

from components.data.masks import decode_runs
from components.errors import DataError
from tests.fakes.formats_labels import label_card, make_masks, rectangle, save, shade
from tests.fakes.sources import read_all


def reasons(refused):
    return [(r.where, r.reason) for r in refused]


def areas(record):
    return [(region.label, int(decode_runs(region.mask).sum())) for region in record.regions]


def test_the_golden_record(tmp_path):
    (record,), refused = read_all(tmp_path, make_masks(tmp_path))
    (region,) = record.regions
    assert not refused and record.source_path == "fake_mask_images/images/a.png"
    assert (region.label, region.box) == ("polyp", (0.25, 0.2, 0.5, 0.5))
    assert np.array_equal(decode_runs(region.mask), rectangle(6, 10, 15, 20) > 0)
    assert region.area_fraction == pytest.approx(90 / 1200)
    assert record.region_vocabulary == ("polyp",) and record.facts == (("annotation", "class mask"),)


def test_codes_become_one_region_a_label(tmp_path):
    mask = rectangle(0, 0, 5, 5, 1) + rectangle(20, 20, 22, 22, 1) + rectangle(10, 0, 12, 40, 2)
    layers = [{"masks": "masks/{stem}_mask.png", "values": {1: "polyp", 2: "cyst", 3: "NORMAL", 4: "scar"}}]
    (record,), _ = read_all(tmp_path, make_masks(tmp_path, mask, layers=layers))
    assert areas(record) == [("polyp", 29), ("cyst", 80)]
    assert record.region_vocabulary == ("cyst", "normal", "polyp")


def test_an_unexplained_value_and_a_mask_of_another_size_are_refused(tmp_path):
    layers = [{"masks": "masks/{stem}_mask.png", "values": {1: "polyp"}}]
    card = make_masks(tmp_path, rectangle(0, 0, 5, 5, 9), layers=layers)
    assert reasons(read_all(tmp_path, card)[1]) == [("images/a.png", "mask_value_unknown")]
    save(tmp_path / "masks" / "a_mask.png", np.zeros((30, 41), dtype=np.uint8))
    assert reasons(read_all(tmp_path, card)[1]) == [("images/a.png", "mask_size_differs")]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "file_empty"), (b"nothing of the kind" * 5, "file_unreadable"), (None, "mask_missing")],
)
def test_a_mask_that_does_not_read_refuses_its_picture_alone(content, reason, tmp_path):
    card = make_masks(tmp_path)
    save(tmp_path / "images" / "b.png", shade(1))
    mask = save(tmp_path / "masks" / "b_mask.png", rectangle(0, 0, 3, 3))
    mask.write_bytes(content) if content is not None else mask.unlink()
    records, refused = read_all(tmp_path, card)
    assert len(records) == 1 and reasons(refused) == [("images/b.png", reason)]


def test_layers_add_up_and_one_may_be_missing(tmp_path):
    layers = [
        {"masks": "masks/{stem}_mask.png", "label": "polyp"},
        {"masks": "cysts/{stem}.png", "label": "cyst", "missing": "empty"},
    ]
    card = make_masks(tmp_path, layers=layers)
    assert read_all(tmp_path, card)[0][0].region_vocabulary == ("cyst", "polyp")
    save(tmp_path / "cysts" / "a.png", rectangle(0, 0, 2, 3))
    assert areas(read_all(tmp_path, card)[0][0]) == [("polyp", 90), ("cyst", 6)]


def test_a_file_an_object_may_be_counted(tmp_path):
    save(tmp_path / "case" / "images" / "case.png")
    for number in range(3):
        save(tmp_path / "case" / "masks" / f"{number}.png", rectangle(8 * number, 0, 8 * number + 4, 4))
    layers = [{"masks": "{parent}/masks/*.png", "label": "polyp", "holds": "one object"}]
    card = label_card("mask_images", {"images": ["*/images/*.png"], "layers": layers})
    (record,), _ = read_all(tmp_path, card)
    assert areas(record) == [("polyp", 16)] * 3 and record.fact("annotation") == "instance mask"


def test_a_number_an_object_and_one_too_small_to_see(tmp_path):
    mask = rectangle(0, 0, 5, 5, 7) + rectangle(10, 10, 14, 14, 9)
    layers = [{"masks": "masks/{stem}_mask.png", "label": "polyp", "holds": "objects"}]
    (record,), _ = read_all(tmp_path, make_masks(tmp_path, mask, layers=layers))
    assert areas(record) == [("polyp", 25), ("polyp", 16)]


@pytest.mark.parametrize(("agreement", "area"), [("union", 150), ("intersection", 50), ("majority", 100)])
def test_raters_agree_as_the_card_says(agreement, area, tmp_path):
    save(tmp_path / "images" / "a.png")
    for rater, right in (("r1", 10), ("r2", 20), ("r3", 30)):
        save(tmp_path / rater / "a.png", rectangle(0, 0, 5, right))
    layers = [{"masks": f"{rater}/{{stem}}.png", "label": "polyp", "rater": rater} for rater in ("r1", "r2", "r3")]
    card = label_card("mask_images", {"images": ["images/*.png"], "layers": layers, "agreement": agreement})
    (record,), _ = read_all(tmp_path, card)
    assert areas(record) == [("polyp", area)] and record.fact("raters") == f"{agreement} of 3"


def test_what_only_one_of_three_raters_marked_is_no_majority(tmp_path):
    save(tmp_path / "images" / "a.png")
    for rater in ("r1", "r2", "r3"):
        save(tmp_path / rater / "a.png", rectangle(0, 0, 5, 5 if rater == "r2" else 0))
    layers = [{"masks": f"{rater}/{{stem}}.png", "label": "polyp", "rater": rater} for rater in ("r1", "r2", "r3")]
    (record,), refused = read_all(
        tmp_path, label_card("mask_images", {"images": ["images/*.png"], "layers": layers})
    )
    assert (record.regions, record.region_vocabulary, refused) == ((), ("polyp",), [])


def crop_source(root, rows, crop=None):
    save(root / "images" / "a.png")
    save(root / "crops" / "a_1.png", rectangle(0, 0, 30, 40)[:6, :8] if crop is None else crop)
    (root / "crops.csv").write_text(f"image,crop,x,y\n{rows}")
    layers = [{"masks": "crops/{crop}.png", "label": "polyp"}]
    crops = {"file": "crops.csv", "key": "{image}", "left": "x", "top": "y"}
    return label_card("mask_images", {"images": ["images/*.png"], "layers": layers, "crops": crops})


def test_a_crop_is_put_back_where_it_was_cut_out(tmp_path):
    (record,), _ = read_all(tmp_path, crop_source(tmp_path, "a,a_1,10,20\n"))
    assert record.regions[0].box == pytest.approx((10 / 40, 20 / 30, 18 / 40, 26 / 30), abs=1e-6)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ("a,a_1,39,0\n", "mask_outside_image"), ("a,a_1,-1,0\n", "mask_outside_image"),
        ("a,a_1,x,0\n", "box_not_a_number"), ("b,a_1,0,0\n", "mask_missing"), ("a,absent,0,0\n", "mask_missing"),
        ("a,../../secret,0,0\n", "path_escapes_source"),
    ],
)  # fmt: skip
def test_a_crop_that_does_not_fit_is_refused(rows, reason, tmp_path):
    assert reasons(read_all(tmp_path, crop_source(tmp_path, rows))[1]) == [("images/a.png", reason)]


def run_source(root, rows, **table):
    for number, name in enumerate("ab"):
        save(root / "images" / f"{name}.png", shade(number))
    (root / "train.csv").write_text(f"id,label,runs\n{rows}")
    runs = {"file": "train.csv", "key": "{id}", "runs": "runs", "label_column": "label", **table}
    return label_card("mask_images", {"images": ["images/*.png"], "runs": runs})


def test_run_lengths_go_down_the_columns(tmp_path):
    card = run_source(tmp_path, "a,polyp,1 2 31 2\na,cyst,1200 1\nb,polyp,\nb,cyst,-1\n")
    (first, second), refused = read_all(tmp_path, card)
    assert not refused and areas(first) == [("polyp", 4), ("cyst", 1)] and second.regions == ()
    assert first.regions[0].box == pytest.approx((0, 0, 2 / 40, 2 / 30), abs=1e-6)
    assert first.regions[1].box == pytest.approx((39 / 40, 29 / 30, 1, 1), abs=1e-6)
    assert "polyp" in second.region_vocabulary and second.regions_complete


def test_each_row_may_be_an_object(tmp_path):
    card = run_source(
        tmp_path, "a,polyp,1 2\na,polyp,31 2\nb,polyp,5 1\n", holds="objects", label="polyp", label_column=""
    )
    records, _ = read_all(tmp_path, card)
    assert [areas(record) for record in records] == [[("polyp", 2), ("polyp", 2)], [("polyp", 1)]]


def test_rows_that_do_not_fit_are_refused(tmp_path):
    card = run_source(tmp_path, "a,polyp,1 2 3\nc,polyp,1 2\nd\n")
    records, refused = read_all(tmp_path, card)
    assert not records and reasons(refused) == [
        ("train.csv#row/3", "row_malformed"), ("images/a.png", "runs_malformed"), ("images/b.png", "row_missing"),
        ("train.csv#c", "file_missing"),
    ]  # fmt: skip
    card = run_source(tmp_path, "a,horn,1 2\n", without_row="empty")
    (first, second), refused = read_all(tmp_path, card)
    assert reasons(refused) == [("images/a.png#label/horn", "label_not_in_vocabulary")] and not second.regions


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"images": ["*.png"]}, "`layers` or `runs`"),
        ({"images": ["*.png"], "runs": {"file": "a", "key": "b", "runs": "c"}}, "`label` or `label_column`"),
    ],
)
def test_options_without_masks_are_refused(options, told, tmp_path):
    with pytest.raises(DataError, match=told):
        read_all(tmp_path, label_card("mask_images", options))
