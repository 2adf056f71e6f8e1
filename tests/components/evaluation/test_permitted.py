"""A model's permitted use is the strictest of what it was trained on, not of what lies about."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from components.data.terms import USES
from components.evaluation.permitted import permitted_use, withheld_of
from components.records import pair_schema, to_rows
from components.tracking.tables import write_table
from tests.fakes.sources import make_card, write_card
from tests.fakes.tables import FakeRun, make_record, pairs_of

YES = dict.fromkeys(USES, "yes")


def corpus(tmp_path, terms):
    """Training pairs of `open_ct` and `sold_ct`, a test pair of `held_ct`; the records' manifest says `terms`."""
    rows = []
    for number, (source, split) in enumerate((("open_ct", "train"), ("sold_ct", "train"), ("held_ct", "test"))):
        record = replace(make_record(number, patient=source, split=split), source=source)
        rows += pairs_of(record)
    write_table(tmp_path / "curated", to_rows(rows), pair_schema())
    (tmp_path / "records").mkdir()
    sources = {name: {"terms": answers} for name, answers in terms.items()}
    (tmp_path / "records/manifest.json").write_text(json.dumps({"details": {"sources": sources}}))
    return tmp_path / "records", tmp_path / "curated"


def test_the_strictest_of_the_training_sources_holds(tmp_path):
    terms = {
        "open_ct": YES,
        "sold_ct": YES | {"commercial_use": "not stated"},
        "held_ct": dict.fromkeys(USES, "no"),
    }
    found = permitted_use(*corpus(tmp_path, terms))
    assert found["sources"] == ["open_ct", "sold_ct"]
    assert found["permitted_use"] == YES | {"commercial_use": "not stated"}


def test_a_source_of_unknown_terms_forbids(tmp_path):
    found = permitted_use(*corpus(tmp_path, {"open_ct": YES}))
    assert found["permitted_use"] == dict.fromkeys(USES, "not stated")


def test_pictures_of_an_exam_stay_unless_their_source_says_yes_or_it_is_published(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, answer in (("open_ct", "yes"), ("ward_ct", "no")):
        terms = YES | {"may_leave_machine": answer}
        options = {"files": [{"file": "*.dcm"}]}
        write_card(Path("conf/sources"), make_card(name, "dicom_headers", options, terms=terms))
    items = [
        SimpleNamespace(source=name, record_ids=("r",)) for name in ("open_ct", "ward_ct", "no_card", "vqa_rad")
    ]
    exams = [SimpleNamespace(items=[*items, SimpleNamespace(source="words", record_ids=())])]
    settings = SimpleNamespace(evaluation=SimpleNamespace(judge=SimpleNamespace(may_send=("vqa_rad",))))
    run = FakeRun()
    assert withheld_of(run, exams, settings) == frozenset()
    run.keeps_here = False
    assert withheld_of(run, exams, settings) == {"ward_ct", "no_card"}
