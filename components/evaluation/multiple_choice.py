"""Questions with lettered options, as most public sets ask them: the item, the prompt, the judgement.

The prompt is VLMEvalKit's for multiple choice (open-compass/VLMEvalKit, vlmeval/dataset/image_mcq.py,
ImageMCQDataset.build_prompt). An answer is read by `answers.parse_option`; what cannot be read is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from components.evaluation.answers import LETTERS, parse_option
from components.evaluation.items import Answer, CorpusMetric, Item, Judged, Judgement
from components.evaluation.metrics_choice import expected_calibration_error
from components.records import NOT_STATED, stable_id

INSTRUCTION = "Please select the correct answer from the options above."
IMAGE = "<image>\n"
DIGITS = 6  # of a confidence, as predictions keep it


def choice_item(
    benchmark: str, item_id: str, question: str, *, options: Sequence[str], gold_index: int,
    pictures: Sequence[str], facts: Mapping[str, str], patient: str = "",
) -> Item:  # fmt: skip
    """Make an item of one row; `gold_index` is -1 when the answer is hidden.

    `facts` may name modality, department and question_type, which become the item's own fields. Without a
    patient, the first picture stands for him.
    """
    stated = {name: value for name, value in facts.items() if value}
    gold = options[gold_index] if gold_index >= 0 else ""
    own = {name: stated.pop(name, NOT_STATED) for name in ("modality", "department", "question_type")}
    return Item(
        item_id=f"{benchmark}/{item_id}", question=IMAGE * len(pictures) + question, gold=gold, reference=gold,
        record_ids=tuple(pictures), patient_key=stable_id(benchmark, patient or (pictures or [item_id])[0]),
        modality=own["modality"], department=own["department"], language=stated.pop("language", "en"),
        question_type=own["question_type"], kind="vqa", source=benchmark, options=tuple(options),
        gold_index=gold_index, facts=tuple(sorted(stated.items())),
    )  # fmt: skip


def lettered(options: Sequence[str]) -> str:
    """Write options as "A. …" lines."""
    return "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))


def choice_prompt(item: Item) -> str:
    """Ask with lettered options."""
    images, _, question = item.question.rpartition(IMAGE)
    head = images + IMAGE if item.record_ids else ""
    return f"{head}Question: {question}\nOptions:\n{lettered(item.options)}\n{INSTRUCTION}"


def is_right(choice: int | None, item: Item) -> bool:
    """Tell whether an option is the gold one; options that read alike are alike."""
    if choice is None:
        return False
    gold = item.options[item.gold_index] if item.gold_index >= 0 else item.gold
    return choice == item.gold_index or item.options[choice] == gold


def chosen(answer: Answer, item: Item) -> int | None:
    """Return the option that an answer names, or that the likelihood chose."""
    return answer.choice if answer.choice is not None else parse_option(answer.text, item.options)


def judge_choice(answer: Answer, item: Item) -> Judgement:
    """Score accuracy; a hidden gold answer gives no score."""
    choice = chosen(answer, item)
    parsed = item.options[choice] if choice is not None else ""
    return Judgement(parsed, choice is not None, {"accuracy": float(is_right(choice, item))} if item.gold else {})


def calibration_error(judged: Sequence[Judged]) -> float:
    """Return the expected calibration error of answers that were chosen by likelihood; nan where none was."""
    known = [row for row in judged if row.answer.confidence >= 0 and "accuracy" in row.judgement.scores]
    return expected_calibration_error(
        [round(row.answer.confidence, DIGITS) for row in known],
        [row.judgement.scores["accuracy"] for row in known],
    )


CALIBRATION = CorpusMetric("expected_calibration_error", calibration_error, greater_is_better=False)


def macro_accuracy(judged: Sequence[Judged], fact: str) -> float:
    """Return the mean over a fact's values of the accuracy within each, so that a small task counts as a large."""
    groups: dict[str, list[float]] = {}
    for row in judged:
        if "accuracy" in row.judgement.scores:
            name = row.item.question_type if fact == "question_type" else row.item.fact(fact)
            groups.setdefault(name, []).append(row.judgement.scores["accuracy"])
    means = [sum(scores) / len(scores) for scores in groups.values()]
    return sum(means) / len(means) if means else float("nan")
