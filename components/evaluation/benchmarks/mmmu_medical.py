"""MMMU, Health and Medicine: college questions of five subjects, several pictures a question.

Every picture that a question or an option refers to is shown, at its first mention ("<image 2>"); later
mentions read "image 2". Answers are read by MMMU's own rule, but for its random draw: what that rule cannot
read is wrong.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from components.evaluation.answers import LETTERS, is_mmmu_open_right, normalise_short, parse_mmmu_option
from components.evaluation.items import (
    Answer,
    Benchmark,
    BenchmarkCard,
    Item,
    Judgement,
    Publication,
    Question,
    Refused,
    of_source,
)
from components.evaluation.multiple_choice import CALIBRATION, choice_item, is_right, lettered
from components.evaluation.prior import most_frequent_answer
from components.evaluation.rows import Row, embedded_picture, read_parquet, text_of

NAME = "mmmu_medical"
SUBJECTS = (
    "Basic_Medical_Science",
    "Clinical_Medicine",
    "Diagnostics_and_Laboratory_Medicine",
    "Pharmacy",
    "Public_Health",
)
SPLITS = {"validation": "validation", "train": "dev", "test": "test"}
MENTION = re.compile(r"<image (\d)>")
LETTER_ONLY = "Answer with the option's letter from the given choices directly."
SHORT = "Answer the question using a single word or phrase."


def _pattern(subject: str, split: str) -> str:
    return f"{subject}/{SPLITS[split]}-*.parquet"


def _read(folder: Path, split: str) -> Iterator[Question | Refused]:
    for subject in SUBJECTS:
        for row in read_parquet(sorted(folder.glob(_pattern(subject, split)))):
            yield _question(row, subject)


def _question(row: Row, subject: str) -> Question | Refused:
    item_id, options = text_of(row, "id"), _options(row)
    if options is None:
        return Refused(item_id, "options_unreadable")
    asked = text_of(row, "question")
    shown = list(dict.fromkeys(MENTION.findall(" ".join((asked, *options)))))
    found = [embedded_picture(row.get(f"image_{number}"), benchmark=f"{NAME}/{number}") for number in shown]
    if not asked or not shown:
        return Refused(item_id, "question_without_picture")
    if any(picture is None for picture in found):
        return Refused(item_id, "picture_missing")
    pictures = {name: content for picture in found for name, content in (picture or {}).items()}
    return Question(_item(row, subject, asked, options, list(pictures)), pictures)


def _options(row: Row) -> list[str] | None:
    """Read the options, which are a list or the text of one."""
    return _listed(row.get("options"))


def _listed(raw: object) -> list[str] | None:
    """Return a list, or the text of one, as strings; None for what is neither."""
    try:
        listed = ast.literal_eval(raw) if isinstance(raw, str) else raw
    except (ValueError, SyntaxError, TypeError):
        return None
    return [str(one) for one in listed] if isinstance(listed, list) else None


def _item(row: Row, subject: str, asked: str, options: list[str], pictures: list[str]) -> Item:
    golds = _golds(text_of(row, "answer"))
    lettered_gold = LETTERS.find(golds[0]) if options and golds and len(golds[0]) == 1 else -1
    facts = {
        "question_type": subject, "subset": text_of(row, "question_type"), "label": text_of(row, "subfield"),
        "difficulty": text_of(row, "topic_difficulty"),
    }  # fmt: skip
    item = choice_item(
        NAME, text_of(row, "id"), asked, options=options, gold_index=lettered_gold, pictures=pictures, facts=facts,
        patient=text_of(row, "id"),
    )  # fmt: skip
    if not options and golds:
        item = replace(item, gold=golds[0], reference=golds[0], accepted=tuple(golds[1:]))
    return replace(item, question=asked)


def _golds(answer: str) -> list[str]:
    """Read the gold answer, or answers (the text of a list); "?" is a hidden one, "[0, 1)" is one answer."""
    listed = _listed(answer) if answer.startswith("[") else None
    if listed is not None:
        return listed
    return [] if answer in ("", "?") else [answer]


def _prompt(item: Item) -> str:
    ending = f"{lettered(item.options)}\n{LETTER_ONLY}" if item.options else SHORT
    seen: set[str] = set()

    def shown(mention: re.Match[str]) -> str:
        first = mention[1] not in seen
        seen.add(mention[1])
        return "<image>" if first else f"image {mention[1]}"

    return MENTION.sub(shown, f"{item.question}\n{ending}")


def _score(answer: Answer, item: Item) -> Judgement:
    if not item.gold:
        return Judgement("", False, {})
    if not item.options:
        right = is_mmmu_open_right(answer.text, (item.gold, *item.accepted))
        said = normalise_short(answer.text)
        return Judgement(said, bool(said), {"accuracy": float(right and bool(said))})
    choice = answer.choice if answer.choice is not None else parse_mmmu_option(answer.text, item.options)
    parsed = LETTERS[choice] if choice is not None else ""
    return Judgement(parsed, choice is not None, {"accuracy": float(is_right(choice, item))})


BENCHMARK = Benchmark(
    name=NAME,
    version=2,
    card=BenchmarkCard(
        title="MMMU, Health and Medicine",
        measures="accuracy over items, by MMMU's own reading of answers without its random draw",
        dataset="MMMU: 150 validation questions (30 a subject) of five medical subjects",
        citation="Yue et al., CVPR 2024, arXiv 2311.16502",
        licence="Apache-2.0",
        known_limits="150 questions: one standard error is 4 points; the test part's answers are hidden; each "
        "question stands for one patient",
    ),
    answering="text",
    also_answering=("choice",),
    budget="closed",
    metrics=("accuracy",),
    corpus_metrics=(CALIBRATION,),
    takes=of_source(NAME),
    prompt=_prompt,
    score=_score,
    majority=most_frequent_answer,
    publication=Publication(
        splits={
            "validation": "official validation part, 150 questions",
            "train": "official development part, 25 questions",
            "test": "official test part, answers hidden: no score",
        },
        files={split: tuple(_pattern(subject, split) for subject in SUBJECTS) for split in SPLITS},
        read=_read,
        obtain=f"take the folders {', '.join(SUBJECTS)} from https://huggingface.co/datasets/MMMU/MMMU",
    ),
)
