"""A large source is read in portions: the same records as in one go, and only what changed is read again."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from components.data import portions
from components.data.catalog import find_reader
from components.data.ingest import remove_others
from components.data.portions import ALL, SourceJob, cut, list_units
from components.data.reading import Draft
from components.data.source_update import make_plan, read_sources, update_source
from components.errors import DataError
from components.tracking.digest import digest_tree
from components.tracking.tables import iterate_rows
from drills.malformed_inputs import makers
from tests.fakes.formats_labels import (
    make_coco,
    make_folders,
    make_one_label_table,
    make_table,
    make_yolo,
    save,
    shade,
)
from tests.fakes.sources import make_nifti_source

EACH_ITS_OWN = 1  # bytes a portion: every unit ends one
TOGETHER = {"make_pubmedvision", "make_r2gen"}  # one table whose rows speak of several pictures


def job_of(card, root: Path, output: Path, *, shard_bytes: int = EACH_ITS_OWN) -> SourceJob:
    return SourceJob(card, root, output, max_side=64, shard_bytes=shard_bytes, secret=b"k")


def in_portions() -> dict:
    return {name: make for name, make in makers().items() if _allows(make)}


def _allows(make) -> bool:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return getattr(find_reader(make(Path(folder)).reader), "PORTIONS", False)


def what_is_in(output: Path) -> tuple[list, Counter]:
    records = sorted(iterate_rows(output), key=lambda row: row["record_id"])
    return records, Counter((output / "rejected.jsonl").read_text().splitlines())


@pytest.mark.parametrize("name", sorted(in_portions()))
def test_portions_say_what_one_reading_says(name, tmp_path):
    card = makers()[name](tmp_path / "raw").model_copy(update={"tolerance": 1.0})
    whole = job_of(card, tmp_path / "raw", tmp_path / "whole", shard_bytes=1 << 30)
    apart = job_of(card, tmp_path / "raw", tmp_path / "apart")
    assert [update_source(job).error for job in (whole, apart)] == ["", ""]
    plan = make_plan(apart)
    assert plan.manifest is not None and ("portions" not in plan.manifest) == (name in TOGETHER)
    assert what_is_in(apart.output) == what_is_in(whole.output)


@pytest.mark.parametrize("name", sorted(in_portions()))
def test_units_are_listed_without_a_picture(name, tmp_path, monkeypatch):
    card = makers()[name](tmp_path)
    made: list[Draft] = []
    created = Draft.__init__
    monkeypatch.setattr(Draft, "__init__", lambda self, *a, **k: (made.append(self), created(self, *a, **k))[1])
    assert bool(list_units(job_of(card, tmp_path, tmp_path / "out")).own) == (name not in TOGETHER)
    assert not made


@pytest.fixture
def folder(tmp_path):
    """Twelve pictures in two classes, and the job that reads them."""
    for number in range(12):
        save(tmp_path / "raw" / ("polyp" if number % 2 else "cyst") / f"{number:02d}.png", shade(number))
    card = make_folders(tmp_path / "aside", options={"images": ["*/*.png"], "class_depth": 0})
    return job_of(card, tmp_path / "raw", tmp_path / "out")


def fresh(job: SourceJob, output: Path) -> str:
    """Read everything anew elsewhere and return the digest of what came out."""
    update_source(job_of(job.card, job.root, output))
    return digest_tree(output)


def test_one_changed_file_reads_its_own_portion_alone(folder, tmp_path):
    assert update_source(folder).portions_read == 12
    save(folder.root / "polyp" / "03.png", shade(200))
    result = update_source(folder)
    assert (result.portions, result.portions_read, result.was_kept) == (12, 1, False)
    assert digest_tree(folder.output) == fresh(folder, tmp_path / "anew")


def test_a_file_that_comes_or_goes_moves_no_other_portion(folder, tmp_path):
    update_source(folder)
    save(folder.root / "cyst" / "05a.png", shade(77))
    assert update_source(folder).portions_read == 1
    (folder.root / "cyst" / "00.png").unlink()
    assert update_source(folder).portions_read == 0
    assert digest_tree(folder.output) == fresh(folder, tmp_path / "anew")


def test_what_all_pictures_share_reads_all_of_them_again(tmp_path):
    text = "id,finding\na,polyp\nb,cyst\n"
    card = make_table(tmp_path / "raw", text, {"label_column": "finding"})
    job = job_of(card, tmp_path / "raw", tmp_path / "out")
    assert update_source(job).error == ""
    [table] = (tmp_path / "raw").rglob("*.csv")
    table.write_text(text.replace("b,cyst", "b,polyp"))
    assert update_source(job).portions_read == 2


def test_an_annotation_of_one_picture_is_its_own(tmp_path):
    job = job_of(make_yolo(tmp_path / "raw"), tmp_path / "raw", tmp_path / "out")
    save(job.root / "images" / "train" / "b.png", shade(3))
    lines = job.root / "labels" / "train" / "b.txt"
    lines.write_text("1 0.5 0.5 0.2 0.2\n")
    assert update_source(job).portions_read == 2
    lines.write_text("0 0.5 0.5 0.2 0.2\n")
    assert update_source(job).portions_read == 1


def test_another_card_reads_everything_again(folder):
    update_source(folder)
    other = folder.card.model_copy(update={"licence": "another"})
    assert update_source(job_of(other, folder.root, folder.output)).portions_read == 12


def test_a_small_source_and_a_reader_without_portions_are_read_whole(tmp_path):
    card = make_coco(tmp_path / "coco")
    plan = make_plan(job_of(card, tmp_path / "coco", tmp_path / "out", shard_bytes=1 << 30))
    assert [portion.units for portion in plan.portions] == [(ALL,)]
    card = makers()["make_medmnist"](tmp_path / "npz")
    plan = make_plan(job_of(card, tmp_path / "npz", tmp_path / "out2"))
    assert [portion.units for portion in plan.portions] == [(ALL,)]


def test_a_unit_that_is_asked_for_twice_has_no_portion(tmp_path, monkeypatch):
    card = make_folders(tmp_path)
    reader = find_reader(card.reader)
    once = reader.read
    monkeypatch.setattr(reader, "read", lambda *a: iter([*once(*a), *once(*a)]))
    assert not list_units(job_of(card, tmp_path, tmp_path / "out")).own


def test_portions_that_were_read_outlive_a_failure(folder, monkeypatch, tmp_path):
    written, writes = portions.write_portion, []

    def fail_at_the_sixth(job, portion, samples, screen):
        writes.append(portion)
        if len(writes) == 6:
            raise DataError("the disk is full", where="here")
        written(job, portion, samples, screen)

    monkeypatch.setattr(portions, "write_portion", fail_at_the_sixth)
    assert "the disk is full" in update_source(folder).error
    assert not folder.output.exists()
    monkeypatch.setattr(portions, "write_portion", written)
    remove_others(tmp_path, [folder.output.name, "raw", "aside"])
    assert update_source(folder).portions_read == 7
    assert digest_tree(folder.output) == fresh(folder, tmp_path / "anew")
    assert not folder.store.exists()


def test_a_portion_that_is_gone_is_named(folder):
    plan = make_plan(folder)
    with pytest.raises(DataError, match="gone since it was read"):
        portions.assemble(folder, plan.portions, folder.output)


def test_borders_follow_bytes(tmp_path):
    units = portions.Units({f"{number}.png": () for number in range(2000)})
    files = {f"{number}.png": (str(number), 100) for number in range(2000)}
    found = cut(units, files, "basis", portion_bytes=10_000)
    assert 10 <= len(found) <= 32  # twenty are expected
    assert [unit for portion in found for unit in portion.units] == list(units.own)


def test_a_file_that_two_units_need_counts_for_both(tmp_path):
    files = {name: (name, 10) for name in ("a.png", "b.png", "mask.png")}
    both = portions.Units({"a.png": ("mask.png",), "b.png": ("mask.png",)})
    before = cut(both, files, "", portion_bytes=1)
    after = cut(both, {**files, "mask.png": ("changed", 10)}, "", portion_bytes=1)
    assert len(before) == 2 and not {p.digest for p in before} & {p.digest for p in after}


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loky", "threading", "sequential", "ray", "dask"])
def test_every_backend_gives_the_same_bytes(backend, tmp_path, folder):
    cards = [(make_nifti_source(tmp_path / "nifti"), "nifti"), (make_one_label_table(tmp_path / "table"), "table")]
    jobs = [folder, *(job_of(card, tmp_path / place, tmp_path / f"out_{place}") for card, place in cards)]
    for job in jobs:
        assert update_source(job).error == ""
    expected = [digest_tree(job.output) for job in jobs]
    for job in jobs:
        shutil.rmtree(job.output)
    results = read_sources(jobs, workers=2, backend=backend)
    assert [result.error for result in results] == ["", "", ""]
    assert [digest_tree(job.output) for job in jobs] == expected
