"""The stage: what is unchanged is not read again, what is done survives, what is wrong stops it by name."""

import json
import re
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from components.data import source_update
from components.data.ingest import allowed_cards, check_patients, run_ingest
from components.data.portions import SourceJob, keep_records
from components.data.readers import __path__ as READERS
from components.data.reading import ReadContext, Rejection
from components.data.source_update import SHARED_CODE, read_sources, source_digest, update_source
from components.errors import ChecksumMismatch, ConfigError, DataError, DatasetMissing
from components.records import record_from_row
from components.settings import load_settings
from components.tracking import stage
from components.tracking.commit import write_json
from components.tracking.digest import digest_file, digest_tree
from components.tracking.tables import iterate_rows
from tests.fakes.sources import (
    MAKERS,
    make_captions_source,
    make_card,
    make_nifti_source,
    make_pairs_source,
    make_rtstruct_source,
    read_all,
    write_card,
)
from tests.fakes.tables import FakeRun

ROOT = Path(__file__).parents[3]


class Project:
    """A working folder with data/, conf/sources/ and settings that select what was added."""

    def __init__(self, settings) -> None:
        self.base, self.names = settings, []
        self.output = Path("artifacts/records")

    def add(self, maker, **changes):
        maker_root = Path("data/aside")
        card = maker(maker_root).model_copy(update=changes)
        maker_root.rename(Path("data") / card.name)
        write_card(Path("conf/sources"), card)
        self.names.append(card.name)
        return card

    @property
    def settings(self):
        corpus = self.base.corpus.model_copy(update={"sources": tuple(self.names), "data_root": Path("data")})
        reading = self.base.ingest.model_copy(update={"max_side": 64, "jobs": 1, "backend": "sequential"})
        return self.base.model_copy(update={"corpus": corpus, "ingest": reading, "work_root": Path("artifacts")})

    def run(self):
        run_ingest(self.settings)

    def manifest(self, name: str = "") -> dict:
        return json.loads((self.output / name / "manifest.json").read_text())

    def written_at(self, name: str) -> int:
        return (self.output / name / "part-00000.parquet").stat().st_mtime_ns


@pytest.fixture
def runs(monkeypatch):
    opened = []

    class Opened:
        def __enter__(self):
            opened.append(FakeRun())
            return opened[-1]

        def __exit__(self, *_):
            return False

    monkeypatch.setattr(stage, "open_run", lambda *_, **__: Opened())
    return opened


@pytest.fixture
def project(tmp_path, monkeypatch, runs):
    settings = load_settings(ROOT / "params.yaml")
    monkeypatch.chdir(tmp_path)
    return Project(settings)


def test_a_source_becomes_shards_with_a_manifest(project, runs):
    card = project.add(make_nifti_source)
    project.run()
    rows = [record_from_row(row) for row in iterate_rows(project.output)]
    expected, _ = read_all(Path("data/fake_ct"), card, ReadContext(max_side=64, secret=b"any"))
    assert [r.record_id for r in rows] == [r.record_id for r in expected]
    assert [r.sha256 for r in rows] == [r.sha256 for r in expected]
    assert project.manifest("fake_ct")["kept"] == project.manifest()["counts"]["kept"] == len(rows)
    assert runs[0].artifacts == ["records.png"] and runs[0].finished


def test_two_ingests_give_the_same_bytes(project):
    for maker in MAKERS:
        project.add(maker)
    project.run()
    first = digest_tree(project.output)
    for folder in project.output.iterdir():
        if folder.is_dir():
            (folder / "manifest.json").unlink()
    project.run()
    assert digest_tree(project.output) == first
    assert project.manifest()["counts"]["rejected"] == {}


def test_an_unchanged_source_is_not_read_again_and_the_manifest_says_the_same(project, capsys):
    project.add(make_nifti_source)
    project.run()
    before, content = project.written_at("fake_ct"), (project.output / "manifest.json").read_bytes()
    project.run()
    assert project.written_at("fake_ct") == before
    assert "not read again" in re.sub(r"[│\s]+", " ", capsys.readouterr().out)
    assert (project.output / "manifest.json").read_bytes() == content


