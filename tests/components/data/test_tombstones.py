from __future__ import annotations

import json
from pathlib import Path

from components.data.source_update import update_source
from components.data.tombstones import PATIENT, SOURCE, Withdrawn, leave_out, sweep
from components.quality.card_suite import count_frame
from components.tracking.digest import digest_tree
from components.tracking.tables import iterate_rows
from tests.components.data.test_portions import job_of
from tests.fakes.formats_labels import make_folders, save, shade


def source(tmp_path: Path, *, shard_bytes: int):
    """Twelve pictures of twelve patients, and the job that reads them."""
    for number in range(12):
        save(tmp_path / "raw" / ("polyp" if number % 2 else "cyst") / f"{number:02d}.png", shade(number))
    card = make_folders(tmp_path / "aside", options={"images": ["*/*.png"], "class_depth": 0})
    card = card.model_copy(update={"patient": card.patient.model_copy(update={"rule": "file"})})
    return job_of(card, tmp_path / "raw", tmp_path / "records" / "ward", shard_bytes=shard_bytes)


def keys(folder: Path) -> list[str]:
    return [row["patient_key"] for row in iterate_rows(folder, ["patient_key"])]


def manifest(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text())


def test_records_go_and_are_counted_apart_and_the_rest_stays_as_it_is(tmp_path):
    job = source(tmp_path, shard_bytes=1)
    update_source(job)
    before, gone = keys(job.output), Withdrawn(patients=(keys(job.output)[4],))
    untouched = {p: p.read_bytes() for p in sorted(job.output.rglob("*.parquet"))}
    assert leave_out(tmp_path / "records", Withdrawn()) == {}
    assert leave_out(tmp_path / "records", gone) == {PATIENT: 1}
    assert keys(job.output) == [key for key in before if key not in gone.patients]
    changed = [path for path, content in untouched.items() if path.read_bytes() != content]
    assert len(changed) == 1 and len(untouched) == 12
    assert manifest(job.output)["kept"] == manifest(job.output)["read"] == 11
    assert manifest(job.output)["withdrawn"] == manifest(changed[0].parent)["withdrawn"] == {PATIENT: 1}
    assert leave_out(tmp_path / "records", gone) == {}
    frame = count_frame(job.card, manifest(job.output)).to_dict("records")
    assert frame[0] | {"source": ""} == {"source": "", "num_records": 12, "rejected_share": 0.0}
    assert not [path for path in job.output.rglob(".*") if path.is_dir()]


def test_what_is_read_again_later_is_as_if_read_anew(tmp_path):
    job = source(tmp_path, shard_bytes=1)
    update_source(job)
    gone = Withdrawn(patients=tuple(keys(job.output)[4:6]))
    leave_out(tmp_path / "records", gone)
    save(job.root / "polyp" / "03.png", shade(200))
    result = update_source(job)
    assert result.portions_read == 1
    leave_out(tmp_path / "records", gone)
    anew = job_of(job.card, job.root, tmp_path / "anew" / "ward", shard_bytes=1)
    update_source(anew)
    leave_out(tmp_path / "anew", gone)
    assert digest_tree(job.output) == digest_tree(anew.output)
    assert manifest(job.output)["withdrawn"] == {PATIENT: 2}


def test_a_source_goes_as_a_whole(tmp_path):
    job = source(tmp_path, shard_bytes=1 << 30)
    update_source(job)
    assert leave_out(tmp_path / "records", Withdrawn(sources=(job.card.name,))) == {SOURCE: 12}
    assert keys(job.output) == [] and manifest(job.output)["kept"] == 0


def test_a_memory_is_emptied_once_for_each_list(tmp_path):
    memory = tmp_path / "memory"
    assert not sweep(memory, Withdrawn()) and not memory.exists()
    (memory / "a").mkdir(parents=True)
    assert not sweep(memory, Withdrawn()) and (memory / "a").is_dir()
    assert sweep(memory, Withdrawn(patients=("p",))) and not (memory / "a").exists()
    (memory / "a").mkdir()
    assert not sweep(memory, Withdrawn(patients=("p",))) and (memory / "a").is_dir()
    assert sweep(memory, Withdrawn(patients=("p", "q")))
