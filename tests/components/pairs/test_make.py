from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components.errors import DataError
from components.pairs.curate import run_curate
from components.pairs.make import run_pair
from components.pairs.pieces import read_some
from components.pairs.preview import choose, render
from components.records import Record, pair_from_row, record_schema, to_rows
from components.tracking.tables import iterate_rows, spans_below, write_table
from tests.fakes.scans import make_scan, make_study, make_text
from tests.fakes.tables import png

RECORDS, PAIRS, CURATED = (Path("artifacts") / name for name in ("records", "pairs", "curated"))


def noisy(seed: int) -> bytes:
    import io

    import numpy as np
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (64, 64), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def spread(number: int) -> str:
    """A perceptual hash far from every other number's."""
    return f"{(number * 0x9E3779B97F4A7C15) % 2**64:016x}"


def corpus() -> list[Record]:
    study = [
        make_scan(n, regions=r.regions, image=noisy(n), perceptual_hash=spread(n))
        for n, r in enumerate(make_study())
    ]
    held_out = [
        make_scan(40 + n, image=noisy(40 + n), perceptual_hash=spread(40 + n), patient_key="p2", split="test")
        for n in range(3)
    ]
    return study + held_out


def write_records(records: list[Record]) -> None:
    half = len(records) // 2
    for name, part in (("one", records[:half]), ("two", records[half:])):
        write_table(RECORDS / name, to_rows(part), record_schema())


def rejected(folder: Path) -> dict[str, str]:
    rows = pq.read_table(folder / "rejected.parquet").to_pylist()
    return {row["record_ids"][0]: row["rejected_reason"] for row in rows}


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_records_are_read_without_their_bytes_and_masks(settings) -> None:
    records = corpus()
    write_records([*records, make_scan(99, rejected_reason="image_undecodable")])
    read = [record for spans in spans_below(RECORDS, rows=1) for record in read_some(spans)]
    assert [r.record_id for r in read] == [r.record_id for r in records]
    assert {r.image for r in read} == {b""}
    assert read[0].regions[0].label == records[0].regions[0].label
    assert read[0].regions[0].box == pytest.approx(records[0].regions[0].box)


def test_the_stage_writes_verified_pairs_counts_and_a_page(settings, fake_run) -> None:
    write_records(corpus())
    run_pair(settings)
    pairs = [pair_from_row(row) for row in iterate_rows(PAIRS)]
    manifest = json.loads((PAIRS / "manifest.json").read_text())
    assert manifest["counts"] == {"read": len(pairs), "kept": len(pairs), "rejected": {}}
    assert sum(manifest["details"]["kind"].values()) == len(pairs)
    assert {pair.rejected_reason for pair in pairs} == {""}
    assert fake_run.artifacts == ["pairs.html"]


def test_two_runs_give_the_same_bytes(settings, fake_run) -> None:
    write_records(corpus())
    for stage, folder in ((run_pair, PAIRS), (run_curate, CURATED)):
        stage(settings)
        first = files(folder)
        stage(settings)
        assert files(folder) == first


def test_a_text_that_contradicts_its_record_is_refused_with_its_reason(settings, fake_run, monkeypatch) -> None:
    def lie(self, record, *, around, kinds):
        yield make_text(
            record, "Describe.", "An axial CT image of the abdomen.", pair_id=f"{record.record_id}-true"
        )
        yield make_text(record, "Describe.", "A coronal CT image.", pair_id=f"{record.record_id}-lie")

    monkeypatch.setattr("components.pairs.generate.TemplateGenerator.generate", lie)
    write_records(corpus())
    run_pair(settings)
    manifest = json.loads((PAIRS / "manifest.json").read_text())
    assert manifest["counts"] == {"read": 30, "kept": 15, "rejected": {"plane_contradicts": 15}}
    assert set(rejected(PAIRS).values()) == {"plane_contradicts"}
    assert {row["conversations"][1]["value"] for row in iterate_rows(PAIRS)} == {
        "An axial CT image of the abdomen."
    }


