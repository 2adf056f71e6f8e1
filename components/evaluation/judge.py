"""A language model as judge of open answers: optional, pinned, kept on disk, audited against the rules.

The judge sees question, reference answer and answer, never an image, and replies {"correct": true} or
{"correct": false}; what is no such reply is wrong and counted, never guessed. Its number is printed beside the
rules' under its own name, `judge_accuracy`, and never replaces it. Model, revision and prompt are part of the
protocol, so a score by another judge is not compared. A judge on another machine is asked only what the terms
allow to leave this one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from components.data.catalog import survey_cards
from components.data.terms import may_reach_third_party
from components.errors import BenchmarkError, DataError, TermsDenied
from components.evaluation.exams import IMAGE_MARK, MODEL, Exam
from components.evaluation.items import Answer, Benchmark, Item, Judged, Judgement
from components.evaluation.protocol import NO_JUDGE
from components.pairs.endpoint import TextModel
from components.pairs.language_model import open_language_model
from components.pairs.prompts import Prompt
from components.pairs.replies import ReplyRefused, find_json
from components.records import stable_id
from components.settings import Judge
from components.tracking.digest import digest_json

VERSION = 1  # rises with every change of how a reply is asked for or read
METRIC, RULES = "judge_accuracy", "accuracy"
RIGHT = 0.5
SYSTEM = (
    "You compare answers to medical questions with a reference answer. You judge only whether the answer means "
    "the same as the reference, whatever its wording or length. You never use knowledge of your own to correct "
    'the reference. You reply with one JSON object, {"correct": true} or {"correct": false}, and no other words.'
)
FORM = (
    "Question:\n{question}\n\nReference answer: {gold}\n\nAnswer: {answer}\n\nDoes the answer mean the reference?"
)
Claim = tuple[str, str, str, str]  # question, gold, answer, language


class _Verdict(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)
    correct: bool


@dataclass
class AnswerJudge:
    """A pinned text model that says whether an answer means the reference; each claim is asked once."""

    model: TextModel
    options: Judge
    _known: dict[Claim, bool | None] = field(default_factory=dict)

    @property
    def identity(self) -> dict[str, Any]:
        """What decides a verdict: it is hashed into the protocol."""
        return {
            "model": self.model.name, "revision": self.options.revision, "version": VERSION,
            "prompt": digest_json([SYSTEM, FORM]), "attempts": self.options.attempts,
            "max_tokens": self.options.max_tokens, "temperature": 0,
        }  # fmt: skip

    def verdict(self, claim: Claim) -> bool | None:
        """Return whether the answer means the reference; None when no reply could be read.

        Raises:
            BenchmarkError: the judge does not answer.
        """
        if claim not in self._known:
            self._known[claim] = self._ask(claim) if claim[2].strip() else False
        return self._known[claim]

    def prepare(self, exam: Exam) -> None:
        """Ask about every answer of an exam, several at once."""
        claims = dict.fromkeys(
            claim_of(exam.benchmark, item, answer)
            for answers in exam.answers.values()
            for item, answer in zip(exam.items, answers, strict=True)
            if item.gold
        )
        with ThreadPoolExecutor(self.options.workers) as pool:
            list(pool.map(self.verdict, claims))

    @staticmethod
    def judges(exam: Exam) -> bool:
        """Tell whether an exam has the judge's number."""
        return METRIC in exam.benchmark.metrics

    def identity_of(self, exam: Exam) -> str:
        """Return the protocol's part "judge" for an exam."""
        return json.dumps(self.identity, sort_keys=True) if self.judges(exam) else NO_JUDGE

    def details(
        self, exams: Sequence[Exam], judged: Mapping[str, Mapping[str, Sequence[Judged]]]
    ) -> dict[str, Any]:
        """Return what the metrics file says of the judge: who it is, and its audit by benchmark."""
        found = {
            exam.benchmark.name: audit(exam, judged[exam.benchmark.name][MODEL], self)
            for exam in exams
            if self.judges(exam)
        }
        return {"judge": {**self.identity, "audit": found}} if found else {}

    def _ask(self, claim: Claim) -> bool | None:
        question, gold, answer, language = claim
        prompt = Prompt(
            "judge", FORM.format(question=question, gold=gold, answer=answer), language, system=SYSTEM,
            max_tokens=self.options.max_tokens,
        )  # fmt: skip
        for attempt in range(self.options.attempts):
            try:
                return _Verdict.model_validate(find_json(self.model.complete(prompt, seed=attempt).text)).correct
            except ReplyRefused as error:
                if error.is_final:
                    return None
            except ValidationError:
                continue
            except DataError as error:
                fix = "start the judge or mend evaluation.judge; verdicts so far are kept"
                raise BenchmarkError(
                    f"the judge does not answer: {error.what}", where=error.where, fix=fix
                ) from error
        return None