def test_changing_one_card_reads_one_source(project):
    project.add(make_nifti_source)
    card = project.add(make_captions_source)
    project.run()
    before = {name: project.written_at(name) for name in project.names}
    write_card(Path("conf/sources"), card.model_copy(update={"department": "Ophthalmology"}))
    project.run()
    after = {name: project.written_at(name) for name in project.names}
    assert after["fake_ct"] == before["fake_ct"] and after[card.name] != before[card.name]
    assert {row["department"] for row in iterate_rows(project.output / card.name)} == {"Ophthalmology"}


def test_a_source_no_longer_selected_is_removed(project):
    project.add(make_nifti_source)
    project.add(make_captions_source)
    project.run()
    project.names.remove("fake_ct")
    project.run()
    assert not (project.output / "fake_ct").exists()
    assert list(project.manifest()["details"]["sources"]) == ["fake_captions"]


def test_a_source_that_fails_stops_the_stage_after_the_others_are_in(project):
    good = project.add(make_nifti_source)
    project.add(make_captions_source, sha256={"eye.png": "0" * 64})
    with pytest.raises(DataError, match=r"1 of 2 sources failed: fake_captions") as caught:
        project.run()
    assert "sha256 is" in str(caught.value) and "eye.png" in str(caught.value)
    assert project.manifest(good.name)["kept"] > 0
    assert not (project.output / "manifest.json").exists(), "an unfinished output has no manifest"
    assert not (project.output / "fake_captions").exists()


def test_rejections_are_written_with_their_reason_and_counted(project):
    project.add(lambda root: make_captions_source(root, caption=" "))
    project.run()
    line = json.loads((project.output / "fake_captions" / "rejected.jsonl").read_text())
    assert line == {"where": "eye.png", "reason": "text_empty"}
    assert project.manifest()["counts"] == {"read": 7, "kept": 6, "rejected": {"text_empty": 1}}


def test_more_rejections_than_the_card_tolerates_stop_it(project):
    card = project.add(make_rtstruct_source, tolerance=0.1)
    for number in range(4):
        (Path("data") / card.name / "pat_2" / f"IMG_00{number}.dcm").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"fake_rt: 4 of 24 rejected, tolerated are 10%: file_unreadable \(4\)"):
        project.run()


def test_nothing_at_all_is_too_little(project):
    card = project.add(make_pairs_source, tolerance=1.0)
    for path in (Path("data") / card.name).rglob("*b.bmp"):
        path.unlink()
    with pytest.raises(DataError, match="second_image_missing"):
        project.run()


def test_a_missing_source_is_named_with_how_to_obtain_it(project):
    project.add(make_nifti_source)
    project.names.append("elsewhere")
    write_card(
        Path("conf/sources"), make_card("elsewhere", "slide_tiles", {"slides": "*", "side": 1, "stride": 1})
    )
    with pytest.raises(DatasetMissing, match=r"no files of: elsewhere[\s\S]*make it"):
        project.run()


def test_terms_that_forbid_commercial_use_drop_the_source(project):
    project.add(make_nifti_source)
    card = project.add(make_captions_source)
    terms = card.terms.model_copy(update={"commercial_use": "no"})
    write_card(Path("conf/sources"), card.model_copy(update={"terms": terms}))
    project.base = project.base.model_copy(
        update={"corpus": project.base.corpus.model_copy(update={"allow_noncommercial": False})}
    )
    project.run()
    assert project.manifest()["details"]["dropped_by_terms"] == [card.name]
    assert not (project.output / card.name).exists()


def test_a_card_that_the_corpus_does_not_select_is_no_input(project):
    card = project.add(make_nifti_source)
    project.run()
    before, written = project.manifest(), project.written_at(card.name)
    others = Path("conf/sources/ct")
    others.mkdir()
    (others / "another.yaml").write_text("name: [not even YAML")
    project.run()
    assert project.manifest() == before
    assert project.written_at(card.name) == written
    Path("conf/sources/fake_ct.yaml").rename(others / "fake_ct.yaml")
    project.run()
    assert project.written_at(card.name) == written


