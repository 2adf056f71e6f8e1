"""Sources whose records come from several files at once, in portions: archives, tables of rows, DICOM folders."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from components.data import source_update
from components.data.portions import Units, list_units
from components.data.source_update import update_source
from components.tracking.digest import digest_tree
from tests.components.data.test_portions import fresh, job_of, what_is_in
from tests.fakes.formats_text import (
    make_path_vqa,
    make_release,
    make_roco,
    make_shards,
    picture,
    put,
    put_json,
    put_lines,
    put_parquet,
    put_table,
    put_tar,
    put_zip,
    release_row,
    talk,
)
from tests.fakes.formats_volumes import make_series_source, write_series
from tests.fakes.sources import make_card

TEXT = {"text": "caption", "image": "{file}"}


def captions(root: Path, rows: dict[str, list[str]], **options):
    """Tables by name, each with the pictures that its rows name."""
    for name, files in rows.items():
        put_table(root / name, [{"file": file, "caption": f"{name} says {file}."} for file in files])
    tables = [{"file": "*.csv", "split": "train"}]
    return make_card("told", "captions", {"tables": tables, **TEXT, **options}, tolerance=1.0)


def is_as_a_whole(job, tmp_path: Path) -> bool:
    """Tell whether portions have what one reading of everything has."""
    whole = job_of(job.card, job.root, tmp_path / f"whole-{len(list(tmp_path.iterdir()))}", shard_bytes=1 << 30)
    assert update_source(whole).error == ""
    return what_is_in(job.output) == what_is_in(whole.output)


def changed(job, tmp_path: Path) -> int:
    """Read again; return how many portions were read, the outcome being the same as anew."""
    result = update_source(job)
    assert result.error == "" and is_as_a_whole(job, tmp_path)
    return result.portions_read


def test_tables_with_pictures_of_their_own_are_read_apart(tmp_path):
    rows = {f"{name}.csv": [f"{name}/{n}.png" for n in range(3)] for name in "abc"}
    rows["b.csv"].append("b/none.png")
    card = captions(tmp_path / "raw", rows)
    for n, file in enumerate(file for files in rows.values() for file in files if "none" not in file):
        put(tmp_path / "raw" / file, picture(n))
    job = job_of(card, tmp_path / "raw", tmp_path / "out")
    assert set(list_units(job).own) == {"a.csv", "b.csv", "c.csv"}
    assert changed(job, tmp_path) == 3
    put(job.root / "b/1.png", picture(20))
    assert changed(job, tmp_path) == 1
    put_table(job.root / "c.csv", [{"file": f"c/{n}.png", "caption": f"Another {n}."} for n in range(3)])
    assert changed(job, tmp_path) == 1
    put_table(job.root / "c.csv", [{"file": "c/0.png", "caption": "Another word."}])
    assert changed(job, tmp_path) == 3  # pictures that nobody names count for all


def test_pictures_that_one_table_names_are_read_apart(tmp_path):
    card = captions(tmp_path / "raw", {"all.csv": [f"{n}.png" for n in range(6)] + ["none.png", "0.png"]})
    for n in range(6):
        put(tmp_path / "raw" / f"{n}.png", picture(n))
    put(tmp_path / "raw" / "5.png", b"not a picture")
    job = job_of(card, tmp_path / "raw", tmp_path / "out")
    assert len(list_units(job).own) == 7
    assert changed(job, tmp_path) == 7
    lines = (job.output / "rejected.jsonl").read_text().splitlines()
    reasons = sorted(json.loads(line)["reason"] for line in lines)
    assert reasons == ["file_missing", "file_unreadable", "row_repeated"]
    put(job.root / "3.png", picture(33))
    assert changed(job, tmp_path) == 1
    put_table(job.root / "all.csv", [{"file": f"{n}.png", "caption": "All anew."} for n in range(6)])
    assert changed(job, tmp_path) == 6


def test_two_tables_that_name_one_picture_are_parted_by_picture(tmp_path):
    card = captions(tmp_path / "raw", {"a.csv": ["0.png", "1.png"], "b.csv": ["1.png", "2.png"]})
    for n in range(3):
        put(tmp_path / "raw" / f"{n}.png", picture(n))
    job = job_of(card, tmp_path / "raw", tmp_path / "out")
    assert set(list_units(job).own) == {"0.png", "1.png", "2.png"}
    assert changed(job, tmp_path) == 3


def test_archives_are_read_apart_and_what_none_holds_is_named_once(tmp_path):
    card = captions(
        tmp_path / "raw", {"all.csv": [f"{n}.png" for n in range(4)] + ["none.png"]}, archives=["*.zip", "*.tar"]
    )
    put_zip(tmp_path / "raw/a.zip", {"0.png": picture(0), "1.png": picture(1), "../x.png": b"", "more.png": b""})
    put_tar(tmp_path / "raw/b.tar", [("2.png", picture(2)), ("3.png", b"torn")])
    job = job_of(card, tmp_path / "raw", tmp_path / "out")
    assert set(list_units(job).own) == {"a.zip", "b.tar"}
    assert changed(job, tmp_path) == 2
    refused = (job.output / "rejected.jsonl").read_text()
    assert refused.count("file_missing") == 1 and refused.count("path_escapes_source") == 1
    put_zip(job.root / "a.zip", {"0.png": picture(9), "1.png": picture(1)})
    assert changed(job, tmp_path) == 1
    put_zip(job.root / "c.zip", {"none.png": picture(4)})
    assert changed(job, tmp_path) == 1


def test_a_picture_in_two_archives_is_read_in_one_go(tmp_path):
    card = captions(tmp_path / "raw", {"all.csv": ["0.png", "1.png"]}, archives=["*.zip"])
    put_zip(tmp_path / "raw/a.zip", {"0.png": picture(0)})
    put_zip(tmp_path / "raw/b.zip", {"0.png": picture(5), "1.png": picture(1)})
    job = job_of(card, tmp_path / "raw", tmp_path / "out")
    assert list_units(job) == Units()
    assert update_source(job).portions == 1
    assert (job.output / "rejected.jsonl").read_text().count("image_repeated") == 1


def test_texts_alone_are_a_portion_beside_archives(tmp_path):
    card = make_release(tmp_path / "raw").model_copy(update={"tolerance": 1.0})
    more = "images/2d/cls/ct/other/images/x/b.tif"
    put_lines(tmp_path / "raw/annotations/GMAI-MM-Caption-2.jsonl", [release_row(more, "<image>\nSay.", "Bone.")])
    put_zip(tmp_path / "raw/zips/images_chunk_002.zip", {more.removeprefix("images/"): picture(2, form="TIFF")})
    job = job_of(card, tmp_path / "raw", tmp_path / "out")
    assert len(list_units(job).own) == 3
    assert changed(job, tmp_path) == 3
    put_lines(
        job.root / "annotations/GMAI_Text_Multi_0.7M.jsonl", [{"id": "t", "conversations": talk("A?", "B.")}]
    )
    assert changed(job, tmp_path) == 1


def test_pictures_of_one_table_that_are_spoken_of_together_are_read_in_one_go(tmp_path):
    rows = [{"image": ["a.png", "b.png"], "conversations": talk("<image>\n<image>\nSame?", "No.")}]
    put_json(tmp_path / "raw/all.json", rows)
    for name in "ab":
        put(tmp_path / f"raw/{name}.png", picture(ord(name) % 7))
    card = make_card("both", "conversations", {"tables": [{"file": "all.json"}]})
    job = job_of(card, tmp_path / "raw", tmp_path / "out")
    assert list_units(job) == Units()
    assert update_source(job).kept == 3
    put_json(job.root / "more.json", [{"image": ["c.png"], "conversations": talk("<image>\nWhat?", "It.")}])
    put(job.root / "c.png", picture(6))
    card = make_card("both", "conversations", {"tables": [{"file": "*.json"}]})
    apart = job_of(card, job.root, tmp_path / "apart")
    assert changed(apart, tmp_path) == 2  # a second table with pictures of its own: each table is a unit


def test_parquet_files_are_read_apart_unless_a_picture_is_in_two(tmp_path):
    card = make_path_vqa(tmp_path / "raw")
    job = job_of(card, tmp_path / "raw", tmp_path / "out")

    def put_file(number: int, pictures: tuple[int, ...], said: str) -> None:
        columns = {
            "image": [{"bytes": picture(n), "path": None} for n in pictures],
            "question": ["what?"] * len(pictures), "answer": [f"{said} {n}" for n in pictures],
        }  # fmt: skip
        put_parquet(job.root / f"data/train-0000{number}-of-00003.parquet", columns)

    put_file(1, (5, 6), "cell")
    put_file(2, (7,), "vessel")
    assert changed(job, tmp_path) == 3
    put_file(2, (7,), "nerve")
    assert changed(job, tmp_path) == 1
    put_file(2, (5, 7), "nerve")
    assert list_units(job) == Units()
    assert changed(job, tmp_path) == 1 and update_source(job).portions == 1


def test_webdataset_shards_are_read_apart(tmp_path):
    card = make_shards(tmp_path / "raw").model_copy(update={"tolerance": 1.0})
    job = job_of(card, tmp_path / "raw", tmp_path / "out")
    sample = [
        ("7.jpg", picture(7, form="JPEG")),
        ("7.txt", b"A rib."),
        ("7.cls", b"0"),
        ("7.json", b'{"who": "p"}'),
    ]
    put_tar(job.root / "train-000001.tar", [*sample, ("8.txt", b"No picture."), ("8.cls", b"9"), ("8.json", b"{")])
    assert changed(job, tmp_path) == 2
    put_tar(job.root / "train-000001.tar", sample)
    assert changed(job, tmp_path) == 1


def test_folders_of_series_are_read_apart_unless_an_instance_is_in_two(tmp_path):
    card = make_series_source(tmp_path / "raw")
    job = job_of(card, tmp_path / "raw", tmp_path / "out")
    assert set(list_units(job).own) == {"P-1/study/late", "P-1/study/thin", "P-2/study/thin"}
    assert changed(job, tmp_path) == 3
    write_series(job.root / "P-2" / "study" / "thin", "P-2.thin", RescaleSlope=0.25)
    assert changed(job, tmp_path) == 1
    twin = next((job.root / "P-2" / "study" / "thin").iterdir())
    put(job.root / "P-3" / "study" / twin.name, twin.read_bytes())
    assert list_units(job) == Units()


def test_the_shared_code_is_hashed_once_for_a_large_source(tmp_path, monkeypatch):
    hashed: list[Path] = []
    digest = source_update.digest_file
    monkeypatch.setattr(source_update, "digest_file", lambda path: (hashed.append(path), digest(path))[1])
    plan = source_update.make_plan(job_of(make_roco(tmp_path / "raw"), tmp_path / "raw", tmp_path / "out"))
    assert len(plan.portions) == 2
    assert max(Counter(hashed).values()) == 1


@pytest.mark.parametrize("make", [make_roco, make_shards])
def test_portions_give_the_same_bytes_as_anew(tmp_path, make):
    job = job_of(make(tmp_path / "raw"), tmp_path / "raw", tmp_path / "out")
    assert update_source(job).error == ""
    assert digest_tree(job.output) == fresh(job, tmp_path / "anew")
