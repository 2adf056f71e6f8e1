"""OmniMedVQA: two to four options about pictures of 73 classification sets in 12 modalities.

The gold answer is an option's text, one JSON file a set. The published question-answering score (nearest option
by difflib) is printed beside ours under its own name; the prefix score is answering by "choice".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from components.evaluation.answers import nearest_option
from components.evaluation.items import (
    Answer,
    Benchmark,
    BenchmarkCard,
    CorpusMetric,
    Item,
    Judged,
    Judgement,
    Publication,
    Question,
    Refused,
    of_source,
)
from components.evaluation.multiple_choice import (
    CALIBRATION,
    choice_item,
    choice_prompt,
    is_right,
    judge_choice,
    macro_accuracy,
)
from components.evaluation.prior import most_frequent_answer
from components.evaluation.rows import Row, find_pictures, read_json_rows, text_of

NAME = "omnimedvqa"
FOLDERS = {"open_access": ("Open-access",), "restricted": ("Restricted-access",)}
FOLDERS["all"] = (*FOLDERS["open_access"], *FOLDERS["restricted"])
MODALITIES = {
    "CT(Computed Tomography)": "CT", "MR (Mag-netic Resonance Imaging)": "MR", "X-Ray": "X-ray",
    "ultrasound": "Ultrasound", "Fundus Photography": "Fundus", "Dermoscopy": "Dermoscopy",
    "Microscopy Images": "Microscopy", "OCT (Optical Coherence Tomography": "OCT", "Endoscopy": "Endoscopy",
    "Infrared Reflectance Imaging": "Infrared reflectance", "Histopathology": "Pathology",
}  # fmt: skip


def _patterns(split: str) -> tuple[str, ...]:
    return tuple(f"QA_information/{name}/*.json" for name in FOLDERS[split])


def _read(folder: Path, split: str) -> Iterator[Question | Refused]:
    for pattern in _patterns(split):
        access = pattern.split("/")[1]
        for path in sorted(folder.glob(pattern)):
            for row in read_json_rows(path):
                yield _question(folder, row, access)


def _question(folder: Path, row: Row, access: str) -> Question | Refused:
    item_id, gold = text_of(row, "question_id"), text_of(row, "gt_answer")
    pictures = find_pictures(folder, [text_of(row, "image_path")], (".",), benchmark=NAME)
    if pictures is None:
        return Refused(item_id, "picture_missing")
    options = [text for letter in "ABCD" if (text := text_of(row, f"option_{letter}"))]
    if len(options) < 2 or not text_of(row, "question"):
        return Refused(item_id, "question_or_option_empty")
    if gold not in options:
        return Refused(item_id, "answer_not_among_options")
    stated = text_of(row, "modality_type")
    facts = {
        "question_type": text_of(row, "question_type"), "modality": MODALITIES.get(stated, ""),
        "subset": access, "dataset": text_of(row, "dataset"), "modality_type": stated,
    }  # fmt: skip
    item = choice_item(
        NAME, item_id, text_of(row, "question"), options=options, gold_index=options.index(gold),
        pictures=list(pictures), facts=facts,
    )  # fmt: skip
    return Question(item, pictures)


def _score(answer: Answer, item: Item) -> Judgement:
    judged = judge_choice(answer, item)
    nearest = answer.choice if answer.choice is not None else nearest_option(answer.text, item.options)
    scores = {**judged.scores, "omnimedvqa_difflib_accuracy": float(is_right(nearest, item))}
    return Judgement(judged.parsed, judged.is_parsed, scores)


def _by_type(judged: Sequence[Judged]) -> float:
    return macro_accuracy(judged, "question_type")


BENCHMARK = Benchmark(
    name=NAME,
    version=1,
    card=BenchmarkCard(
        title="OmniMedVQA",
        measures="accuracy by the letter or text in the answer; the published difflib accuracy under its own name",
        dataset="OmniMedVQA: 127,995 questions, 118,010 pictures, 73 sets; open access 88,996",
        citation="Hu et al., CVPR 2024, arXiv 2402.09181",
        licence="that of each of the 73 sets",
        known_limits="made from classification labels; published numbers are mostly of the open-access part only; "
        "the published scorer gives every answer its nearest option; no patients known",
    ),
    answering="text",
    also_answering=("choice",),
    budget="closed",
    metrics=("accuracy", "omnimedvqa_difflib_accuracy"),
    corpus_metrics=(CorpusMetric("accuracy_mean_over_question_types", _by_type), CALIBRATION),
    takes=of_source(NAME),
    prompt=choice_prompt,
    score=_score,
    majority=most_frequent_answer,
    publication=Publication(
        splits={
            "open_access": "the part whose pictures come with it (what published numbers mostly are)",
            "restricted": "the part whose pictures must be asked for at each source",
            "all": "both",
        },
        files={split: _patterns(split) for split in FOLDERS},
        read=_read,
        obtain="take OmniMedVQA.zip (QA_information/, Images/) from https://huggingface.co/datasets/foreverbeliever/"
        "OmniMedVQA and unpack it",
    ),
)