def open_judge(options: Judge) -> AnswerJudge:
    """Open the judge that the settings name; its verdicts are kept by revision."""
    kept = f"{options.cache}/{stable_id('revision', options.revision)[:12]}"
    return AnswerJudge(open_language_model(options.model_copy(update={"cache": kept})), options)


def is_judged(benchmark: Benchmark) -> bool:
    """Tell whether a benchmark is one of short answers in words: those are right or wrong."""
    return benchmark.answering == "text" and benchmark.metrics[0] == RULES


def check_terms(judge: AnswerJudge, exams: Sequence[Exam]) -> None:
    """Raise TermsDenied, naming the sources, before a word leaves this machine that must not."""
    if not judge.model.is_third_party:
        return
    # A card that is not finished states no terms, so what it names may not be sent.
    cards = (found.card for found in survey_cards())
    allowed = {card.name for card in cards if card and may_reach_third_party(card)} | {*judge.options.may_send}
    asked = {item.source for exam in exams if is_judged(exam.benchmark) for item in exam.items}
    if denied := sorted(asked - allowed):
        raise TermsDenied(
            f"may not be sent to a judge on another machine: {', '.join(denied)}", where="evaluation.judge",
            fix="name a local judge, state the terms in the card, or list it in evaluation.judge.may_send",
        )  # fmt: skip


def claim_of(benchmark: Benchmark, item: Item, answer: Answer) -> Claim:
    """Return what the judge is told of an answer: the prompt as the model had it, without the image."""
    return IMAGE_MARK.sub("", benchmark.prompt(item)).strip(), item.gold, answer.text.strip(), item.language


def with_judge(exam: Exam, judge: AnswerJudge) -> Exam:
    """Return the exam with the judge's number among its metrics; as it was when it is not judged."""
    benchmark = exam.benchmark
    if not is_judged(benchmark):
        return exam

    def score(answer: Answer, item: Item) -> Judgement:
        judgement = benchmark.score(answer, item)
        if not item.gold:
            return judgement
        said = judge.verdict(claim_of(benchmark, item, answer))
        return replace(judgement, scores={**judgement.scores, METRIC: float(said is True)})

    return replace(exam, benchmark=replace(benchmark, metrics=(*benchmark.metrics, METRIC), score=score))


def audit(exam: Exam, rows: Sequence[Judged], judge: AnswerJudge) -> dict[str, Any]:
    """Hold the judge against the rules on the model's answers: on all items, and on those that offer options.

    Where options are offered the rules decide as well as a reader does: what differs there is the judge's error.
    """
    scored = [row for row in rows if METRIC in row.judgement.scores]
    closed = [row for row in scored if row.item.options]
    unread = sum(judge.verdict(claim_of(exam.benchmark, row.item, row.answer)) is None for row in scored)
    return {"all": _agreement(scored), "with_options": _agreement(closed), "unread": unread}


def _agreement(rows: Sequence[Judged]) -> dict[str, float | int | None]:
    pairs = [(row.judgement.scores[RULES] >= RIGHT, row.judgement.scores[METRIC] >= RIGHT) for row in rows]
    both, neither = pairs.count((True, True)), pairs.count((False, False))
    rules_only, judge_only = pairs.count((True, False)), pairs.count((False, True))
    number = len(pairs)
    return {
        "n": number, "both_right": both, "both_wrong": neither, "rules_only": rules_only, "judge_only": judge_only,
        "agreement": round((both + neither) / number, 6) if number else None,
        "kappa": _kappa(both, neither, rules_only, judge_only),
    }  # fmt: skip


def _kappa(both: int, neither: int, rules_only: int, judge_only: int) -> float | None:
    """Return Cohen's kappa; None when chance alone would agree always (or there is nothing)."""
    number = both + neither + rules_only + judge_only
    rules, judge = both + rules_only, both + judge_only
    if not number or rules * judge + (number - rules) * (number - judge) == number**2:
        return None
    chance = (rules * judge + (number - rules) * (number - judge)) / number**2
    return round(((both + neither) / number - chance) / (1 - chance), 6)
