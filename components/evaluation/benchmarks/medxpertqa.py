"""MedXpertQA-MM: board-level questions with five options, a case, and one or more pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from components.evaluation.answers import LETTERS
from components.evaluation.items import (
    Benchmark,
    BenchmarkCard,
    Publication,
    Question,
    Refused,
    of_source,
)
from components.evaluation.multiple_choice import CALIBRATION, choice_item, choice_prompt, judge_choice
from components.evaluation.prior import most_frequent_answer
from components.evaluation.rows import Row, find_pictures, read_json_lines, text_of

NAME = "medxpertqa"
FILES = {"test": "MM/test.jsonl|test.jsonl", "train": "MM/dev.jsonl|dev.jsonl"}
ROOTS = ("images", "MM/images", ".")
LISTED = re.compile(r"\s*Answer Choices:\s*\(A\).*\Z", re.DOTALL)  # the question repeats its options at its end


def _read(folder: Path, split: str) -> Iterator[Question | Refused]:
    path = next(folder / name for name in FILES[split].split("|") if (folder / name).is_file())
    for row in read_json_lines(path):
        yield _question(folder, row)


def _question(folder: Path, row: Row) -> Question | Refused:
    item_id, options, label = text_of(row, "id"), row.get("options"), text_of(row, "label").upper()
    names = [str(name) for name in row.get("images") or ()]
    pictures = find_pictures(folder, names, ROOTS, benchmark=NAME) if names else None
    if pictures is None:
        return Refused(item_id, "picture_missing")
    if not isinstance(options, dict) or len(options) < 2 or list(options) != list(LETTERS[: len(options)]):
        return Refused(item_id, "options_not_lettered")
    if label not in options:
        return Refused(item_id, "answer_is_no_letter")
    facts = {
        "question_type": text_of(row, "question_type"), "task": text_of(row, "medical_task"),
        "organ": text_of(row, "body_system"),
    }  # fmt: skip
    item = choice_item(
        NAME, item_id, LISTED.sub("", text_of(row, "question")), options=[str(text) for text in options.values()],
        gold_index=LETTERS.index(label), pictures=list(pictures), facts=facts, patient=item_id,
    )  # fmt: skip
    return Question(item, pictures)


BENCHMARK = Benchmark(
    name=NAME,
    version=1,
    card=BenchmarkCard(
        title="MedXpertQA-MM",
        measures="accuracy over five options, by the letter or text in the answer, or by likelihood",
        dataset="MedXpertQA, multimodal part: 2,000 test questions, 5 for development",
        citation="Zuo et al., ICML 2025, arXiv 2501.18362",
        licence="MIT",
        known_limits="text alone answers part of it; each question stands for one patient",
    ),
    answering="text",
    also_answering=("choice",),
    budget="closed",
    metrics=("accuracy",),
    corpus_metrics=(CALIBRATION,),
    takes=of_source(NAME),
    prompt=choice_prompt,
    score=judge_choice,
    majority=most_frequent_answer,
    publication=Publication(
        splits={"test": "official test part", "train": "the five development questions"},
        files={split: (pattern,) for split, pattern in FILES.items()},
        read=_read,
        obtain="take MM/*.jsonl and images.zip (unpacked to images/) from "
        "https://huggingface.co/datasets/TsinghuaC3I/MedXpertQA",
    ),
)
