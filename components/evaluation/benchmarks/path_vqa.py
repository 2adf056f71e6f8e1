"""PathVQA: yes-or-no and open questions about pathology pictures of textbooks.

Reads the Parquet form with pictures inside. The original pickles are not read: a pickle may run code.
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
from components.evaluation.rows import Row, embedded_picture, read_parquet, text_of
from components.evaluation.short_answers import (
    CORPUS_METRICS,
    LLAVA_MED_FAULTS,
    METRICS,
    is_yes_no,
    judge_short,
    short_item,
    short_prompt,
)

NAME = "path_vqa"
PATTERN = "data/{0}-*.parquet|{0}-*.parquet"


def _read(folder: Path, split: str) -> Iterator[Question | Refused]:
    choices = ((folder.glob(pattern)) for pattern in PATTERN.format(split).split("|"))
    paths = next(found for choice in choices if (found := sorted(choice)))
    for number, row in enumerate(read_parquet(paths)):
        yield _question(row, f"{split}-{number:05d}")


def _question(row: Row, item_id: str) -> Question | Refused:
    pictures = embedded_picture(row.get("image"), benchmark=NAME)
    answer, asked = text_of(row, "answer"), text_of(row, "question")
    if pictures is None:
        return Refused(item_id, "picture_missing")
    if not answer or not asked:
        return Refused(item_id, "question_or_answer_empty")
    first = asked.split()[0].lower()
    facts = {"modality": "Pathology", "department": "Laboratory Medicine and Pathology", "question_type": first}
    closed = is_yes_no(answer)
    item = short_item(NAME, item_id, asked, gold=answer, is_closed=closed, pictures=list(pictures), facts=facts)
    return Question(item, pictures)


BENCHMARK = Benchmark(
    name=NAME,
    version=2,
    card=BenchmarkCard(
        title="PathVQA",
        measures="accuracy; yes/no accuracy; open by exact match, recall, F1",
        dataset="PathVQA: 32,632 questions on 5,004 pictures; test 6,719",
        citation="He et al., arXiv 2003.10286",
        licence="MIT (as tagged by its Hugging Face copy)",
        known_limits="questions are machine-made from captions; no patients known, so each picture stands for "
        "one; " + LLAVA_MED_FAULTS,
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
        splits={
            "test": "official test part",
            "validation": "official validation part",
            "train": "official training part",
        },
        files={split: (PATTERN.format(split),) for split in ("test", "validation", "train")},
        read=_read,
        obtain="take data/*.parquet from https://huggingface.co/datasets/flaviagiammarino/path-vqa",
    ),
)
