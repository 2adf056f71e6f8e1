"""SLAKE: questions about CT, MR and X-ray in English and Chinese, open and closed, some from a knowledge graph.

The languages share images across the parts: 72 of 96 English test images are in the Chinese training part, so
that who trains on both has seen them. The `_unseen` splits leave those out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from components.evaluation.items import (
    Benchmark,
    BenchmarkCard,
    Publication,
    Question,
    Refused,
    of_source,
)
from components.evaluation.prior import most_frequent_answer
from components.evaluation.rows import Row, find_pictures, read_json_rows, text_of
from components.evaluation.short_answers import (
    CORPUS_METRICS,
    LLAVA_MED_FAULTS,
    METRICS,
    judge_short,
    short_item,
    short_prompt,
)

NAME = "slake"
LANGUAGES = {"en": "English", "zh": "Chinese"}
PARTS = {"test": "test.json", "validation": "validation.json|validate.json", "train": "train.json"}
MODALITIES = {"CT": "CT", "MRI": "MR", "X-Ray": "X-ray"}
ROOTS = ("imgs", "imgs/imgs", ".")


def _read(folder: Path, split: str) -> Iterator[Question | Refused]:
    part, *rest = split.split("_")
    language = next((word for word in rest if word in LANGUAGES), "")
    seen = {text_of(row, "img_name") for row in _rows(folder, "train")} if "unseen" in rest else set()
    for row in _rows(folder, part):
        if language and text_of(row, "q_lang") != language:
            yield Refused(text_of(row, "qid"), "another_language")
        elif text_of(row, "img_name") in seen:
            yield Refused(text_of(row, "qid"), "picture_in_a_training_part")
        else:
            yield _question(folder, row)


def _rows(folder: Path, part: str) -> list[Row]:
    path = next(folder / name for name in PARTS[part].split("|") if (folder / name).is_file())
    return read_json_rows(path)


def _question(folder: Path, row: Row) -> Question | Refused:
    qid, answer, asked = text_of(row, "qid"), text_of(row, "answer"), text_of(row, "question")
    pictures = find_pictures(folder, [text_of(row, "img_name")], ROOTS, benchmark=NAME)
    if pictures is None:
        return Refused(qid, "picture_missing")
    if not answer or not asked:
        return Refused(qid, "question_or_answer_empty")
    if text_of(row, "q_lang") not in LANGUAGES:
        return Refused(qid, "language_unknown")
    facts = {
        "modality": MODALITIES.get(text_of(row, "modality"), ""), "organ": text_of(row, "location"),
        "question_type": text_of(row, "content_type"), "subset": text_of(row, "base_type"),
    }  # fmt: skip
    item = short_item(
        NAME, qid, asked, gold=answer, is_closed=text_of(row, "answer_type").upper() == "CLOSED",
        pictures=list(pictures), facts=facts, language=text_of(row, "q_lang"),
    )  # fmt: skip
    return Question(item, pictures)


def _splits() -> dict[str, str]:
    named = {"test": "official test part, both languages (en 1,061, zh 1,033)"}
    for code, language in LANGUAGES.items():
        named[f"test_{code}"] = f"official test part, {language}"
        named[f"test_{code}_unseen"] = f"decontaminated: {language} test questions on images of no training part"
        named[f"validation_{code}"] = f"official validation part, {language}"
    return {**named, "validation": "official validation part", "train": "official training part, both languages"}


def _files(split: str) -> tuple[str, ...]:
    own = PARTS[split.split("_", maxsplit=1)[0]]
    return (own, PARTS["train"]) if split.endswith("unseen") else (own,)


BENCHMARK = Benchmark(
    name=NAME,
    version=2,
    card=BenchmarkCard(
        title="SLAKE",
        measures="accuracy; closed by answer type and yes/no apart; open by exact match, recall, F1",
        dataset="SLAKE 1.0: 14,028 questions on 642 images, English and Chinese",
        citation="Liu et al., ISBI 2021, arXiv 2102.09542",
        licence="CC-BY-4.0",
        known_limits="training and test images are shared across the languages; one empty answer in training; "
        + LLAVA_MED_FAULTS,
    ),
    answering="text",
    budget="closed",
    metrics=METRICS,
    corpus_metrics=CORPUS_METRICS,
    takes=of_source(NAME),
    prompt=short_prompt,
    score=judge_short,
    majority=most_frequent_answer,
    publication=Publication(
        splits=_splits(),
        files={split: _files(split) for split in _splits()},
        read=_read,
        obtain="take train.json, validation.json, test.json and imgs.zip (unpacked to imgs/) from "
        "https://huggingface.co/datasets/BoKelvin/SLAKE",
    ),
)
