from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components.data.tombstones import PATIENT, SOURCE, TOMBSTONES, Withdrawn, add_withdrawn, load_withdrawn
from components.errors import DataError
from components.pairs.curate import run_curate
from components.pairs.endpoint import Reply
from components.pairs.images import ImageFacts, image_table
from components.pairs.make import run_pair
from components.pairs.prompts import Prompt
from components.pairs.rejected import pair_row
from components.pairs.reply_cache import FORGOTTEN, RememberingModel, forget_replies
from components.pairs.withdrawal import withdrawn_reasons
from components.records import pair_schema
from components.tracking.tables import iterate_rows, write_table
from tests.components.pairs.test_make import CURATED, PAIRS, corpus, noisy, spread, write_records
from tests.fakes.scans import make_scan, make_text


def test_the_list_grows_sorted_once_each_and_an_absent_one_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "withdrawn.yaml"
    assert load_withdrawn(path) == Withdrawn()
    for patient in ("b", "a", "b"):
        add_withdrawn(patient=patient, path=path)
    add_withdrawn(source="chest", path=path)
    assert load_withdrawn(path) == Withdrawn(patients=("a", "b"), sources=("chest",))
    assert [one.name for one in tmp_path.iterdir()] == ["withdrawn.yaml"]
    with pytest.raises(DataError, match="nothing to withdraw"):
        add_withdrawn(path=path)


@pytest.mark.parametrize("content", ["patients: [", "patient: [a]", "- a", "patients: 7"])
def test_a_list_that_cannot_be_read_is_not_taken_for_empty(tmp_path: Path, content: str) -> None:
    path = tmp_path / "withdrawn.yaml"
    path.write_text(content)
    with pytest.raises(DataError, match="not a list of withdrawals"):
        load_withdrawn(path)


def test_each_image_has_the_reason_it_is_left_out_for() -> None:
    one = ImageFacts("r", "p", "train", "s", 0, 64, 64, 5.0, source="chest")
    images = image_table([one, replace(one, patient_key="q"), replace(one, source="eye", patient_key="q")])
    withdrawn = Withdrawn(patients=("p",), sources=("eye",))
    assert withdrawn_reasons(images, withdrawn).tolist() == [PATIENT, "", SOURCE]
    assert withdrawn_reasons(images, Withdrawn()).tolist() == ["", "", ""]


def test_the_next_run_leaves_a_withdrawn_patient_out_and_counts_it(settings, fake_run) -> None:
    records = corpus()
    torn = make_scan(70, image=noisy(70), split="validation", patient_key="p2", perceptual_hash=spread(70))
    write_records([*records, torn])
    run_pair(settings)
    add_withdrawn(patient="p2")
    assert TOMBSTONES.is_file()
    run_curate(settings)  # the patient in two splits is gone, so it no longer stops the stage
    kept = {row["patient_key"] for row in iterate_rows(CURATED)}
    assert kept == {"p1"}
    index = set(pq.read_table(CURATED / "images.parquet")["record_id"].to_pylist())
    assert index == {record.record_id for record in records if record.patient_key == "p1"}
    manifest = json.loads((CURATED / "manifest.json").read_text())
    assert manifest["details"]["images_refused"] == {PATIENT: 4}
    assert set(manifest["counts"]["rejected"]) == {PATIENT}
    assert TOMBSTONES.as_posix() in manifest["inputs"]
    refused = pq.read_table(CURATED / "rejected.parquet").to_pylist()
    assert {row["rejected_reason"] for row in refused} == {PATIENT}
    assert all(row["pair_id"] and row["record_ids"] for row in refused)
    for column in ("conversations", "answer", "options", "labels", "boxes"):
        assert not any(row[column] for row in refused), column


def test_the_next_pairing_makes_nothing_of_a_withdrawn_patient_and_says_where_the_images_are(
    settings, fake_run, capsys
) -> None:
    records = corpus()
    write_records(records)
    run_pair(settings)
    assert {row["patient_key"] for row in iterate_rows(PAIRS)} == {"p1", "p2"}
    add_withdrawn(patient="p2")
    capsys.readouterr()
    run_pair(settings)
    assert {row["patient_key"] for row in iterate_rows(PAIRS)} == {"p1"}
    manifest = json.loads((PAIRS / "manifest.json").read_text())
    assert manifest["details"]["records_withdrawn"] == {PATIENT: 3}
    assert TOMBSTONES.as_posix() in manifest["inputs"]
    said = " ".join(capsys.readouterr().out.split())
    assert f"left out: 3 {PATIENT}; the next ingest takes their images out of artifacts/records" in said
    run_curate(settings)
    assert f"left out: 3 {PATIENT}" in capsys.readouterr().out
    assert {row["patient_key"] for row in iterate_rows(CURATED)} == {"p1"}


