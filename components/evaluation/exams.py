"""An exam: one benchmark's sampled items and what each system answered; judged into prediction rows.

Systems are "model", "blind" (the same model shown another patient's images), "majority" (learned from the
training split), and for closed questions "random". Items of one patient have no blind system: there is no other
patient's image to show.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from components.evaluation.answers import VERSION as PARSER_VERSION
from components.evaluation.baselines import random_option
from components.evaluation.engine import Ask
from components.evaluation.items import Answer, Benchmark, Item, item_from_pair
from components.evaluation.sampling import blind_images, sample_items, why_no_blind
from components.records import Prediction, pair_from_row
from components.tracking.digest import digest_file, digest_json
from components.tracking.tables import iterate_rows

MODEL, BLIND, MAJORITY, RANDOM = "model", "blind", "majority", "random"
SCORING_FILES = ("answers.py", "metrics.py", "branches.py", "engine.py")
PREPROCESSING_FILES = (
    "processor_config.json",
    "preprocessor_config.json",
    "chat_template.jinja",
    "tokenizer.json",
)


@dataclass
class Exam:
    """Items of one benchmark, the foreign images for the blind system, and answers by system.

    `no_blind` says why there is no blind system; "" when there is one.
    """

    benchmark: Benchmark
    items: list[Item]
    train: list[Item]
    blind: Mapping[str, tuple[str, ...]]
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    no_blind: str = ""

    def asks(self, system: str) -> list[Ask]:
        """Return the questions as put to the model; only the images differ for the blind system."""
        chosen = {item.item_id: item.record_ids for item in self.items} if system == MODEL else self.blind
        prompt, is_choice = self.benchmark.prompt, self.benchmark.answering == "choice"
        return [Ask(chosen[item.item_id], prompt(item), item.options if is_choice else ()) for item in self.items]


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
    exams = []
    for benchmark in benchmarks:
        taken = [item for item in items if benchmark.takes(item)]
        chosen = sample_items(taken, number=caps[benchmark.budget], seed=seed)
        if chosen:
            learned = [item for item in train if benchmark.takes(item)]
            blind, reason = blind_images(chosen, seed=seed), why_no_blind(chosen)
            exams.append(Exam(benchmark, chosen, learned, blind, no_blind=reason))
    return exams


def answer_baselines(exam: Exam, *, seed: int) -> None:
    """Fill in the answers of the systems that need no model."""
    majority = exam.benchmark.majority(exam.train)
    exam.answers[MAJORITY] = [majority(item) for item in exam.items]
    if exam.benchmark.answering == "choice":
        chance = random_option(seed)
        exam.answers[RANDOM] = [chance(item) for item in exam.items]


def judge(exam: Exam) -> Iterator[Prediction]:
    """Yield one prediction for each system, item and metric."""
    for system, answers in exam.answers.items():
        for item, answer in zip(exam.items, answers, strict=True):
            yield from _predictions(exam.benchmark, system, item, answer)


def _predictions(benchmark: Benchmark, system: str, item: Item, answer: Answer) -> Iterator[Prediction]:
    judgement = benchmark.score(answer, item)
    for metric in benchmark.metrics:
        yield Prediction(
            item_id=item.item_id, benchmark=benchmark.name, system=system, patient_key=item.patient_key,
            modality=item.modality, question_type=item.question_type, prompt=benchmark.prompt(item),
            raw_answer=answer.text, parsed_answer=judgement.parsed, gold=item.gold,
            score=float(judgement.scores[metric]), metric=metric, is_parsed=judgement.is_parsed,
            record_id=item.record_ids[0], language=item.language, department=item.department,
            confidence=round(answer.confidence, 6),
        )  # fmt: skip


def protocol_fingerprint(exam: Exam, *, preprocessing: str, max_new_tokens: int) -> str:
    """Hash all that decides a score but the model's weights; scores of two fingerprints are not compared."""
    benchmark, folder = exam.benchmark, Path(__file__).parent
    asked = sorted(
        [i.item_id, benchmark.prompt(i), i.gold, i.reference, list(i.record_ids), list(i.options)]
        for i in exam.items
    )
    return digest_json(
        {
            "benchmark": benchmark.name,
            "version": benchmark.version,
            "items": digest_json(asked),
            "blind": digest_json({name: list(ids) for name, ids in exam.blind.items()}),
            "preprocessing": preprocessing,
            "decoding": {"answering": benchmark.answering, "greedy": True, "max_new_tokens": max_new_tokens},
            "parser_version": PARSER_VERSION,
            "code": [digest_file(Path(benchmark.file)), *(digest_file(folder / name) for name in SCORING_FILES)],
        }
    )


def preprocessing_hash(model: Path) -> str:
    """Hash a checkpoint's image processor, chat template and tokenizer."""
    files = [model / name for name in PREPROCESSING_FILES if (model / name).is_file()]
    return digest_json({file.name: digest_file(file) for file in files})