def test_the_manifest_says_what_the_corpus_may_be_used_for(project, monkeypatch):
    monkeypatch.setenv("GMAI_PATIENT_KEY", "a key for tests")
    project.add(make_nifti_source)
    card = project.add(make_captions_source)
    changed = card.terms.model_copy(update={"may_be_redistributed": "no", "commercial_use": "not stated"})
    write_card(Path("conf/sources"), card.model_copy(update={"terms": changed}))
    project.run()
    assert project.manifest()["details"]["permitted_use"] == {
        "may_leave_machine": "yes", "may_reach_third_party_model": "yes",
        "may_be_redistributed": "no", "commercial_use": "not stated",
    }  # fmt: skip


@pytest.mark.parametrize("answer", ["no", "not stated"])
def test_a_commercial_corpus_takes_only_what_says_yes(answer, tmp_path):
    card = make_nifti_source(tmp_path)
    other = card.model_copy(update={"terms": card.terms.model_copy(update={"commercial_use": answer})})
    other = other.model_copy(update={"name": "other_ct"})
    assert allowed_cards([card, other], allow_noncommercial=False) == ([card], ["other_ct"])
    assert allowed_cards([card, other], allow_noncommercial=True) == ([card, other], [])


def test_a_patient_in_two_splits_stops_the_stage(project):
    people = {"rule": "source", "namespace": "the same people"}
    for maker, split in ((make_nifti_source, "train"), (make_captions_source, "test")):
        card = project.add(maker)
        changed = {"patient": people, "split": {"rule": "fixed", "default": split}}
        raw = {**card.model_dump(mode="json"), **changed}
        write_card(Path("conf/sources"), type(card).model_validate(raw))
    with pytest.raises(DataError, match="one patient is in"):
        project.run()


def test_the_splits_of_the_committed_cards_part_their_patients():
    """Over the records of the sample corpus, where they are on this disk."""
    records = ROOT / "artifacts" / "records"
    if not (records / "manifest.json").is_file():
        pytest.skip("no records on this disk (dvc repro ingest)")
    check_patients(records)


def job_of(card, root: Path, **changes) -> SourceJob:
    plain = {"card": card, "root": root, "output": root.parent / "out", "max_side": 64, "shard_bytes": 1 << 20}
    return SourceJob(**{**plain, "secret": b"k", **changes})


def test_the_digest_sees_card_files_settings_and_key(tmp_path):
    card = make_captions_source(tmp_path / "data")
    job = job_of(card, tmp_path / "data")
    digest = source_digest(job)
    changed = [
        job_of(card.model_copy(update={"licence": "other"}), tmp_path / "data"),
        job_of(card, tmp_path / "data", max_side=32),
        job_of(card, tmp_path / "data", secret=b"other"),
    ]
    assert source_digest(job) == digest and digest not in {source_digest(other) for other in changed}
    (tmp_path / "data" / "captions.csv").write_text("file,caption\neye.png,Another.\n")
    assert source_digest(job) != digest


def test_the_digest_sees_a_new_version_of_the_reader(tmp_path, monkeypatch):
    card = make_captions_source(tmp_path / "data")
    job = job_of(card, tmp_path / "data")
    digest = source_digest(job)
    monkeypatch.setattr("components.data.readers.captioned_images.VERSION", 99)
    assert source_digest(job) != digest


def test_every_shared_module_that_readers_import_is_in_the_digest():
    modules = {path.stem for path in Path(source_update.CODE).glob("*.py")}
    imported, waiting = set(), [path.read_text() for path in Path(READERS[0]).glob("*.py")]
    while waiting:
        found = set(re.findall(r"components\.data\.(\w+) import", waiting.pop())) & modules
        waiting += [(source_update.CODE / f"{name}.py").read_text() for name in found - imported]
        imported |= found
    assert imported == set(SHARED_CODE)


