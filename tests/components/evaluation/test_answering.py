"""Answers in blocks: a killed run goes on without asking again and ends as an undisturbed one does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from components.evaluation import answering
from components.evaluation.answer_journal import AnswerJournal
from components.evaluation.answering import ImageFeatures, Pace, answer_exam, blocks_of, model_systems
from components.evaluation.catalog import find_benchmark
from components.evaluation.engine import Ask, inference, measure_references
from components.evaluation.exams import BLIND, MODEL, TEXT_ONLY, Exam, make_exam
from components.evaluation.items import Answer
from tests.fakes.items import make_item
from tests.fakes.tables import png

PACE = Pace(batch_size=4, max_new_tokens=4, generation_batch=5)
ITEMS = [
    make_item(item_id=f"i{k}", patient_key=f"p{k % 3}", record_ids=(f"r{k % 4}",), kind="caption")
    for k in range(6)
]
IMAGES = {f"r{k}": png(40 * k) for k in range(4)}


def quiet(name: str, total: int):
    return lambda number: None


def exam_of(name: str) -> Exam:
    return make_exam(find_benchmark(name), ITEMS, [], number=6, seed=1)


def run(vlm, name: str, folder: Path) -> dict[str, list[Answer]]:
    exam, journal = exam_of(name), AnswerJournal("m", name, folder=folder)
    with inference():
        answer_exam(vlm, exam, ImageFeatures(vlm, IMAGES), pace=PACE, journal=journal, steps=quiet)
    return exam.answers


@pytest.mark.parametrize("name", ["closed_questions", "captions"])
def test_a_killed_run_goes_on_where_it_stopped(vlm, name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(answering, "CLOSED_AT_ONCE", 5)
    monkeypatch.setattr(answering, "GENERATED_AT_ONCE", 5)
    undisturbed = run(vlm, name, tmp_path / "whole")
    asked: list[int] = []
    honest = answering.answer_block

    def dying(vlm, asks, *rest, **named):
        asked.append(len(asks))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return honest(vlm, asks, *rest, **named)

    monkeypatch.setattr(answering, "answer_block", dying)
    with pytest.raises(KeyboardInterrupt):
        run(vlm, name, tmp_path / "killed")
    assert run(vlm, name, tmp_path / "killed") == undisturbed
    assert asked == [5, 5, 5, 5, 3]  # the third block was asked again, the first two were not


def test_a_line_cut_off_by_a_kill_is_asked_again(tmp_path: Path) -> None:
    journal = AnswerJournal("m", "f", folder=tmp_path)
    journal.add({("model", "a"): Answer("yes", choice=0, confidence=0.5, shares=(0.5, 0.5))})
    journal.add({("model", "b"): Answer("no")})
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole[:-9])
    found = AnswerJournal("m", "f", folder=tmp_path)
    assert found.answers == {("model", "a"): Answer("yes", choice=0, confidence=0.5, shares=(0.5, 0.5))}
    found.add({("model", "b"): Answer("no")})
    assert found.path.read_bytes() == whole
    assert AnswerJournal("other weights", "f", folder=tmp_path).answers == {}
    found.remove()
    assert AnswerJournal("m", "f", folder=tmp_path).answers == {}


def test_each_image_is_encoded_once_while_it_is_held(vlm, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[str] = []
    honest = answering.open_rgb
    monkeypatch.setattr(answering, "open_rgb", lambda content: encoded.append(content) or honest(content))
    with inference():
        features = ImageFeatures(vlm, IMAGES)
        assert features.of(["r1", "r0", "r1"]).keys() == {"r0", "r1"}
        features.of(["r0", "r2"])
        assert len(encoded) == 3
        small = ImageFeatures(vlm, IMAGES, limit_bytes=1)
        small.of(["r0"])
        small.of(["r1"])
        small.of(["r0"])
    assert len(encoded) == 6


def test_the_model_is_asked_without_images_too() -> None:
    exam = exam_of("closed_questions")
    assert model_systems(exam) == [MODEL, BLIND, TEXT_ONLY]
    ask = exam.asks(TEXT_ONLY)[0]
    assert (ask.images, ask.prompt) == ((), "Is there a lung? Answer yes or no.")
    written = make_exam(exam.benchmark, [make_item(record_ids=(), question="Q?")], [], number=1, seed=0)
    assert model_systems(written) == [MODEL]


def test_blocks_hold_every_question_once(vlm) -> None:
    asks = exam_of("closed_questions").asks(MODEL)
    for is_closed in (True, False):
        assert sorted(place for block in blocks_of(vlm, asks, is_closed=is_closed) for place in block) == list(
            range(6)
        )


@torch.no_grad()
def test_the_likelihood_of_a_reference_is_that_of_a_plain_pass(vlm) -> None:
    ask = Ask((), "Say it.", ("a lung",))
    prompt = vlm.prompt_ids(ask.prompt, 0)
    reference = vlm.tokenizer.encode("a lung<|im_end|>", add_special_tokens=False)
    logits = vlm.model(input_ids=torch.tensor([[*prompt, *reference]])).logits[0, len(prompt) - 1 : -1]
    expected = logits.log_softmax(-1).gather(1, torch.tensor(reference)[:, None]).mean()
    (found,) = measure_references(vlm, [ask], {}, batch_size=1)
    assert found.log_probability == pytest.approx(float(expected), abs=2e-5)
    assert found.num_tokens == len(reference)
