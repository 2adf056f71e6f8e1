"""VQA-RAD: open and closed questions of clinicians about radiographs, CT and MR.

Reads three published forms: data_RAD (trainset.json, testset.json, images), the original release (one file, in
which `phrase_type` says "test_freeform" or "test_para" of a test question), and the Parquet copy, which keeps
image, question and answer alone (closed is then what is answered by yes or no). The balanced split of Google
Health, which shares no image between its parts, is a split of its own: all 203 images of the official test part
are also in the official training part.
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
from components.evaluation.rows import (
    Row,
    embedded_picture,
    find_pictures,
    read_delimited,
    read_json_rows,
    read_parquet,
    text_of,
)
from components.evaluation.short_answers import (
    CORPUS_METRICS,
    LLAVA_MED_FAULTS,
    METRICS,
    is_yes_no,
    judge_short,
    short_item,
    short_prompt,
)

NAME = "vqa_rad"
ORIGINAL = "VQA_RAD Dataset Public.json"
PARTS = {"test": "testset.json", "train": "trainset.json"}
PARQUET = "data/{0}-*.parquet"
WHOLE = tuple(f"{name}|{ORIGINAL}" for name in PARTS.values())
BALANCED = "vqa_rad_balanced_split_and_human_eval_inclusions.tsv"
ROOTS = ("images", "image", "VQA_RAD Image Folder", ".")
MODALITIES = {"CHEST": "X-ray"}  # the set's head and abdomen images are CT or MR, which it does not say


def _read(folder: Path, split: str) -> Iterator[Question | Refused]:
    if split in PARTS:
        yield from _questions(folder, split)
        return
    wanted = _balanced(folder, split.removesuffix("_balanced"))
    for part in PARTS:
        for row in _rows(folder, part):
            inside = _id(row) in wanted
            yield _question(folder, row) if inside else Refused(_id(row), "outside_balanced_split")


def _questions(folder: Path, part: str) -> Iterator[Question | Refused]:
    if (folder / PARTS[part]).is_file() or (folder / ORIGINAL).is_file():
        yield from (_question(folder, row) for row in _rows(folder, part))
        return
    rows = read_parquet(sorted(folder.glob(PARQUET.format(part))))
    yield from (_bare_question(row, f"{part}-{number:05d}") for number, row in enumerate(rows))


def _rows(folder: Path, part: str) -> list[Row]:
    """Return a part's rows: those of its own file, or those that the original release marks as its."""
    if (folder / PARTS[part]).is_file():
        return read_json_rows(folder / PARTS[part])
    rows = read_json_rows(folder / ORIGINAL)
    return [row for row in rows if text_of(row, "phrase_type").startswith("test_") == (part == "test")]


def _id(row: Row) -> str:
    return text_of(row, "qid", "qid_unique")


def _balanced(folder: Path, part: str) -> set[str]:
    names = {"test": {"test"}, "validation": {"validate", "validation", "val"}}[part]
    rows = read_delimited(folder / BALANCED, delimiter="\t")
    return {text_of(row, "qid_unique") for row in rows if text_of(row, "split_balanced") in names}


def _question(folder: Path, row: Row) -> Question | Refused:
    qid, answer, asked = _id(row), text_of(row, "answer"), text_of(row, "question")
    pictures = find_pictures(folder, [text_of(row, "image_name")], ROOTS, benchmark=NAME)
    if pictures is None:
        return Refused(qid, "picture_missing")
    if not answer or not asked:
        return Refused(qid, "question_or_answer_empty")
    organ = text_of(row, "image_organ")
    phrase = text_of(row, "phrase_type").removeprefix("test_")
    facts = {
        "organ": organ, "modality": MODALITIES.get(organ, ""), "phrase_type": phrase,
        "question_type": text_of(row, "question_type").split(",")[0].strip().upper(),
    }  # fmt: skip
    item = short_item(
        NAME, qid, asked, gold=answer, is_closed=text_of(row, "answer_type").upper() == "CLOSED",
        pictures=list(pictures), facts=facts,
    )  # fmt: skip
    return Question(item, pictures)


def _bare_question(row: Row, item_id: str) -> Question | Refused:
    pictures = embedded_picture(row.get("image"), benchmark=NAME)
    answer, asked = text_of(row, "answer"), text_of(row, "question")
    if pictures is None:
        return Refused(item_id, "picture_missing")
    if not answer or not asked:
        return Refused(item_id, "question_or_answer_empty")
    item = short_item(
        NAME, item_id, asked, gold=answer, is_closed=is_yes_no(answer), pictures=list(pictures), facts={}
    )
    return Question(item, pictures)


BENCHMARK = Benchmark(
    name=NAME,
    version=2,
    card=BenchmarkCard(
        title="VQA-RAD",
        measures="accuracy; closed by the set's answer type and yes/no apart; open by exact match, recall, F1",
        dataset="VQA-RAD: 3,515 questions about 315 radiology images; official test 451",
        citation="Lau et al., Scientific Data 2018; balanced split: Yang et al., arXiv 2405.03162",
        licence="CC0-1.0",
        known_limits="every official test image is also in training; question types hold typing errors; "
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
        splits={
            "test": "official test part, 451 questions, images shared with training",
            "test_balanced": "decontaminated: Google Health's balanced test part, images not in its training part",
            "validation_balanced": "the same split's validation part",
            "train": "official training part",
        },
        files={
            **{part: (f"{name}|{ORIGINAL}|{PARQUET.format(part)}",) for part, name in PARTS.items()},
            "test_balanced": (*WHOLE, BALANCED),
            "validation_balanced": (*WHOLE, BALANCED),
        },
        read=_read,
        obtain="take 'VQA_RAD Dataset Public.json' and 'VQA_RAD Image Folder' from https://osf.io/89kps, or "
        "data_RAD (testset.json, trainset.json, images/), or data/*.parquet from https://huggingface.co/datasets/"
        "flaviagiammarino/vqa-rad; the balanced split from github.com/Google-Health/google-health, data_splits/",
    ),
)
