"""A folder a class: labels by depth or pattern, splits by folder, and pictures that do not fit."""

import pytest

from components.errors import CardInvalid
from tests.fakes.formats_labels import make_folders, save, shade
from tests.fakes.sources import read_all


def test_the_golden_records(tmp_path):
    records, refused = read_all(tmp_path, make_folders(tmp_path))
    assert not refused
    assert [(r.source_path, r.labels, r.split, r.window, r.width, r.height) for r in records] == [
        ("fake_folder_classes/test/polyp/deep/c.png", ("polyp",), "test", "stored", 40, 30),
        ("fake_folder_classes/train/NORMAL/b.jpg", ("normal",), "train", "stored", 40, 30),
        ("fake_folder_classes/train/polyp/a.png", ("polyp",), "train", "stored", 40, 30),
    ]
    assert all(not r.regions and not r.regions_complete and not r.absent_labels for r in records)


def test_classes_that_exclude_each_other_rule_out_the_rest(tmp_path):
    records, _ = read_all(tmp_path, make_folders(tmp_path, options={"exclusive": True}))
    assert {r.labels: r.absent_labels for r in records} == {
        ("polyp",): ("cyst", "normal"), ("normal",): ("cyst", "polyp")
    }  # fmt: skip


def test_bad_pictures_and_unknown_folders_are_refused_and_the_rest_stays(tmp_path):
    card = make_folders(tmp_path)
    save(tmp_path / "train" / "horn" / "d.png")
    save(tmp_path / "alone.png")
    (tmp_path / "train" / "polyp" / "empty.png").write_bytes(b"")
    (tmp_path / "train" / "polyp" / "text.png").write_bytes(b"no picture at all" * 9)
    whole = save(tmp_path / "train" / "polyp" / "cut.png").read_bytes()
    (tmp_path / "train" / "polyp" / "cut.png").write_bytes(whole[:-40])
    records, refused = read_all(tmp_path, card)
    assert len(records) == 3 and {r.where: r.reason for r in refused} == {
        "alone.png": "class_not_in_path", "train/horn/d.png": "label_not_in_vocabulary",
        "train/polyp/empty.png": "file_empty", "train/polyp/text.png": "file_unreadable",
        "train/polyp/cut.png": "file_truncated",
    }  # fmt: skip


def test_skipped_pictures_are_not_read(tmp_path):
    card = make_folders(tmp_path, options={"skip": ["*/deep/*"]})
    assert len(read_all(tmp_path, card)[0]) == 2


def test_the_class_may_be_in_the_name(tmp_path):
    for name in ("BAR_02.png", "NPL_03.png"):
        save(tmp_path / name, shade(len(name)))
    terms = {"BAR": "Barrett oesophagus", "NPL": "neoplasia"}
    options = {"images": ["*.png"], "class_pattern": r"^([A-Z]+)_", "class_depth": None}
    card = make_folders(tmp_path, options=options, label_map=terms)
    records, _ = read_all(tmp_path, card)
    assert [r.labels for r in records] == [("Barrett oesophagus",), ("neoplasia",)]


def test_an_unknown_option_is_named(tmp_path):
    card = make_folders(tmp_path, options={"class_dept": 1})
    with pytest.raises(CardInvalid, match="did you mean 'class_depth'"):
        read_all(tmp_path, card)
