"""Open and closed questions with short answers (VQA-RAD, SLAKE, PathVQA): item, prompt, judgement.

Every subset has its own name, for the published numbers mix them: "closed" by the source's answer type is not
"yes or no" by the gold answer (VQA-RAD: 272 and 251 of 451). Scores called `llava_med_…` follow
microsoft/LLaVA-Med, llava/eval/run_eval.py at tag v1.0.0; they exist for English only and are printed beside ours.
`llava_med_closed_accuracy` is the number it prints, faults and all (LLAVA_MED_FAULTS, which the cards carry);
`llava_med_closed_hit_rate` counts the same hits over every closed question, `closed_accuracy` is ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from components.evaluation.answers import llava_med_hit, normalise_short, parse_yes_no, states
from components.evaluation.items import Answer, CorpusMetric, Item, Judged, Judgement
from components.evaluation.metrics_text import exact_match, llava_med_recall, token_f1, token_recall
from components.records import NOT_STATED, stable_id

OPEN, CLOSED = "OPEN", "CLOSED"
YES_NO = {"en": ("yes", "no"), "zh": ("是", "否")}
METRICS = (
    "accuracy", "closed_accuracy", "yes_no_accuracy", "open_exact_match", "open_recall", "open_token_f1",
    "llava_med_closed_hit_rate", "llava_med_open_recall",
)  # fmt: skip
LLAVA_MED_FAULTS = (
    "LLaVA-Med's own numbers keep its faults: yes and no are found inside words, an answer that says both hits "
    "both, closed answers that are neither yes nor no hit only by chance, an answer that says the other of the "
    "two leaves the denominator, and open recall counts a word as often as the answer repeats it"
)
SHORT = {"en": "Answer with a word or a short phrase.", "zh": "请用一个词或短语回答。"}
EITHER = {"en": "Answer yes or no.", "zh": "请回答是或否。"}


def short_item(
    benchmark: str, item_id: str, question: str, *, gold: str, is_closed: bool, pictures: Sequence[str],
    facts: Mapping[str, str], language: str = "en", patient: str = "",
) -> Item:  # fmt: skip
    """Make an item of one row; a yes-or-no answer gives it options. Facts as in `choice_item`."""
    stated = {name: value for name, value in facts.items() if value}
    own = {name: stated.pop(name, NOT_STATED) for name in ("modality", "department", "question_type")}
    stated["answer_type"] = CLOSED if is_closed else OPEN
    truth = parse_yes_no(gold) if is_yes_no(gold) else None
    options = YES_NO[language] if is_closed and truth else ()
    return Item(
        item_id=f"{benchmark}/{item_id}", question="<image>\n" * len(pictures) + question, reference=gold,
        gold=options[truth == "no"] if options else gold, record_ids=tuple(pictures),
        patient_key=stable_id(benchmark, patient or (pictures or [item_id])[0]), modality=own["modality"],
        department=own["department"], language=language, question_type=own["question_type"], kind="vqa",
        source=benchmark, options=options, gold_index=int(truth == "no") if options else -1,
        facts=tuple(sorted(stated.items())),
    )  # fmt: skip


def is_yes_no(gold: str) -> bool:
    """Tell whether a gold answer is a bare yes or no, in either language."""
    return normalise_short(gold) in {"yes", "no", "是", "否", "是的", "不是", "有", "没有", "存在", "不存在"}


def short_prompt(item: Item) -> str:
    """Ask for a short answer, in the item's language."""
    wanted = EITHER if item.options else SHORT
    return f"{item.question}\n{wanted[item.language]}"


def judge_short(answer: Answer, item: Item) -> Judgement:
    """Score an answer by every rule that applies to its kind of question."""
    return _judge_closed(answer, item) if item.fact("answer_type") == CLOSED else _judge_open(answer, item)


def _judge_closed(answer: Answer, item: Item) -> Judgement:
    text = _said(answer, item)
    if item.options:
        said = parse_yes_no(text)
        parsed, right = said or "", said == parse_yes_no(item.gold)
    else:
        right = states(text, item.gold, question=item.question)
        parsed = item.gold if right else normalise_short(text)
    scores = {
        "accuracy": float(right),
        "closed_accuracy": float(right),
    }
    if item.options:
        scores["yes_no_accuracy"] = float(right)
    if item.language == "en":
        scores["llava_med_closed_hit_rate"] = float(llava_med_hit(text, item.reference) is True)
    return Judgement(parsed, bool(parsed), scores)


def _said(answer: Answer, item: Item) -> str:
    return item.options[answer.choice] if answer.choice is not None and item.options else answer.text


def llava_med_closed_accuracy(judged: Sequence[Judged]) -> float:
    """Return the closed accuracy that LLaVA-Med prints: hits over the answers that its loop does not drop."""
    rows = [row for row in judged if row.item.fact("answer_type") == CLOSED and row.item.language == "en"]
    if not rows:
        return math.nan
    kept = [
        hit for row in rows if (hit := llava_med_hit(_said(row.answer, row.item), row.item.reference)) is not None
    ]
    return sum(kept) / len(kept) if kept else 0.0


CORPUS_METRICS = (CorpusMetric("llava_med_closed_accuracy", llava_med_closed_accuracy),)


def _judge_open(answer: Answer, item: Item) -> Judgement:
    text = answer.text.strip()
    match = max(exact_match(text, gold) for gold in (item.gold, *item.accepted))
    scores = {
        "accuracy": match,
        "open_exact_match": match,
        "open_recall": token_recall(text, item.gold),
        "open_token_f1": token_f1(text, item.gold),
    }
    if item.language == "en":
        scores["llava_med_open_recall"] = llava_med_recall(text, item.gold)
    return Judgement(normalise_short(text), bool(normalise_short(text)), scores)
