"""Every family of files: look, fill in what is asked, and its folder is read; a broken file stops no look."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from components.data.card import load_card
from components.data.folder_look import look_at
from components.data.guess import globs_of, place_from, split_named, split_rule
from components.data.skeleton import card_name, write_skeleton
from components.errors import DataError, DatasetMissing
from tests.fakes.formats_labels import (
    coco_file,
    make_coco,
    make_folders,
    make_masks,
    make_medmnist,
    make_one_label_table,
    make_voc,
    make_yolo,
    save,
    shade,
)
from tests.fakes.formats_text import (
    make_llava_med,
    make_medpix,
    make_path_vqa,
    make_pmc_vqa_1,
    make_r2gen,
    make_roco,
    make_shards,
    make_slake,
    make_vqa_rad,
    put_json,
    put_lines,
)
from tests.fakes.formats_volumes import make_decathlon_source, make_seg_source, make_series_source
from tests.fakes.sources import make_nifti_source, make_rtstruct_source, read_all, write_nifti

ANSWERS = {
    "title": "A fake", "citation": "nobody", "url": "https://example.org", "revision": "1", "obtain": "make it",
    "licence": "CC0", "modality": "CT", "department": "General Surgery", "task": "Bone", "body_part": "hand",
}  # fmt: skip


def fill_in(value, word: str):
    """Answer what an option asks for with one word."""
    if isinstance(value, dict):
        return {name: fill_in(part, word) for name, part in value.items()}
    if isinstance(value, list):
        return [fill_in(part, word) for part in value]
    return word if isinstance(value, str) and value.startswith("FILL IN") else value


def read_by_skeleton(root: Path, *, labels=(), word: str = "lesion"):
    """Write the skeleton of a folder, answer it as a person would, and read the folder with it."""
    path = write_skeleton(root, root.parent / "cards")
    raw = yaml.safe_load(path.read_text())
    left = {name for name, value in raw.items() if value is None}
    assert left <= ANSWERS.keys()
    raw |= ANSWERS
    known = {**(raw["label_map"] or {}), **dict.fromkeys([word, *labels])}
    raw["label_map"] = {label: label.lower().replace("_", " ").strip() for label in known}
    raw["options"] = fill_in(raw["options"], word)
    path.write_text(yaml.safe_dump(raw))
    return read_all(root, load_card(path))


def make_truth(root: Path) -> None:
    for case in ("A1", "A2"):
        volume = np.full((12, 10, 6), 40, dtype=np.int16)
        write_nifti(root / case / "scan.nii.gz", volume)
        write_nifti(root / case / "truth.nii.gz", (np.indices(volume.shape)[0] < 4).astype(np.uint8))


def make_bare_volumes(root: Path) -> None:
    for case in ("A1", "A2"):
        write_nifti(root / case / "scan.nii.gz", np.full((12, 10, 6), 40, dtype=np.int16))


def make_split_volumes(root: Path) -> None:
    for part in ("train", "test"):
        volume = np.full((12, 10, 6), 40, dtype=np.int16)
        write_nifti(root / part / "images" / f"{part}_1.nii.gz", volume)
        write_nifti(
            root / part / "labels" / f"{part}_1.nii.gz", (np.indices(volume.shape)[0] < 4).astype(np.uint8)
        )


def make_bare_dicom(root: Path) -> None:
    make_series_source(root)
    for path in list(root.rglob("*.dcm")):
        path.rename(path.with_suffix(""))


def make_semicolons(root: Path) -> None:
    for number, name in enumerate("ab"):
        save(root / "img" / f"{name}.png", shade(number))
    (root / "list.csv").write_text("img;diagnosis\na.png;polyp\nb.png;cyst\n")


def make_two_cocos(root: Path) -> None:
    for part, names in (("train", "ab"), ("val", "cd")):
        for number, name in enumerate(names):
            save(root / part / f"{name}.png", shade(number))
        drawn = [{"image_id": 1, "category_id": 1, "bbox": [10, 6, 10, 9]}]
        put_json(root / "annotations" / f"instances_{part}.json", coco_file(drawn, names))


def make_other_keys(root: Path) -> None:
    for number, name in enumerate("ab"):
        save(root / "images" / f"{name}.png", shade(number))
    rows = [{"img": f"{name}.png", "query": "What?", "response": "A scan."} for name in "ab"]
    put_lines(root / "rows.jsonl", rows)


def make_sections(root: Path) -> None:
    rows = [{"image_path": [f"{name}.png"], "report": f"Clear lungs {name}."} for name in "ab"]
    for number, name in enumerate("ab"):
        save(root / "images" / f"{name}.png", shade(number))
    put_json(root / "annotation.json", {"train": rows[:1], "test": rows[1:]})


def make_yolo_classes(root: Path) -> None:
    make_yolo(root)
    (root / "data.yaml").unlink()
    (root / "classes.txt").write_text("polyp\ncyst\n")


def make_masks_beside(root: Path) -> None:
    for number, name in enumerate("ab"):
        save(root / "train" / f"{name}.png", shade(number))
        save(root / "train" / f"{name}_lesion.png", (shade(0) > 100).astype(np.uint8) * 255)


FAMILIES = (
    (make_nifti_source, "nifti_cases"), (make_decathlon_source, "nifti_cases"), (make_truth, "nifti_cases"),
    (make_bare_volumes, "nifti_cases"), (make_split_volumes, "nifti_cases"), (make_series_source, "dicom_series"),
    (make_bare_dicom, "dicom_series"), (make_seg_source, "dicom_seg"), (make_rtstruct_source, "dicom_rtstruct"),
    (make_folders, "folder_classes"), (make_one_label_table, "label_table"), (make_semicolons, "label_table"),
    (make_voc, "voc_xml"), (make_coco, "coco"), (make_two_cocos, "coco"), (make_yolo, "yolo"),
    (make_yolo_classes, "yolo"), (make_masks, "mask_images"), (make_masks_beside, "mask_images"),
    (make_medmnist, "medmnist"), (make_roco, "captions"), (make_medpix, "captions"), (make_slake, "vqa"),
    (make_vqa_rad, "vqa"), (make_pmc_vqa_1, "vqa"), (make_other_keys, "vqa"), (make_r2gen, "report_tables"),
    (make_sections, "report_tables"), (make_llava_med, "conversations"), (make_path_vqa, "hf_parquet"),
    (make_shards, "webdataset"),
)  # fmt: skip


@pytest.mark.parametrize(("maker", "reader"), FAMILIES, ids=[maker.__name__ for maker, _ in FAMILIES])
def test_an_answered_skeleton_reads_the_folder_at_once(maker, reader, tmp_path):
    maker(tmp_path / "some_set")
    guess = look_at(tmp_path / "some_set")
    assert guess.reader == reader
    records, refused = read_by_skeleton(tmp_path / "some_set", labels=LABELS.get(maker.__name__, ()))
    assert records, [(one.where, one.reason) for one in refused]


LABELS = {"make_seg_source": ("Kidney, Left", "Liver"), "make_rtstruct_source": ("GTV-1",)}


def test_what_the_files_say_is_in_the_guess(tmp_path):
    make_semicolons(tmp_path / "csv")
    guess = look_at(tmp_path / "csv")
    assert (guess.options["delimiter"], guess.labels) == (";", ("cyst", "polyp"))
    make_two_cocos(tmp_path / "coco")
    guess = look_at(tmp_path / "coco")
    assert len(guess.options["annotations"]) == 2
    assert set(guess.options["annotation_splits"].values()) == {"train", "validation"}
    assert guess.split == {"rule": "fixed", "default": "train", "assign": {"val/*": "validation"}}
    make_truth(tmp_path / "truth")
    guess = look_at(tmp_path / "truth")
    assert guess.options["images"] == [{"path": "{case}/scan.nii.gz"}]
    assert (guess.options["labels"], guess.labels) == ("{case}/truth.nii.gz", ("1",))
    make_yolo_classes(tmp_path / "yolo")
    assert look_at(tmp_path / "yolo").options["names_file"] == "classes.txt"
    make_other_keys(tmp_path / "rows")
    options = look_at(tmp_path / "rows").options
    assert (options["question"], options["answer"], options["image"]) == ("query", "response", "images/{img}")


def test_published_splits_are_kept(tmp_path):
    make_sections(tmp_path / "rows")
    records, _ = read_by_skeleton(tmp_path / "rows")
    assert {record.split for record in records} == {"train", "test"}
    make_split_volumes(tmp_path / "scans")
    records, _ = read_by_skeleton(tmp_path / "scans", labels=("1",))
    assert {record.split for record in records} == {"train", "test"} and any(r.regions for r in records)


def test_a_broken_label_file_is_passed_over(tmp_path):
    make_truth(tmp_path)
    (tmp_path / "A1" / "truth.nii.gz").write_bytes(b"\x1f\x8b broken")
    assert look_at(tmp_path).labels == ("1",)
    (tmp_path / "A2" / "truth.nii.gz").write_bytes(b"")
    assert look_at(tmp_path).labels == ()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.dcm", b"\0" * 200), ("a.parquet", b"PAR1"), ("a.npz", b"PK"), ("a.tar", b"no tar"), ("a.json", b"{"),
        ("a.jsonl", b"\xff\n"), ("a.csv", b""), ("a.csv", b"a;\"b\n"), ("a.xml", b"<annotation"), ("a.zip", b"PK"),
    ],
)  # fmt: skip
def test_a_broken_file_of_any_kind_is_told_and_never_a_traceback(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    try:
        assert look_at(tmp_path).reader in ("dicom_series", "hf_parquet")
    except DataError as error:
        assert "no reader is known" in str(error)


def test_a_coco_category_without_a_name_is_passed_over(tmp_path):
    make_coco(tmp_path)
    raw = json.loads((tmp_path / "train.json").read_text())
    del raw["categories"][0]["name"]
    (tmp_path / "train.json").write_text(json.dumps(raw))
    assert look_at(tmp_path).labels == ("cyst", "never used")


def test_a_file_an_absent_and_an_empty_folder_are_told_apart(tmp_path):
    (tmp_path / "a.txt").write_text("")
    for folder, told in ((tmp_path / "a.txt", "is a file, not a folder"), (tmp_path / "nosuch", "is not there")):
        with pytest.raises(DatasetMissing, match=told):
            look_at(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetMissing, match="no files to look at"):
        look_at(tmp_path / "empty")


def test_the_command_names_the_card_as_it_is_named(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from components.__main__ import app

    make_folders(tmp_path / "My Set (v2)")
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(app, ["source", "add", "My Set (v2)"]).output
    assert "gmai source check my_set_v2" in told and card_name(tmp_path / "My Set (v2)") == "my_set_v2"


@pytest.mark.parametrize(
    ("words", "split"),
    [("train2017", "train"), ("val_images", "validation"), ("Testing", "test"), ("contest", ""), ("a", "")],
)
def test_a_name_says_a_split_by_a_whole_word(words, split):
    assert split_named(words) == split


def test_folders_become_rules_and_globs():
    assert split_rule(["a/b.png"]) == {"rule": "fixed", "default": "train"}
    assert split_rule(["x/test/a.png", "test/b.png"])["assign"] == {"*/test/*": "test", "test/*": "test"}
    assert globs_of(["a/x.png", "b/y.jpg"]) == ["a/*.png", "b/*.jpg"]
    assert globs_of([f"p{n}/x.png" for n in range(30)]) == ["**/*.png"]
    assert [place_from("p/im/a.png", f"{there}/b.txt") for there in ("p/im", "p/gt", "q")] == [
        "{folder}",
        "{parent}/gt",
        "q",
    ]
