"""Published benchmarks are held-out rows: every planted copy of one leaves training; the touched item is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.data.image import difference_hash, pixel_hash
from components.errors import CardInvalid, DataError, DatasetMissing
from components.pairs import benchmarks
from components.pairs.benchmarks import read_benchmarks, without_training
from components.pairs.curate import run_curate
from components.pairs.rejected import pair_row
from components.records import pair_schema
from components.settings import BenchmarkFiles
from components.tracking.tables import iterate_rows, write_table
from tests.components.pairs.test_make import CURATED, PAIRS, write_records
from tests.fakes.alterations import ALTERATIONS, altered, encoded, make_picture
from tests.fakes.scans import make_scan, make_text
from tests.fakes.sources import CONTEXT, make_card, write_card

FILES = Path("published")
LONG = "Which of the many small round nodules near the upper pole of the left kidney is calcified"
OTHER = (
    "A wholly different sentence of more than thirteen words that no published benchmark has ever asked of anybody"
)
OPTIONS = {
    "tables": [{"file": "train.json", "split": "train"}, {"file": "test.json", "split": "test"}],
    "image": "{image}", "question": "question", "answer": "answer",
}  # fmt: skip
SEEN_IN_TRAIN = 3  # this picture is asked about in the benchmark's own training split too


def publish(**changes) -> None:
    """Write a benchmark of six pictures, its card, and a training split that shows one of them."""
    FILES.mkdir()
    rows = []
    for number in range(len(ALTERATIONS)):
        make_picture(number).save(FILES / f"{number}.png")
        rows.append({"image": f"{number}.png", "question": f"What is {number}?", "answer": "yes"})
    rows[0]["question"] = LONG
    (FILES / "test.json").write_text(json.dumps(rows))
    (FILES / "train.json").write_text(json.dumps([rows[SEEN_IN_TRAIN]]))
    write_card(Path("conf/sources"), make_card("exam", "vqa", OPTIONS, **changes))


def scan_of(number: int, picture, **changes):
    pixels = np.asarray(picture)
    return make_scan(
        number, image=encoded(picture), sha256=pixel_hash(pixels), perceptual_hash=difference_hash(pixels),
        width=pixels.shape[1], height=pixels.shape[0], regions=(),
        **{"patient_key": f"p{number}", "study_key": f"s{number}"} | changes,
    )  # fmt: skip


def guarding(settings, *names: str):
    files = tuple(BenchmarkFiles(name=name, data=str(FILES)) for name in names)
    curate = settings.curate.model_copy(update={"benchmarks": files})
    ingest = settings.ingest.model_copy(update={"max_side": CONTEXT.max_side * 2})
    return settings.model_copy(update={"curate": curate, "ingest": ingest})


def train_on(records, texts=()) -> None:
    write_records(records)
    pairs = [make_text(one, "What?", f"Said of {one.record_id}.", pair_id=one.record_id) for one in records]
    write_table(PAIRS, map(pair_row, [*pairs, *texts]), pair_schema())


def refused() -> dict[str, str]:
    return {
        row["pair_id"]: row["rejected_reason"] for row in pq.read_table(CURATED / "rejected.parquet").to_pylist()
    }


def touched() -> set[tuple[str, str, str]]:
    rows = pq.read_table(CURATED / "touched.parquet").to_pylist()
    return {(row["split"], row["source"], row["way"]) for row in rows}


def test_every_planted_copy_of_a_published_item_leaves_training(settings, fake_run) -> None:
    publish()
    copies = [scan_of(n, altered(make_picture(n), kind, seed=n)) for n, kind in enumerate(ALTERATIONS)]
    strangers = [scan_of(40 + n, make_picture(40 + n)) for n in range(4)]
    held_out = scan_of(60, make_picture(1), split="test")  # the corpus's own held-out image stays
    train_on([*copies, *strangers, held_out])
    run_curate(settings)
    assert set(refused().values()) <= {"altered_copy_of_held_out_image"}  # without the setting nobody is guarded
    run_curate(guarding(settings, "exam"))
    why = refused()
    assert set(why) == {one.record_id for one in copies}
    assert why[copies[0].record_id] == benchmarks.SAME
    assert set(why.values()) <= {
        benchmarks.SAME, benchmarks.NEAR, benchmarks.COPY, "altered_copy_of_held_out_image"
    }  # fmt: skip
    assert {row["pair_id"] for row in iterate_rows(CURATED)} == {one.record_id for one in (*strangers, held_out)}
    assert {("benchmark", "exam", "pixels"), ("benchmark", "exam", "copy")} <= touched()
    details = json.loads((CURATED / "manifest.json").read_text())["details"]
    assert details["benchmarks"] == {"exam": {"items": 6, "touched": 6}}
    index = set(pq.read_table(CURATED / "images.parquet")["record_id"].to_pylist())
    assert index == {one.record_id for one in (*strangers, held_out)}


def test_thirteen_words_of_a_published_question_leave_training_with_and_without_an_image(
    settings, fake_run
) -> None:
    publish()
    records = [scan_of(50, make_picture(50))]
    own = make_text(records[0], "Q", f"He asks: {LONG}?", pair_id="shown")
    own = replace(own, generator=replace(own.generator, name="source"))
    alone = replace(own, pair_id="alone", record_ids=(), kind="text_only")
    fine = replace(make_text(records[0], "Q", OTHER, pair_id="fine"), generator=own.generator)
    train_on(records, [own, alone, fine])
    run_curate(guarding(settings, "exam"))
    assert refused() == {"shown": "repeats_held_out_words", "alone": "repeats_held_out_words"}
    assert touched() == {("benchmark", "exam", "words")}


def test_a_benchmarks_patient_leaves_training_and_one_that_is_not_stated_guards_nobody(settings, fake_run) -> None:
    publish(patient={"rule": "source"})
    from components.settings import load_secrets

    secret = load_secrets().patient_key.get_secret_value().encode()
    files = (BenchmarkFiles(name="exam", data=str(FILES)),)
    guarded = read_benchmarks(files, replace(CONTEXT, secret=secret), recall=lambda _: None)
    patient = guarded.images["patient_key"][0].as_py()
    records = [scan_of(50, make_picture(50), patient_key=patient), scan_of(51, make_picture(51), patient_key="")]
    text = replace(make_text(records[1], "Q", OTHER, pair_id="note"), record_ids=(), patient_key=patient)
    train_on(records, [text])
    run_curate(guarding(settings, "exam"))
    assert refused() == {records[0].record_id: benchmarks.PATIENT, "note": benchmarks.PATIENT}
    assert touched() == {("benchmark", "exam", "patient")}


def test_a_picture_that_the_benchmark_also_trains_on_is_still_its_own(settings) -> None:
    publish()
    card = make_card("exam", "vqa", OPTIONS)
    assert [row["file"] for row in without_training(card).options["tables"]] == ["test.json"]
    assert card.options == OPTIONS
    files = (BenchmarkFiles(name="exam", data=str(FILES)),)
    guarded = read_benchmarks(files, CONTEXT, recall=lambda _: None)
    assert len(guarded) == 6 and guarded.refused == {"exam": {}}
    batch, rows = next(guarded.batches(10))
    assert rows.tolist() == batch.images.tolist() == list(range(10, 16))
    assert batch.texts[0] == f"{LONG}\x1fyes"


def test_a_text_without_a_picture_guards_its_words_alone(settings) -> None:
    turns = [{"from": "human", "value": LONG}, {"from": "gpt", "value": "yes"}]
    FILES.mkdir()
    (FILES / "test.jsonl").write_text(json.dumps({"id": "1", "conversations": turns}) + "\n")
    options = {"tables": [{"file": "test.jsonl", "split": "test"}], "image": ""}
    write_card(Path("conf/sources"), make_card("exam", "conversations", options))
    guarded = read_benchmarks((BenchmarkFiles(name="exam", data=str(FILES)),), CONTEXT, recall=lambda _: None)
    assert guarded.has_picture.tolist() == [False]
    batch, rows = next(guarded.batches(5))
    assert batch.images.tolist() == [] and rows.tolist() == [5]
    assert batch.texts == [f"{LONG}\x1fyes"]


def test_a_benchmark_that_cannot_guard_stops_the_stage(settings, fake_run) -> None:
    publish()
    train_on([scan_of(1, make_picture(60))])
    with pytest.raises(CardInvalid, match="no card named 'exams'; near matches: exam"):
        run_curate(guarding(settings, "exams"))
    (FILES / "test.json").write_text("[]")
    with pytest.raises(DataError, match="exam has no item outside training"):
        run_curate(guarding(settings, "exam"))
    FILES.rename("elsewhere")
    with pytest.raises(DatasetMissing, match="no files of benchmark exam"):
        run_curate(guarding(settings, "exam"))
