"""A protocol is its parts: each change changes the fingerprint and is named; other fingerprints do not compare."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from components.evaluation import protocol
from components.evaluation.catalog import find_benchmark
from components.evaluation.exams import Exam, make_exam
from components.evaluation.protocol import (
    arithmetic_of,
    differing_parts,
    make_protocol,
    parts_of,
    preprocessing_hash,
    scoring_code,
    why_not_comparable,
)
from tests.fakes.items import make_item

ITEMS = [make_item(item_id=f"i{k}", patient_key=f"p{k}", record_ids=(f"r{k}",)) for k in range(3)]


@pytest.fixture(scope="module")
def exam() -> Exam:
    return make_exam(find_benchmark("closed_questions"), ITEMS, [], number=3, seed=1)


def made(exam: Exam, **changes):
    return make_protocol(exam, **{"preprocessing": "p", "max_new_tokens": 4, **changes})


def asked_otherwise(exam: Exam) -> Exam:
    return replace(exam, benchmark=replace(exam.benchmark, prompt=lambda item: f"Please: {item.question}"))


@pytest.mark.parametrize(
    ("change", "settings", "part"),
    [
        (lambda exam: replace(exam, benchmark=replace(exam.benchmark, version=9)), {}, "benchmark version"),
        (lambda exam: replace(exam, items=exam.items[:-1]), {}, "split"),
        (lambda exam: replace(exam, blind={}), {}, "split"),
        (lambda exam: exam, {"data": "other pictures"}, "split"),
        (asked_otherwise, {}, "prompt"),
        (lambda exam: exam, {"preprocessing": "q"}, "preprocessing"),
        (lambda exam: exam, {"max_new_tokens": 5}, "decoding"),
        (lambda exam: replace(exam, benchmark=replace(exam.benchmark, answering="text")), {}, "decoding"),
        (lambda exam: exam, {"judge": "a judge"}, "judge"),
        (lambda exam: exam, {"arithmetic": arithmetic_of("cpu", batches=(16, 48))}, "decoding"),
    ],
)
def test_each_change_is_named(exam: Exam, change, settings, part: str) -> None:
    first, second = made(exam), made(change(exam), **settings)
    assert first.fingerprint != second.fingerprint
    assert part in differing_parts(first.parts, second.parts)
    assert set(differing_parts(first.parts, second.parts)) <= {part, "prompt"}  # fewer items have fewer prompts


def test_the_parser_and_the_code_are_parts(exam: Exam, monkeypatch: pytest.MonkeyPatch) -> None:
    first = made(exam)
    monkeypatch.setattr(protocol, "PARSER_VERSION", 99)
    monkeypatch.setattr(protocol, "ASKING_FILES", ("engine.py", "report.py"))
    assert differing_parts(first.parts, made(exam).parts) == ["parser", "code"]


def test_the_code_is_what_the_benchmark_and_the_asking_import() -> None:
    names = {path.name for path in scoring_code(Path(find_benchmark("boxes").file))}
    assert {
        "boxes.py",
        "answers.py",
        "baselines.py",
        "items.py",
        "metrics.py",
        "engine.py",
        "branches.py",
    } <= names
    assert not {"report.py", "closed_questions.py", "run.py", "standing.py"} & names


def test_the_code_is_what_asks_too_and_what_the_words_of_probes_come_from() -> None:
    names = {protocol._named(path) for path in scoring_code(Path(find_benchmark("hallucination").file))}
    assert {
        "evaluation/answering.py", "evaluation/exams.py", "model/vlm.py", "model/chat.py", "quality/pictures.py",
        "evaluation/probes.py", "pairs/wording/english.py", "pairs/wording/chinese.py",
    } <= names  # fmt: skip
    assert not any(name.startswith(("tracking", "settings", "data")) for name in names)


@pytest.mark.parametrize("change", [{"device": "cuda:0"}, {"batches": (8, 48)}, {"batches": (16, 8)}])
def test_what_rounds_the_numbers_is_part_of_decoding(exam: Exam, change) -> None:
    usual = {"device": "cpu", "batches": (16, 48)}
    first, second = (made(exam, arithmetic=arithmetic_of(**how)) for how in (usual, usual | change))
    assert differing_parts(first.parts, second.parts) == ["decoding"]
    assert arithmetic_of(**usual)["libraries"].keys() == {"torch", "transformers", "tokenizers", "pillow"}


def test_other_libraries_are_another_decoding(exam: Exam, monkeypatch: pytest.MonkeyPatch) -> None:
    before = arithmetic_of("cpu", batches=(1, 1))
    monkeypatch.setattr(protocol, "version", lambda name: "0.0")
    assert arithmetic_of("cpu", batches=(1, 1)) != before


def test_into_how_many_squares_a_picture_is_cut_is_preprocessing(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"hidden": 1}')
    whole = preprocessing_hash(tmp_path)
    (tmp_path / "config.json").write_text('{"hidden": 2}')
    assert preprocessing_hash(tmp_path) == whole  # the architecture is the model's, not the protocol's
    (tmp_path / "config.json").write_text('{"hidden": 1, "max_tiles": 6}')
    assert preprocessing_hash(tmp_path) != whole


def test_the_same_protocol_gives_the_same_fingerprint(exam: Exam) -> None:
    assert made(exam) == made(replace(exam, items=exam.items[::-1]))
    assert len(made(exam).fingerprint) == 64 and set(made(exam).parts) == set(protocol.PARTS)


def test_the_preprocessing_is_its_files(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    first = preprocessing_hash(tmp_path)
    (tmp_path / "model.safetensors").write_text("weights are no part of it")
    assert preprocessing_hash(tmp_path) == first
    (tmp_path / "chat_template.jinja").write_text("x")
    assert preprocessing_hash(tmp_path) != first


def test_a_refusal_names_what_differs() -> None:
    ours, theirs = {"fingerprint": "a"}, {"fingerprint": "b"}
    parts = {"our_parts": {"prompt": "1", "code": "1"}, "their_parts": {"prompt": "2", "code": "1"}}
    assert why_not_comparable(ours, theirs, **parts) == "another protocol fingerprint: prompt differ"
    assert why_not_comparable(ours, ours, **parts) == ""
    assert "were not kept" in why_not_comparable(ours, theirs, our_parts={}, their_parts=parts["their_parts"])


def test_parts_are_read_back_from_the_metrics_file() -> None:
    metrics = {"details": {"protocols": {"closed_questions": {"prompt": "1"}}}}
    assert parts_of(metrics, "closed_questions/modality=CT") == {"prompt": "1"}
    assert parts_of(metrics, "boxes") == {} and parts_of({}, "boxes") == {}