def test_one_long_text_is_refused_by_itself(settings, fake_run, monkeypatch) -> None:
    most = settings.check.max_text

    def ramble(self, record, *, around, kinds):
        for name, length in (("long", most + 1), ("most", most)):
            yield make_text(record, "Describe.", "x" * length, pair_id=f"{record.record_id}-{name}")

    monkeypatch.setattr("components.pairs.generate.TemplateGenerator.generate", ramble)
    monkeypatch.setattr("components.pairs.pieces.contradictions", lambda *_: ())
    write_records(corpus())
    run_pair(settings)
    counts = json.loads((PAIRS / "manifest.json").read_text())["counts"]
    assert counts == {"read": 30, "kept": 15, "rejected": {"text_too_long": 15}}
    assert {len(row["conversations"][1]["value"]) for row in iterate_rows(PAIRS)} == {most}


def test_no_records_is_a_data_error_and_leaves_no_output(settings, fake_run) -> None:
    RECORDS.mkdir(parents=True)
    with pytest.raises(DataError, match="no Parquet shard"):
        run_pair(settings)
    assert not PAIRS.exists()


def test_curation_names_each_loss(settings, fake_run) -> None:
    records = corpus()
    lost = {
        "image_too_small": make_scan(60, width=8, image=noisy(60), perceptual_hash=spread(60)),
        "image_blank": make_scan(61, image=png(9)),
        "image_undecodable": make_scan(62, image=b"torn"),
        "image_aspect_extreme": make_scan(63, width=1000, image=noisy(63), perceptual_hash=spread(63)),
        "duplicate_image": make_scan(64, image=noisy(0), sha256=records[0].sha256, perceptual_hash=spread(64)),
        "duplicate_of_test_image": make_scan(
            65, image=noisy(40), sha256=records[-3].sha256, perceptual_hash=spread(65)
        ),
        "near_duplicate_of_test_image": make_scan(
            66, image=noisy(66), perceptual_hash=records[-1].perceptual_hash
        ),
    }
    first, second = sorted((records[0].record_id, lost["duplicate_image"].record_id))
    write_records(records + list(lost.values()))
    run_pair(settings)
    run_curate(settings)
    reasons = rejected(CURATED)
    for reason, record in lost.items():
        refused = second if reason == "duplicate_image" else record.record_id
        assert reasons[refused] == reason
    kept = {row["record_ids"][0] for row in iterate_rows(CURATED)}
    assert first in kept
    assert not kept & set(reasons)
    manifest = json.loads((CURATED / "manifest.json").read_text())
    assert manifest["counts"]["read"] == manifest["counts"]["kept"] + sum(manifest["counts"]["rejected"].values())
    assert manifest["details"]["images_refused"] == dict.fromkeys(sorted(lost), 1)


def test_the_image_index_lists_the_usable_images(settings, fake_run) -> None:
    records = corpus()
    write_records([*records, make_scan(60, width=8, image=noisy(60))])
    run_pair(settings)
    run_curate(settings)
    index = pq.read_table(CURATED / "images.parquet")
    assert index.column_names == ["record_id", "split", "sha256", "entropy", "width", "height", "brightness"]
    assert set(index["record_id"].to_pylist()) == {record.record_id for record in records}
    assert min(index["entropy"].to_pylist()) > 5


def test_a_pair_that_repeats_words_or_lacks_its_image_is_refused(settings, fake_run, monkeypatch) -> None:
    def repeat(self, record, *, around, kinds):
        for name in ("first", "again"):
            yield make_text(record, "Describe.", "A CT image.", pair_id=f"{record.record_id}-{name}")
        lost = (record.record_id, "nowhere")
        yield make_text(record, "Same? Answer yes or no.", "yes", options=("yes", "no"), record_ids=lost)

    monkeypatch.setattr("components.pairs.generate.TemplateGenerator.generate", repeat)
    monkeypatch.setattr("components.pairs.pieces.contradictions", lambda *_: ())
    write_records(corpus())
    run_pair(settings)
    run_curate(settings)
    counts = json.loads((CURATED / "manifest.json").read_text())["counts"]
    assert counts["rejected"] == {"duplicate_text": 15, "record_missing": 15}


