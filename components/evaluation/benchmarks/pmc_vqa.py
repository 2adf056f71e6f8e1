"""PMC-VQA: four options about figures of open-access papers; versions 1 and 2, and the cleaned test part.

Choices carry prefixes such as " A:", which are taken off; the gold answer is a letter (`Answer_label` in
version 1, `Answer` in version 2).
"""

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
from components.evaluation.rows import Row, find_pictures, read_delimited, text_of

NAME = "pmc_vqa"
FILES = {
    "test_clean": "test_clean.csv",
    "test_v1": "test.csv",
    "test_v2": "test_2.csv",
    "train": "train.csv|train_2.csv",
}
ROOTS = {"v1": ("images", "figures", "images_2", "."), "v2": ("images_2", "figures", "images", ".")}
PREFIX = re.compile(r"^\s*[A-D]\s*[:.)]\s*")


def _read(folder: Path, split: str) -> Iterator[Question | Refused]:
    path = next(folder / name for name in FILES[split].split("|") if (folder / name).is_file())
    for number, row in enumerate(read_delimited(path)):
        yield _question(folder, row, f"{path.stem}-{text_of(row, 'index') or number}")


def _question(folder: Path, row: Row, item_id: str) -> Question | Refused:
    version = "v2" if "caption" in row else "v1"
    pictures = find_pictures(folder, [text_of(row, "figure_path")], ROOTS[version], benchmark=NAME)
    if pictures is None:
        return Refused(item_id, "picture_missing")
    options = [PREFIX.sub("", text_of(row, f"choice {letter}")) for letter in "abcd"]
    letter = text_of(row, "answer_label", "answer").upper()
    if not text_of(row, "question") or not all(options):
        return Refused(item_id, "question_or_choice_empty")
    if len(letter) != 1 or letter not in LETTERS[:4]:
        return Refused(item_id, "answer_is_no_letter")
    item = choice_item(
        NAME, item_id, text_of(row, "question"), options=options, gold_index=LETTERS.index(letter),
        pictures=list(pictures), facts={"subset": version}, patient=text_of(row, "figure_path").split("_")[0],
    )  # fmt: skip
    return Question(item, pictures)


BENCHMARK = Benchmark(
    name=NAME,
    version=1,
    card=BenchmarkCard(
        title="PMC-VQA",
        measures="accuracy over four options, by the letter or text in the answer, or by likelihood",
        dataset="PMC-VQA: figures of PubMed Central with generated questions; clean test 2,000, v2 test 33,430",
        citation="Zhang et al., arXiv 2305.10415",
        licence="code MIT; each figure under its paper's licence",
        known_limits="questions are machine-made and partly wrong; gold letters lean to B and C; no patients "
        "known, so figures of one paper stand for one",
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
        splits={
            "test_clean": "the authors' cleaned test part of version 1",
            "test_v1": "test part of version 1",
            "test_v2": "test part of version 2 (single figures)",
            "train": "training part of whichever version is there",
        },
        files={split: (pattern,) for split, pattern in FILES.items()},
        read=_read,
        obtain="take the CSV files and images.zip (v1, to images/) or images_2.zip (v2, to images_2/) from "
        "https://huggingface.co/datasets/RadGenome/PMC-VQA",
    ),
)
