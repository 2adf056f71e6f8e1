"""A card that does not state modality, department and task: its records pass every stage unrefused, unnamed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.data.catalog import CARDS
from components.data.portions import SourceJob
from components.data.source_update import update_source
from components.pairs.claims import read_claims
from components.pairs.curate import run_curate
from components.pairs.draft import make_scene
from components.pairs.make import run_pair
from components.pairs.parse_back import contradictions, known_of
from components.pairs.prompts import make_prompt
from components.pairs.surroundings import look_around
from components.quality.check import run_check
from components.records import NOT_STATED, pair_from_row, record_from_row
from components.tracking.tables import iterate_rows
from tests.fakes.formats_labels import label_card, save, voc_document, voc_object
from tests.fakes.scans import make_scan, make_text
from tests.fakes.sources import CONTEXT, write_card

UNSTATED = dict.fromkeys(("modality", "department", "task"), NOT_STATED)
SIDE = 64
WORDS = ("polyp", "cyst")
NAMES_OF_KINDS = ("medical image", "医学图像")


def make_source(root: Path, *, patients: int = 12):
    """A picture a patient with a box of each word that it has; every third patient is held out."""
    for number in range(patients):
        folder = "test" if number % 3 == 0 else "train"
        noise = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        save(root / folder / f"p{number}.png", noise)
        boxes = {"polyp": (4, 4 + number, 30, 34 + number), "cyst": (34, 10, 60, 30 + 2 * number)}
        drawn = "".join(voc_object(w, boxes[w]) for place, w in enumerate(WORDS) if (number + place) % 4)
        (root / folder / f"p{number}.xml").write_text(voc_document(f"p{number}.png", drawn, SIDE, SIDE))
    options = {"annotations": ["*/*.xml"], "image": "{folder}/{filename}", "complete": True}
    split = {"rule": "fixed", "default": "train", "assign": {"test/*": "test"}}
    return label_card("voc_xml", options, split=split, **UNSTATED)


@pytest.fixture
def done(settings, fake_run, tmp_path: Path):
    """Read, pair, curate and check the source; return the settings it was done with."""
    card = make_source(tmp_path / "data")
    write_card(CARDS, card)
    job = SourceJob(
        card, tmp_path / "data", settings.work_root / "records" / card.name, 64, 1 << 20, CONTEXT.secret
    )
    result = update_source(job)
    assert (result.error, result.rejected, result.kept) == ("", {}, 12)
    manifest = {"counts": {"read": result.read, "kept": result.kept, "rejected": {}}}
    (settings.work_root / "records" / "manifest.json").write_text(json.dumps(manifest))
    corpus = settings.corpus.model_copy(update={"sources": (card.name,)})
    chosen = settings.model_copy(update={"corpus": corpus})
    run_pair(chosen)
    run_curate(chosen)
    run_check(chosen)
    return chosen


def test_such_a_source_goes_from_its_files_to_a_passed_check(done) -> None:
    root = done.work_root
    records = [record_from_row(row) for row in iterate_rows(root / "records")]
    assert {(r.modality, r.department, r.task) for r in records} == {(NOT_STATED,) * 3}
    assert json.loads((root / "pairs" / "manifest.json").read_text())["counts"]["rejected"] == {}
    kept = [pair_from_row(row) for row in iterate_rows(root / "curated")]
    assert {record_id for pair in kept for record_id in pair.record_ids} == {r.record_id for r in records}
    assert {(p.modality, p.department, p.task) for p in kept} == {(NOT_STATED,) * 3}
    results = json.loads((root / "checked" / "results.json").read_text())
    assert results["passed"] and any(row["name"].startswith("fake_voc_xml: ") for row in results["expectations"])


def test_no_sentence_and_no_question_names_what_is_not_stated(done) -> None:
    pairs = [pair_from_row(row) for row in iterate_rows(done.work_root / "curated")]
    assert {"caption", "presence", "region"} <= {pair.question_type for pair in pairs}
    assert not {"modality", "overview"} & {pair.question_type for pair in pairs}
    for pair in pairs:
        for turn in pair.conversations:
            assert NOT_STATED not in turn.value
            assert read_claims(turn.value, pair.language).modalities == frozenset()
    captions = {pair.language: pair.answer.lower() for pair in pairs if pair.kind == "caption"}
    assert all(any(name in text for name in NAMES_OF_KINDS) for text in captions.values())


def test_of_an_unstated_modality_a_source_may_speak_and_a_template_may_not() -> None:
    scan = make_scan(modality=NOT_STATED)
    pair = make_text(scan, "Describe.", "A CT image of the abdomen.")
    own = replace(pair, kind="caption", generator=replace(pair.generator, name="source"))
    answered = replace(own, kind="vqa", question_type="modality")
    assert contradictions(pair, [known_of(scan)]) == ("modality_contradicts",)
    assert contradictions(own, [known_of(scan)]) == contradictions(answered, [known_of(scan)]) == ()
    assert contradictions(answered, [known_of(make_scan(modality="MR"))]) == ("modality_contradicts",)


def test_a_language_model_is_told_only_what_is_stated() -> None:
    scan = make_scan(modality=NOT_STATED, department=NOT_STATED)
    around = look_around([scan])["scans"]
    text = make_prompt("caption", make_scene(scan, around), language="en").text
    assert NOT_STATED not in text and "Modality" not in text and "Department" not in text
    assert text.startswith("Plane: axial\nPart of the body: abdomen\n")
