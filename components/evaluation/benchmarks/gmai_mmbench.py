"""GMAI-MMBench: up to five options over 284 sets, 38 modalities, 18 clinical tasks, 18 departments.

One TSV (validation) or several (test) with pictures in base64. The test's answers are hidden: it gives no score
but a workbook to mail. Some published rows pair a picture with another's region (indices 659-678); they
are asked as they are.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from pathlib import Path

from components.evaluation.answers import LETTERS
from components.evaluation.items import (
    Benchmark,
    BenchmarkCard,
    CorpusMetric,
    Judged,
    Publication,
    Question,
    Refused,
    of_source,
)
from components.evaluation.multiple_choice import (
    CALIBRATION,
    choice_item,
    choice_prompt,
    chosen,
    judge_choice,
    macro_accuracy,
)
from components.evaluation.prior import most_frequent_answer
from components.evaluation.rows import Row, read_delimited, text_of
from components.evaluation.spreadsheet import write_workbook

NAME = "gmai_mmbench"
FILES = {
    "validation": "GMAI-MMBench_VAL.tsv|GMAI_mm_bench_VAL.tsv",
    "test": "GMAI_mm_bench_TEST_part_*.tsv|GMAI-MMBench_TEST.tsv",
}
EMPTY = {"", "none", "nan"}
LONGEST_REFERENCE = 64  # a shorter `image` is the index of the row that holds the picture, as in VLMEvalKit
MODALITIES = {
    "ct": "CT", "mr": "MR", "mri": "MR", "x-ray": "X-ray", "xray": "X-ray", "pet": "PET",
    "ultrasound": "Ultrasound",
    "endoscopy": "Endoscopy", "histopathology": "Pathology", "pathology": "Pathology", "microscopy": "Microscopy",
    "fundus photography": "Fundus", "fundus": "Fundus", "oct": "OCT", "dermoscopy": "Dermoscopy",
}  # fmt: skip
WORKBOOK = "GMAI-MMBench_TEST.xlsx"
COLUMNS = ("index", "question", "A", "B", "C", "D", "E", "prediction")


def _read(folder: Path, split: str) -> Iterator[Question | Refused]:
    patterns = FILES[split].split("|")
    paths = next(found for pattern in patterns if (found := sorted(folder.glob(pattern))))
    for path in paths:
        lent = _lent(path)
        for row in read_delimited(path, delimiter="\t"):
            image = text_of(row, "image")
            yield _question(row, lent.get(image, image), split)


def _lent(path: Path) -> dict[str, str]:
    """Return {index: picture} of the rows that other rows refer to; only those are held in memory."""
    names = (text_of(row, "image") for row in read_delimited(path, delimiter="\t"))
    wanted = {name for name in names if len(name) <= LONGEST_REFERENCE}
    rows = read_delimited(path, delimiter="\t") if wanted else iter(())
    return {index: text_of(row, "image") for row in rows if (index := text_of(row, "index")) in wanted}


def _question(row: Row, image: str, split: str) -> Question | Refused:
    index = text_of(row, "index")
    content = _decode(image)
    if content is None:
        return Refused(index, "picture_unreadable")
    options = _options(row)
    letter = text_of(row, "answer").upper()
    if len(options) < 2 or not text_of(row, "question"):
        return Refused(index, "question_or_option_empty")
    if split != "test" and letter not in LETTERS[: len(options)]:
        return Refused(index, "answer_is_no_letter")
    picture = f"{NAME}/{split}-{index}"
    gold = LETTERS.index(letter) if letter and split != "test" else -1
    item = choice_item(
        NAME, f"{split}-{index}", text_of(row, "question"), options=options, gold_index=gold, pictures=[picture],
        facts=_facts(row),
    )  # fmt: skip
    return Question(item, {picture: content})


def _options(row: Row) -> list[str]:
    """Return the options up to the last that is there; a hole before it leaves none, for letters would shift."""
    options = [text_of(row, letter) for letter in "abcde"]
    while options and options[-1].lower() in EMPTY:
        options.pop()
    return options if all(options) else []


def _facts(row: Row) -> dict[str, str]:
    modality = text_of(row, "modality")
    return {
        "question_type": text_of(row, "clinical vqa task"), "task": text_of(row, "clinical vqa task"),
        "department": text_of(row, "department"), "granularity": text_of(row, "perceptual granularity"),
        "modality": MODALITIES.get(modality.lower(), ""), "modality_type": modality,
        "label": text_of(row, "category"),
    }  # fmt: skip


def _decode(image: str) -> bytes | None:
    try:
        return base64.b64decode(image, validate=True) or None
    except binascii.Error:
        return None


def _by_task(judged: Sequence[Judged]) -> float:
    return macro_accuracy(judged, "task")


def _submit(judged: Sequence[Judged], folder: Path) -> None:
    rows = []
    for row in judged:
        options = [*row.item.options, "", "", "", "", ""][:5]
        choice = chosen(row.answer, row.item)
        question = row.item.question.removeprefix("<image>\n")
        index = row.item.item_id.rpartition("-")[2]
        rows.append((index, question, *options, LETTERS[choice] if choice is not None else ""))
    write_workbook(folder / WORKBOOK, COLUMNS, rows)


BENCHMARK = Benchmark(
    name=NAME,
    version=1,
    card=BenchmarkCard(
        title="GMAI-MMBench",
        measures="accuracy over the options; its mean over the 18 clinical tasks",
        dataset="GMAI-MMBench: validation 4,550, test 21,281 (answers hidden)",
        citation="Chen et al., NeurIPS 2024 (datasets and benchmarks), arXiv 2408.03361",
        licence="that of each of the 284 sets; the collection is gated",
        known_limits="some regions do not belong to their picture (repository issue 2); no patients known",
    ),
    answering="text",
    also_answering=("choice",),
    budget="closed",
    metrics=("accuracy",),
    corpus_metrics=(CorpusMetric("accuracy_mean_over_tasks", _by_task), CALIBRATION),
    takes=of_source(NAME),
    prompt=choice_prompt,
    score=judge_choice,
    majority=most_frequent_answer,
    publication=Publication(
        splits={
            "validation": "official validation part, 4,550 questions with answers",
            "test": "official test part, 21,281 questions, answers hidden: writes a workbook",
        },
        files={split: (pattern,) for split, pattern in FILES.items()},
        read=_read,
        obtain="ask for https://huggingface.co/datasets/OpenGVLab/GMAI-MMBench and take GMAI-MMBench_VAL.tsv, or "
        "the eleven GMAI_mm_bench_TEST_part_*.tsv",
        checksums={"GMAI-MMBench_VAL.tsv": "md5:254bd581627866f1c499d3d6b4422324"},
    ),
    submission=_submit,
)
