import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from components.registry.evidence import (
    compare,
    damaged_files,
    evaluated_digest,
    no_blind_words,
    primary_items,
    quality_of,
    safetensors_problem,
)
from components.registry.gate import Evidence
from components.tracking.commit import write_json
from components.tracking.digest import digest_tree
from tests.fakes.project import NUM_ITEMS, write_predictions


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "models" / "last"
    folder.mkdir(parents=True)
    save_file({"a": np.ones((3, 3), dtype=np.float32)}, folder / "model.safetensors")
    write_json(folder / "config.json", {"model_type": "llava"})
    return folder


def test_reasons_for_missing_blind_rows_reach_the_gate() -> None:
    metrics = {"details": {"no_blind": {"closed_questions": "no blind row: one patient"}}}
    assert no_blind_words(metrics) == "closed_questions: no blind row: one patient"
    assert no_blind_words({}) == ""


def test_a_whole_model_is_not_damaged(model: Path) -> None:
    assert damaged_files(model) == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content[:-1], "tensors are cut short"),
        (lambda content: content + b"x", "followed by others"),
        (lambda content: content[:5], "cut short"),
        (lambda content: content[:8] + b"!" * (len(content) - 8), "header is not JSON"),
        (lambda content: b"\x80\x04pickle" + content, "cut short"),
    ],
)
def test_a_damaged_safetensors_file_is_found_without_reading_tensors(model: Path, change, words: str) -> None:
    file = model / "model.safetensors"
    file.write_bytes(change(file.read_bytes()))
    assert words in safetensors_problem(file)
    assert damaged_files(model)[0].startswith("model.safetensors: ")


def test_remote_code_and_broken_json_are_found(model: Path) -> None:
    write_json(model / "config.json", {"auto_map": {"AutoModel": "hack.Model"}})
    (model / "processor_config.json").write_text("{")
    assert damaged_files(model) == (
        "config.json: asks for remote code (auto_map)", "processor_config.json: not JSON",
    )  # fmt: skip


def test_the_evaluated_weights_are_read_from_the_manifest(model: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "evaluation" / "manifest.json"
    write_json(manifest, {"inputs": {model.as_posix(): "digest-then"}})
    assert evaluated_digest(manifest.parent, model) == "digest-then"
    write_json(manifest, {"inputs": {model.parent.as_posix(): digest_tree(model.parent)}})
    assert evaluated_digest(manifest.parent, model) == digest_tree(model)
    write_json(manifest, {"inputs": {model.parent.as_posix(): "another"}})
    assert evaluated_digest(manifest.parent, model) == ""
    assert evaluated_digest(tmp_path / "absent", model) == ""


def test_quality_results_are_read_or_missing(tmp_path: Path) -> None:
    assert quality_of(tmp_path) is None
    rows = [{"name": "a", "passed": True}, {"name": "b", "passed": False}]
    (tmp_path / "results.json").write_text(json.dumps({"passed": False, "expectations": rows}))
    assert quality_of(tmp_path) == {"passed": False, "failed": ["b"], "rejected_share": None}


def test_only_the_models_answers_to_the_primary_count(tmp_path: Path) -> None:
    write_predictions(tmp_path, right=10)
    items = primary_items(tmp_path, "closed_questions")
    assert len(items) == NUM_ITEMS
    assert sum(score for _, score in items.values()) == 10
    assert primary_items(tmp_path, "boxes") == {}
    assert primary_items(tmp_path / "absent", "boxes") == {}


def test_models_are_compared_on_the_same_items_only() -> None:
    answers = {f"i{number}": (f"p{number % 4}", float(number % 2)) for number in range(20)}
    right = {item: (patient, 1.0) for item, (patient, _) in answers.items()}
    champion, candidate = Evidence("a", {}, items=answers), Evidence("b", {}, items=right)
    found = compare(candidate, champion, resamples=200, seed=1)
    assert found is not None
    assert (found.difference, found.num_items, found.num_clusters) == (0.5, 20, 4)
    assert (found.wins, found.losses) == (10, 0)
    assert found.low <= 0.5 <= found.high
    assert found == compare(candidate, champion, resamples=200, seed=1)
    fewer = replace(champion, items=dict(list(answers.items())[:-1]))
    assert compare(candidate, fewer, resamples=200, seed=1) is None
    assert compare(candidate, None, resamples=200, seed=1) is None
    assert compare(Evidence("c", {}), Evidence("d", {}), resamples=200, seed=1) is None


def test_one_patient_alone_proves_nothing() -> None:
    champion = Evidence("a", {}, items={f"i{number}": ("p", 0.0) for number in range(9)})
    candidate = Evidence("b", {}, items={f"i{number}": ("p", 1.0) for number in range(9)})
    found = compare(candidate, champion, resamples=200, seed=1)
    assert found is not None
    assert (found.low, found.high, found.num_clusters) == (-1.0, 1.0, 1)
