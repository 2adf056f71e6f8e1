"""COCO: boxes, polygons and both run lengths, several files, crowds, and entries that do not fit."""

import json

import numpy as np
import pytest

from components.data.masks import decode_runs
from components.errors import DataError
from tests.fakes.formats_labels import (
    HEIGHT,
    WIDTH,
    coco_file,
    counts_of,
    label_card,
    make_coco,
    pack_counts,
    rectangle,
    save,
    shade,
)
from tests.fakes.sources import read_all

SQUARE = [10, 6, 20, 6, 20, 15, 10, 15]
MASK = rectangle(6, 10, 15, 20) > 0


def reasons(refused):
    return [(r.where, r.reason) for r in refused]


def test_the_golden_records(tmp_path):
    (first, second), refused = read_all(tmp_path, make_coco(tmp_path))
    polyp, cyst = first.regions
    assert not refused and first.source_path == "fake_coco/train/a.png" and second.regions == ()
    assert (polyp.label, polyp.mask) == ("polyp", "")
    assert polyp.box == pytest.approx((0.25, 0.2, 0.5, 0.5), abs=1e-6)
    assert cyst.box == pytest.approx((0, 0, 4 / 40, 4 / 30), abs=1e-6)
    assert decode_runs(cyst.mask).sum() == 16 and cyst.area_fraction == pytest.approx(16 / 1200)
    assert first.region_vocabulary == second.region_vocabulary == ("cyst", "polyp")
    assert first.fact("annotation") == "instance box"


@pytest.mark.parametrize(
    "outline",
    [
        [SQUARE],
        {"size": [HEIGHT, WIDTH], "counts": counts_of(MASK)},
        {"size": [HEIGHT, WIDTH], "counts": pack_counts(counts_of(MASK))},
    ],
)
def test_every_outline_gives_the_same_mask(outline, tmp_path):
    drawn = [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "segmentation": outline}]
    records, _ = read_all(tmp_path, make_coco(tmp_path, drawn))
    (region,) = records[0].regions
    assert np.array_equal(decode_runs(region.mask), MASK) and region.box == (0.25, 0.2, 0.5, 0.5)
    assert records[0].fact("annotation") == "instance mask"
    boxed = make_coco(tmp_path / "boxes", drawn, options={"masks": False})
    assert read_all(tmp_path / "boxes", boxed)[0][0].regions[0].mask == ""


@pytest.mark.parametrize("escaped", [True, False])
def test_ids_and_names_may_be_text_in_any_script(escaped, tmp_path):
    card = make_coco(tmp_path, label_map={"息肉": "polyp"})
    raw = {
        "annotations": [{"id": "标注一", "image_id": "图一", "category_id": "类", "bbox": [10, 6, 10, 9]}],
        "categories": [{"id": "类", "name": "息肉"}], "images": [{"id": "图一", "file_name": "a.png"}],
    }  # fmt: skip
    (tmp_path / "train.json").write_text(json.dumps(raw, ensure_ascii=escaped), encoding="utf-8")
    (record,), refused = read_all(tmp_path, card)
    assert not refused and [region.label for region in record.regions] == ["polyp"]


def test_a_skipped_picture_is_left_out_without_a_word(tmp_path):
    records, refused = read_all(tmp_path, make_coco(tmp_path, options={"skip": ["*/a.png"]}))
    assert [r.source_path for r in records] == ["fake_coco/train/b.png"] and not refused