def test_curation_refuses_an_altered_copy_lists_what_it_touches_and_remembers(settings, fake_run) -> None:
    from tests.fakes.alterations import altered, encoded, make_picture

    picture = make_picture(5)
    held_out = make_scan(
        80, image=encoded(picture), perceptual_hash=spread(80), patient_key="p2", split="test", study_key="s2"
    )
    copy = make_scan(81, image=encoded(altered(picture, "flipped", seed=0)), perceptual_hash=spread(81))
    write_records([*(replace(r, study_key=r.patient_key) for r in corpus()), held_out, copy])
    run_pair(settings)
    run_curate(settings)
    first = files(CURATED)
    assert rejected(CURATED)[copy.record_id] == "altered_copy_of_held_out_image"
    touched = pq.read_table(CURATED / "touched.parquet").to_pylist()
    assert [(row["record_id"], row["way"]) for row in touched] == [(held_out.record_id, "copy")]
    assert json.loads((CURATED / "manifest.json").read_text())["details"]["held_out_touched"] == {"copy": 1}
    run_curate(settings)
    assert files(CURATED) == first
    listed = settings.model_copy(update={"curate": settings.curate.model_copy(update={"altered_copies": "list"})})
    run_curate(listed)
    assert copy.record_id not in rejected(CURATED)
    assert len(pq.read_table(CURATED / "touched.parquet")) == 1


def test_a_patient_in_two_splits_stops_curation(settings, fake_run) -> None:
    torn = make_scan(70, image=noisy(70), split="validation", patient_key="p2")
    write_records([*corpus(), torn])
    run_pair(settings)
    with pytest.raises(DataError, match="more than one split") as caught:
        run_curate(settings)
    assert torn.record_id in str(caught.value)
    assert not CURATED.exists()


def test_the_page_is_self_contained_and_shows_refused_pairs_first() -> None:
    from components.pairs.preview import Item

    fine = [make_text(make_scan(n), "Describe.", f"<b>{n}</b>", pair_id=f"fine{n}") for n in range(40)]
    bad = make_text(make_scan(99), "Describe.", "Wrong.", pair_id="bad", rejected_reason="plane_contradicts")
    chosen = choose([*fine, bad], 24)
    assert (len(chosen), chosen[0].pair_id) == (24, "bad")
    page = render([Item(pair, ("AAAA",), ((0.1, 0.2, 0.5, 0.6),)) for pair in chosen])
    assert "plane_contradicts" in page
    assert "&lt;b&gt;" in page
    assert "<b>1</b>" not in page
    assert '<rect x="0.1" y="0.2" width="0.4"' in page
    assert not any(word in page for word in ("http://", "https://", "<script"))


def test_the_preview_leaves_out_a_source_whose_pictures_may_not_leave(tmp_path) -> None:
    from dataclasses import replace

    from components.pairs.preview import write_preview
    from tests.fakes.tables import make_corpus, write_corpus

    records, pairs = make_corpus()
    other = {record.record_id for record in records[::2]}
    records = [replace(r, source="ward") if r.record_id in other else r for r in records]
    pairs = [replace(p, source="ward") if p.record_id in other else p for p in pairs]
    root = write_corpus(tmp_path, records, pairs)
    page = write_preview(root / "records", root / "curated", tmp_path / "all.html").read_text()
    assert "ward ·" in page and "fake ·" in page
    page = write_preview(root / "records", root / "curated", tmp_path / "some.html", without={"ward"}).read_text()
    assert "ward ·" not in page and "fake ·" in page and "data:image/png;base64," in page
