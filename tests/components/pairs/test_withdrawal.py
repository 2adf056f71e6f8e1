from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components.errors import DataError
from components.pairs.curate import run_curate
from components.pairs.images import ImageFacts, image_table
from components.pairs.make import run_pair
from components.pairs.withdrawal import (
    PATIENT,
    SOURCE,
    TOMBSTONES,
    Withdrawn,
    add_withdrawn,
    load_withdrawn,
    withdrawn_reasons,
)
from components.tracking.tables import iterate_rows
from tests.components.pairs.test_make import CURATED, corpus, noisy, spread, write_records
from tests.fakes.scans import make_scan


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
