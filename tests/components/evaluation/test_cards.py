"""Cards hold only what artefacts gave: each number with its file and key; a typed number stops the build."""

from __future__ import annotations

import re

import pytest

from components.errors import BenchmarkError
from components.evaluation import cards
from components.evaluation.cards import Artefacts, check_sourced, data_card, marked, model_card, written

SCORES = {
    "image_minus_blind": {"value": 0.123456, "low": -0.1, "high": 0.3, "n": 40},
    "scores": [
        {"benchmark": "boxes", "metric": "iou_at_50", "value": 0.5, "low": 0.25, "high": 0.75, "baseline": 0.1,
         "n": 24},
        {"benchmark": "boxes/modality=CT", "metric": "iou_at_50", "value": 0.9},
    ],
    "details": {"smallest_difference": {"boxes": {"value": 0.21}}, "no_blind": {}},
}  # fmt: skip
MODEL = {"details": {"parameters": {"language": 134515584}, "steps": 32, "part_hashes": {"vision": "b6b4"}}}
RECORDS = {
    "counts": {"read": 1775, "kept": 1775},
    "details": {"sources": {"some_ct": {"digest": "ab", "kept": 93}}},
}
CURATED = {"counts": {"kept": 11994, "rejected": {"duplicate_image": 531}}, "details": {"split": {"test": 1106}}}
ARTEFACTS = Artefacts({"model": MODEL, "scores.json": SCORES, "records": RECORDS, "curated": CURATED})


def test_every_number_of_the_model_card_has_its_source() -> None:
    text = model_card(ARTEFACTS, model="model", scores="scores.json")
    assert "| details" not in text
    assert "| parameters language | 134515584 | model: details.parameters.language |" in text
    assert "| boxes iou_at_50 value | 0.5 | scores.json: scores.0.value |" in text
    assert "| value | 0.1235 | scores.json: image_minus_blind.value |" in text
    assert "modality=CT" not in text and "b6b4" not in text and "\x02" not in text
    for line in text.splitlines():
        assert not re.search(r"\d", line) or line.startswith("|"), line


def test_the_data_card_lists_sources_and_rejections() -> None:
    text = data_card(ARTEFACTS, records="records", curated="curated")
    assert "| sources some_ct kept | 93 | records: details.sources.some_ct.kept |" in text
    assert "| rejected duplicate_image | 531 | curated: counts.rejected.duplicate_image |" in text


def test_a_typed_number_stops_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards, "LIMITS", ("Accuracy is above 0.9.",))
    with pytest.raises(BenchmarkError, match=r"a number without a source: '- Accuracy is above 0\.9\.'"):
        model_card(ARTEFACTS, model="model", scores="scores.json")
    assert check_sourced(f"n = {marked(7)}", where="x") == "n = 7"


def test_what_is_not_there_is_said_to_be_so() -> None:
    text = model_card(Artefacts({}), model="model", scores="scores.json")
    assert text.count("not recorded") >= 3 and not re.search(r"\d", text)
    assert [written(value) for value in (None, 1.0, [1, 2], [], True)] == [
        "not recorded",
        "1",
        "1, 2",
        "none",
        "True",
    ]


def test_no_blind_row_is_said_with_its_reason() -> None:
    scores = {**SCORES, "image_minus_blind": None, "details": {"no_blind": {"boxes": "no blind row: one patient"}}}
    text = model_card(Artefacts({"s": scores}), model="m", scores="s")
    assert "| no_blind boxes | no blind row: one patient | s: details.no_blind.boxes |" in text


def test_the_model_card_says_what_the_terms_of_its_sources_allow() -> None:
    use = {"sources": ["some_ct", "some_mr"], "permitted_use": {"commercial_use": "no"}}
    text = model_card(Artefacts({"permitted_use.json": use}), model="m", scores="s")
    assert "| commercial_use | no | permitted_use.json: permitted_use.commercial_use |" in text
    assert "| trained on | some_ct, some_mr | permitted_use.json: sources |" in text