def test_a_crowd_is_told_and_leaves_its_label_open(tmp_path):
    drawn = [
        {"image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "iscrowd": 1},
        {"image_id": 1, "category_id": 2, "bbox": [1, 1, 9, 9], "iscrowd": 0},
    ]
    first, second = read_all(tmp_path, make_coco(tmp_path, drawn))[0]
    assert [region.label for region in first.regions] == ["cyst"] and first.fact("crowd objects") == "1"
    assert (first.region_vocabulary, second.region_vocabulary) == (("cyst",), ("cyst", "polyp"))


def test_bad_objects_are_refused_one_by_one(tmp_path):
    bad = [
        {"bbox": [10, 6, 0, 9]}, {"bbox": [10, 6, 90, 9]}, {"bbox": [10, 6]}, {},
        {"bbox": [1, 1, float("nan"), 2]},
        {"segmentation": [[1, 1, 2]]}, {"segmentation": {"size": [9, 9], "counts": [81]}},
        {"segmentation": {"size": [HEIGHT, WIDTH], "counts": [3, 3]}},
        {"segmentation": {"size": [HEIGHT, WIDTH], "counts": "\u00e9"}}, {"segmentation": [[50, 1, 60, 1, 60, 9]]},
        {"segmentation": {"counts": [1]}}, {"segmentation": [["a", "b", "c", "d", "e", "f"]]},
        {"segmentation": {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}},
    ]  # fmt: skip
    drawn = [{"image_id": 1, "category_id": 1, **item} for item in bad]
    drawn += [{"image_id": 1, "category_id": 9, "bbox": [1, 1, 2, 2]}, {"image_id": 7, "category_id": 1}]
    records, refused = read_all(tmp_path, make_coco(tmp_path, drawn))
    assert len(records) == 2 and records[0].regions == () and records[0].region_vocabulary == ()
    assert [reason for _, reason in reasons(refused)] == [
        "image_not_listed", "box_degenerate", "box_outside_image", "annotation_malformed", "annotation_malformed",
        "box_not_a_number", "polygon_malformed", "mask_size_differs", "runs_malformed", "runs_malformed",
        "polygon_outside_image", "annotation_malformed", "annotation_malformed", "mask_empty",
        "category_not_listed",
    ]  # fmt: skip
    assert refused[1].where == "train/a.png#annotation/1"


def test_several_files_are_several_splits_with_their_own_categories(tmp_path):
    for split, names in (("train", "a"), ("val", "b")):
        save(tmp_path / "images" / split / f"{names}.png", shade(len(split)))
        raw = coco_file([{"image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9]}], names)
        (tmp_path / f"instances_{split}.json").write_text(json.dumps(raw))
    save(tmp_path / "images" / "val" / "extra.png")
    options = {
        "annotations": ["instances_*.json"], "annotation_splits": {"*_val.json": "validation"},
        "image": "images/*/{file_stem}.png", "images": ["images/*/*.png"],
    }  # fmt: skip
    records, refused = read_all(tmp_path, label_card("coco", options))
    assert [r.split for r in records] == ["train", "validation"]
    assert reasons(refused) == [("images/val/extra.png", "annotation_missing")]


def test_bad_pictures_and_repeated_ids_are_refused(tmp_path):
    card = make_coco(tmp_path)
    raw = coco_file([{"image_id": 2, "category_id": 1, "bbox": [1, 1, 9, 9]}], "ab")
    more = [
        {"id": 2, "file_name": "a.png"}, {"id": 3, "file_name": "absent.png"}, {"id": 5},
        {"id": 4, "file_name": "../../x.png"}, {"id": 6, "file_name": "a.png"}, {"id": 7, "file_name": "c.png"},
        {"id": 8, "file_name": "d.png"},
    ]  # fmt: skip
    raw["images"] += more
    raw["annotations"].append(raw["annotations"][0])
    raw["images"][1]["width"] = 99
    (tmp_path / "train" / "c.png").write_bytes(b"")
    (tmp_path / "train" / "d.png").write_bytes(b"nothing of the kind" * 5)
    (tmp_path / "train.json").write_text(json.dumps(raw))
    records, refused = read_all(tmp_path, card)
    assert len(records) == 1 and reasons(refused) == [
        ("train.json#image/2", "image_id_repeated"), ("train.json#annotation/1", "annotation_id_repeated"),
        ("train.json#image/2", "image_size_differs"), ("train.json#image/3", "file_missing"),
        ("train.json#image/5", "image_name_missing"), ("train.json#image/4", "path_escapes_source"),
        ("train.json#image/6", "image_repeated"), ("train.json#image/7", "file_empty"),
        ("train.json#image/8", "file_unreadable"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"images": [],}', "json_malformed"), ("", "json_malformed"), ('{"images": []', "json_malformed"),
        ("\xff\xfe", "json_malformed"), ("[1, 2]", "json_not_coco"), ("{}", "json_not_coco"),
        ('{"images": [1], "categories": [], "annotations": []}', "json_not_coco"),
        ('{"images": [], "categories": [], "annotations": [{"id": 1}]}', "json_not_coco"),
        ("[" * 100_000, "json_malformed"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_coco_stops_the_source_with_its_reason(text, told, tmp_path):
    card = make_coco(tmp_path)
    (tmp_path / "train.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=told):
        read_all(tmp_path, card)