def text_pair(number: int, **changes):
    made = make_text(make_scan(number), "What?", f"Words number {number} of a patient.", pair_id=f"text{number}")
    return replace(made, **{"record_ids": (), "kind": "text_only"} | changes)


def test_texts_without_an_image_are_withdrawn_by_their_own_patient_and_source(settings, fake_run) -> None:
    write_records(corpus())
    pairs = [
        text_pair(1), text_pair(2, patient_key="p9"), text_pair(3, source="letters"),
        text_pair(4, record_ids=("absent",), patient_key="p9"),
    ]  # fmt: skip
    write_table(PAIRS, map(pair_row, pairs), pair_schema())
    add_withdrawn(patient="p9", source="letters")
    run_curate(settings)
    assert {row["pair_id"] for row in iterate_rows(CURATED)} == {"text1"}
    refused = {row["pair_id"]: row for row in pq.read_table(CURATED / "rejected.parquet").to_pylist()}
    assert {name: row["rejected_reason"] for name, row in refused.items()} == {
        "text2": PATIENT, "text3": SOURCE, "text4": PATIENT,
    }  # fmt: skip
    assert b"Words number" not in b"".join(repr(row).encode() for row in refused.values())


def test_a_pair_refused_for_another_reason_keeps_no_words_of_a_withdrawn_image(settings, fake_run) -> None:
    records = [*corpus(), make_scan(80, image=b"torn", perceptual_hash=spread(80))]
    write_records(records)
    withdrawn = records[-2]
    both = (records[-1].record_id, withdrawn.record_id)
    plain = make_text(records[-1], "What?", "Said of the torn image.", pair_id="plain")
    pairs = [text_pair(5, record_ids=both, patient_key="p1"), plain, text_pair(6)]
    write_table(PAIRS, map(pair_row, pairs), pair_schema())
    add_withdrawn(patient=withdrawn.patient_key)
    run_curate(settings)
    refused = {row["pair_id"]: row for row in pq.read_table(CURATED / "rejected.parquet").to_pylist()}
    assert {row["rejected_reason"] for row in refused.values()} == {"image_undecodable"}
    assert refused["text5"]["conversations"] == []
    assert refused["plain"]["conversations"][1]["value"] == "Said of the torn image."


def test_withdrawn_words_guard_nothing(settings, fake_run) -> None:
    write_records(corpus())
    said = " ".join(f"word{number}" for number in range(20))
    own = replace(text_pair(1).generator, name="source")
    pairs = [
        replace(make_text(make_scan(n), "Q", said, pair_id=name), generator=own, record_ids=(), split=split,
                patient_key=name)
        for n, name, split in ((1, "trained", "train"), (2, "held", "test"))
    ]  # fmt: skip
    write_table(PAIRS, map(pair_row, pairs), pair_schema())
    run_curate(settings)
    assert {row["pair_id"] for row in iterate_rows(CURATED)} == {"held"}
    add_withdrawn(patient="held")
    run_curate(settings)
    assert {row["pair_id"] for row in iterate_rows(CURATED)} == {"trained"}


class Echo:
    name, is_third_party = "m", False

    def complete(self, prompt: Prompt, *, seed: int) -> Reply:
        return Reply(prompt.text, 1, 1)


def test_replies_about_withdrawn_data_are_removed_once_and_the_others_stay(tmp_path: Path) -> None:
    folder = tmp_path / "replies"
    withdrawn = Withdrawn(patients=("p9",), sources=("letters",))
    assert forget_replies(folder, withdrawn) == 0  # no cache at all
    model = RememberingModel(Echo(), folder)
    owners = {
        "mine": make_scan(1),
        "theirs": make_scan(2, patient_key="p9"),
        "post": make_scan(3, source="letters"),
    }
    for text, record in owners.items():
        model.complete(Prompt("caption", text, "en"), seed=1, record=record)
    model.complete(Prompt("caption", "nobody's", "en"), seed=1)
    assert forget_replies(folder, Withdrawn()) == 0
    assert forget_replies(folder, withdrawn) == 3
    (left,) = folder.glob("??/*.json")
    assert json.loads(left.read_text())["text"] == "mine"
    model.complete(Prompt("caption", "nobody's", "en"), seed=1)
    assert forget_replies(folder, withdrawn) == 0  # the same list: not looked through again
    assert (folder / FORGOTTEN).is_file()
    assert forget_replies(folder, Withdrawn(patients=("p1", "p9"))) == 2


def test_pairing_removes_the_replies_before_it_asks(settings, fake_run, capsys) -> None:
    write_records(corpus())
    folder = Path(settings.pair.language_model.cache)
    RememberingModel(Echo(), folder).complete(
        Prompt("caption", "of the patient", "en"), seed=1, record=make_scan(1, patient_key="p2")
    )
    add_withdrawn(patient="p2")
    run_pair(settings)
    assert not list(folder.glob("??/*.json"))
    assert "removed 1 replies" in capsys.readouterr().out
