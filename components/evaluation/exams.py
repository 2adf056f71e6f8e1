"""An exam: one benchmark's sampled items and what each system answered; judged into prediction rows.

Systems are "model", "blind" (the same model shown another patient's image), "text_only" (shown none), "majority"
(learned from the training split), and for closed questions "random". Items of one patient have no blind system:
there is no other patient's image to show.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from components.evaluation.baselines import random_option
from components.evaluation.engine import Ask
from components.evaluation.items import Answer, Benchmark, Item, Judged, item_from_pair
from components.evaluation.sampling import blind_images, sample_items, why_no_blind
from components.records import NOT_STATED, Prediction, pair_from_row
from components.tracking.tables import iterate_rows

MODEL, BLIND, TEXT_ONLY, MAJORITY, RANDOM = "model", "blind", "text_only", "majority", "random"
STATED_FACTS = ("task", "organ", "sex", "age_band")  # breakdowns that a prediction keeps beside its own
IMAGE_MARK = re.compile(r"<image>\n?")


@dataclass
class Exam:
    """Items of one benchmark, the foreign images for the blind system, and answers by system.

    `no_blind` says why there is no blind system, "" when there is one; `seen` are the items that show a
    picture of training; `data` is the hash of what the items were read from.
    """

    benchmark: Benchmark
    items: list[Item]
    train: list[Item]
    blind: Mapping[str, tuple[str, ...]]
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    no_blind: str = ""
    seen: frozenset[str] = frozenset()
    data: str = ""

    def asks(self, system: str) -> list[Ask]:
        """Return the questions as put to the model; only the images differ between its systems."""
        return [self._ask(item, system) for item in self.items]

    def _ask(self, item: Item, system: str) -> Ask:
        prompt, answering = self.benchmark.prompt(item), self.benchmark.answering
        options = {"choice": item.options, "likelihood": (item.reference,)}.get(answering, ())
        if system == TEXT_ONLY:
            return Ask((), IMAGE_MARK.sub("", prompt), options)
        return Ask(item.record_ids if system == MODEL else self.blind[item.item_id], prompt, options)


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
    if exam.benchmark.answering == "choice":
        chance = random_option(seed)
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


def predictions_of(
    benchmark: Benchmark, judged: Mapping[str, Sequence[Judged]], *, seen: frozenset[str] = frozenset()
) -> Iterator[Prediction]:
    """Yield one prediction for each system, item and metric that applies to the item; `seen` as in `Exam`."""
    for system, rows in judged.items():
        for row in rows:
            yield from _predictions(benchmark, system, row, is_seen=row.item.item_id in seen)


def _predictions(benchmark: Benchmark, system: str, row: Judged, *, is_seen: bool) -> Iterator[Prediction]:
    item, answer, judgement = row.item, row.answer, row.judgement
    for metric in benchmark.metrics:
        if metric in judgement.scores:
            yield Prediction(
                item_id=item.item_id, benchmark=benchmark.name, system=system, patient_key=cluster_of(item),
                modality=item.modality, question_type=item.question_type, prompt=benchmark.prompt(item),
                raw_answer=answer.text, parsed_answer=judgement.parsed, gold=item.gold,
                score=float(judgement.scores[metric]), metric=metric, is_parsed=judgement.is_parsed,
                record_id=next(iter(item.record_ids), ""), language=item.language, department=item.department,
                confidence=round(answer.confidence, 6), is_seen=is_seen,
                **{name: item.fact(name) for name in STATED_FACTS},
            )  # fmt: skip


def cluster_of(item: Item) -> str:
    """Return what an item shares with others that are not independent of it: patient, else study, else image."""
    for name in (item.patient_key, item.fact("study")):
        if name not in ("", NOT_STATED):
            return name
    return next(iter(item.record_ids), item.item_id)
