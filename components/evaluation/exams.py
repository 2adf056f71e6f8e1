"""An exam: one benchmark's sampled items and what each system answered; judged into prediction rows.

Systems are "model", "blind" (the same model shown another patient's image), "text_only" (shown none), "majority"
(learned from the training split) and "random" (an option, or where none are offered a training answer, drawn by
the seed). Items of one patient have no blind system: there is no other patient's image to show.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from components.evaluation.baselines import random_answer
from components.evaluation.engine import Ask
from components.evaluation.items import Answer, Benchmark, Item, Judged, item_from_pair
from components.evaluation.sampling import blind_images, sample_items, why_no_blind
from components.records import NOT_STATED, Box, Prediction, pair_from_row
from components.tracking.tables import iterate_rows

MODEL, BLIND, TEXT_ONLY, MAJORITY, RANDOM = "model", "blind", "text_only", "majority", "random"
IMAGE_MARK = re.compile(r"<image>\n?")
PICTURELESS = (TEXT_ONLY, MAJORITY, RANDOM)
FACTS = ("task", "organ", "sex", "age_band")  # breakdowns that a prediction keeps beside its own
NO_TRAINING_PART = "first option (no training part)"


@dataclass
class Exam:
    """Items of one benchmark, the foreign images for the blind system, and answers by system.

    `no_blind` says why there is no blind system, "" when there is one; `seen` are the items that show a
    picture of training, None when that could not be looked up; `data` is the hash of what the items were read
    from; `boxes` is where the record of a closed item shows what is asked about, by item id.
    """

    benchmark: Benchmark
    items: list[Item]
    train: list[Item]
    blind: Mapping[str, tuple[str, ...]]
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    no_blind: str = ""
    seen: frozenset[str] | None = None
    data: str = ""
    boxes: Mapping[str, tuple[Box, ...]] = field(default_factory=dict)

    def asks(self, system: str) -> list[Ask]:
        """Return the questions as put to the model; only the images differ between its systems."""
        return [self.ask(item, system) for item in self.items]

    def ask(self, item: Item, system: str) -> Ask:
        """Return one question as a system has it: prompt, options, and the pictures that it is shown."""
        prompt = self.benchmark.prompt(item)
        if system == TEXT_ONLY:
            return Ask((), IMAGE_MARK.sub("", prompt), self._options(item))
        if system in PICTURELESS:
            return Ask((), prompt, self._options(item))
        return Ask(self.blind[item.item_id] if system == BLIND else item.record_ids, prompt, self._options(item))

    def _options(self, item: Item) -> tuple[str, ...]:
        answering = self.benchmark.answering
        if answering == "likelihood":
            return (item.reference,)
        return item.options if answering in ("choice", "mixed") else ()

    @property
    def majority_is(self) -> str:
        """Say what the majority baseline is where nothing can be learned; "" where it is learned."""
        return "" if self.train else NO_TRAINING_PART


def read_items(curated: Path, split: str) -> list[Item]:
    """Read a split's pairs as items, in the order of the shards."""
    rows = (row for row in iterate_rows(curated) if row["split"] == split)
    return [item for row in rows if (item := item_from_pair(pair_from_row(row))) is not None]


def make_exams(
    benchmarks: Iterable[Benchmark],
    items: Sequence[Item],
    train: Sequence[Item],
    *,
    caps: Mapping[str, int],
    seed: int,
) -> list[Exam]:
    """Choose each benchmark's items up to its cap; a benchmark that takes none is left out."""
    exams = [make_exam(one, items, train, number=caps[one.budget], seed=seed) for one in benchmarks]
    return [exam for exam in exams if exam.items]


def make_exam(
    benchmark: Benchmark, items: Sequence[Item], train: Sequence[Item], *, number: int, seed: int
) -> Exam:
    """Choose at most `number` of the items that the benchmark takes."""
    chosen = sample_items([item for item in items if benchmark.takes(item)], number=number, seed=seed)
    learned = [item for item in train if benchmark.takes(item)]
    return Exam(benchmark, chosen, learned, blind_images(chosen, seed=seed), no_blind=why_no_blind(chosen))


def answer_baselines(exam: Exam, *, seed: int) -> None:
    """Fill in the answers of the systems that need no model."""
    majority = exam.benchmark.majority(exam.train)
    exam.answers[MAJORITY] = [majority(item) for item in exam.items]
    if exam.benchmark.answering != "likelihood" and (exam.train or any(item.options for item in exam.items)):
        chance = random_answer(seed, exam.train)
        exam.answers[RANDOM] = [chance(item) for item in exam.items]


def judge_all(exam: Exam) -> dict[str, list[Judged]]:
    """Judge every system's answers: {system: one row an item}."""
    return {
        system: [
            Judged(item, answer, exam.benchmark.score(answer, item))
            for item, answer in zip(exam.items, answers, strict=True)
        ]
        for system, answers in exam.answers.items()
    }


def predictions_of(exam: Exam, judged: Mapping[str, Sequence[Judged]]) -> Iterator[Prediction]:
    """Yield one prediction for each system, item and metric that applies to the item, with what was asked."""
    for system, rows in judged.items():
        for row in rows:
            yield from _predictions(exam, row, exam.ask(row.item, system), system=system)


def _predictions(exam: Exam, row: Judged, asked: Ask, *, system: str) -> Iterator[Prediction]:
    benchmark = exam.benchmark
    item, answer, judgement = row.item, row.answer, row.judgement
    for metric in benchmark.metrics:
        if metric in judgement.scores:
            yield Prediction(
                item_id=item.item_id, benchmark=benchmark.name, system=system, patient_key=cluster_of(item),
                modality=item.modality, question_type=item.question_type, prompt=asked.prompt,
                raw_answer=answer.text, parsed_answer=judgement.parsed, gold=item.gold,
                score=float(judgement.scores[metric]), metric=metric, is_parsed=judgement.is_parsed,
                record_ids=asked.images, language=item.language, department=item.department,
                confidence=round(answer.confidence, 6),
                is_seen=None if exam.seen is None else item.item_id in exam.seen,
                **{name: item.fact(name) for name in FACTS},
            )  # fmt: skip


def cluster_of(item: Item) -> str:
    """Return what an item shares with others that are not independent of it: patient, else study, else image."""
    for name in (item.patient_key, item.fact("study")):
        if name not in ("", NOT_STATED):
            return name
    return next(iter(item.record_ids), item.item_id)