def test_a_right_checksum_passes_and_an_absent_pinned_file_is_missing(tmp_path):
    card = make_captions_source(tmp_path)
    pinned = {"eye.png": digest_file(tmp_path / "eye.png")}
    source_update.check_checksums(card.model_copy(update={"sha256": pinned}), tmp_path)
    (tmp_path / "eye.png").write_bytes(b"other")
    with pytest.raises(ChecksumMismatch, match="make it"):
        source_update.check_checksums(card.model_copy(update={"sha256": pinned}), tmp_path)
    (tmp_path / "eye.png").unlink()
    with pytest.raises(DatasetMissing, match="pinned file is absent"):
        source_update.check_checksums(card.model_copy(update={"sha256": pinned}), tmp_path)


def test_a_repeated_record_id_is_refused(tmp_path):
    records, _ = read_all(tmp_path, make_nifti_source(tmp_path))
    refused: list[Rejection] = []
    kept = list(keep_records([records[0], Rejection("x", "file_missing"), records[0]], refused))
    assert kept == [records[0]]
    assert [r.reason for r in refused] == ["file_missing", "record_id_repeated"]


def test_side_by_side_gives_what_one_after_the_other_gives(tmp_path):
    cards = [(make_nifti_source(tmp_path / "a"), "a"), (make_captions_source(tmp_path / "b"), "b")]
    jobs = [job_of(card, tmp_path / place, output=tmp_path / f"out_{place}") for card, place in cards]
    alone = [update_source(job) for job in jobs]
    first = [digest_tree(job.output) for job in jobs]
    for job in jobs:
        write_json(job.output / "manifest.json", {})
    together = read_sources(jobs, workers=2, backend="threading")
    assert [digest_tree(job.output) for job in jobs] == first
    assert [(r.name, r.kept, r.digest) for r in together] == [(r.name, r.kept, r.digest) for r in alone]


@pytest.mark.parametrize(("backend", "package"), [("ray", "ray"), ("dask", "distributed")])
def test_a_backend_that_is_not_installed_is_named(tmp_path, monkeypatch, backend, package):
    for name in ("ray", "ray.util.joblib", "distributed"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=f"'{backend}' is not installed.*\n.*\n.*pip install {package}"):
        read_sources([job_of(make_captions_source(tmp_path), tmp_path)], workers=1, backend=backend)


def test_a_store_elsewhere_gets_no_picture_of_a_source_that_may_not_leave(project, runs, monkeypatch):
    project.add(make_nifti_source)
    card = project.add(make_captions_source)
    drawn = []
    monkeypatch.setattr("components.data.contact_sheet.draw_rows", lambda rows: drawn.extend(rows) or b"PNG")
    kept_here = card.terms.model_copy(update={"may_leave_machine": "no"})
    write_card(Path("conf/sources"), card.model_copy(update={"terms": kept_here}))
    run = FakeRun()
    run.keeps_here = False
    monkeypatch.setattr(stage, "open_run", lambda *_, **__: nullcontext(run))
    project.run()
    assert {record.source for row in drawn for record in row} == {"fake_ct"}
    assert run.tags["gmai.pictures_withheld"] == card.name


@pytest.mark.parametrize("changes", [{"may_be_redistributed": "no"}, {"may_be_redistributed": "not stated"}])
def test_the_public_key_is_refused_where_people_are_protected(project, monkeypatch, changes):
    monkeypatch.delenv("GMAI_PATIENT_KEY", raising=False)
    card = project.add(make_captions_source)
    terms = card.terms.model_copy(update=changes)
    write_card(Path("conf/sources"), card.model_copy(update={"terms": terms}))
    with pytest.raises(ConfigError, match=card.name) as caught:
        project.run()
    assert "export GMAI_PATIENT_KEY=" in str(caught.value) and not project.output.exists()
    public = card.model_copy(update={"terms": terms, "identities": "public"})
    write_card(Path("conf/sources"), public)
    project.run()
    assert project.manifest(card.name)["privacy"]["paths"] == "public"


def test_the_table_warns_of_the_public_key(project, monkeypatch, capsys):
    project.add(make_nifti_source)
    monkeypatch.delenv("GMAI_PATIENT_KEY", raising=False)
    project.run()
    assert "GMAI_PATIENT_KEY is not set" in capsys.readouterr().out
    monkeypatch.setenv("GMAI_PATIENT_KEY", "a key for tests")
    project.run()
    assert "GMAI_PATIENT_KEY" not in capsys.readouterr().out
