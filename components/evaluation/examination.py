"""From exams to everything an evaluation leaves: answered, judged, scored, summarised, written.

Shared by the evaluate stage (curated pairs) and `gmai evaluate --benchmark` (published files). A run that is
killed goes on from its journals.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.evaluation.answer_journal import AnswerJournal
from components.evaluation.answering import Machine, Pace, Steps
from components.evaluation.attention import HeatMap, look, pointing_rows
from components.evaluation.exams import Exam, answer_baselines, judge_all, predictions_of
from components.evaluation.items import Judged
from components.evaluation.placement import check_model, device_of
from components.evaluation.processes import answer_all
from components.evaluation.protocol import NO_JUDGE, Protocol, arithmetic_of, make_protocol, preprocessing_hash
from components.evaluation.scores import Scoring, in_order, make_scores
from components.evaluation.summary import print_plan, summarise
from components.records import Prediction, Score, prediction_schema, to_rows
from components.settings import Settings
from components.tracking.commit import write_bytes, write_json
from components.tracking.digest import digest_tree
from components.tracking.tables import write_table

if TYPE_CHECKING:
    from components.evaluation.judge import AnswerJudge


@dataclass(frozen=True)
class Examination:
    """Exams with their answers, what was made of them, and the journals to forget once it is committed."""

    exams: Sequence[Exam]
    judged: Mapping[str, Mapping[str, list[Judged]]]  # benchmark -> system -> one row an item
    predictions: Sequence[Prediction]
    metrics: dict[str, Any]
    journals: Sequence[AnswerJournal]
    heat: Sequence[HeatMap]
    weights: str = ""  # digest of the model's folder

    def forget_journals(self) -> None:
        """Remove what was kept for a run that goes on after a kill."""
        for journal in self.journals:
            journal.remove()


def examine(
    settings: Settings, exams: Sequence[Exam], images: Mapping[str, bytes], *, model: Path, split: str
) -> Examination:
    """Ask, judge and score.

    Raises:
        CheckpointError: there is no model in the folder.
    """
    check_model(model)
    chosen, seed = settings.evaluation, settings.seed
    judge, exams = under_judge(settings, exams)
    pace = Pace(chosen.batch_size, chosen.max_new_tokens, chosen.generation_batch)
    machine = Machine(settings.cluster.threads, chosen.processes, chosen.device, chosen.attention)
    protocols = protocols_of(exams, model, pace=pace, machine=machine, judge=judge)
    weights = digest_tree(model)
    journals = {name: AnswerJournal(weights, one.fingerprint) for name, one in protocols.items()}
    print_plan(exams)
    with _progress() as steps:
        vlm = answer_all(model, exams, images, pace=pace, machine=machine, journals=journals, steps=steps)
    for exam in exams:
        answer_baselines(exam, seed=seed)
    more = _answer_zero_shot(settings, exams, images)
    judged = {exam.benchmark.name: judge_all(exam) for exam in _asked_of(judge, exams)}
    predictions = [row for exam in exams for row in predictions_of(exam, judged[exam.benchmark.name])]
    scores = in_order(_scores(exams, judged, protocols, resamples=chosen.bootstrap, seed=seed))
    metrics = summarise(exams, predictions, scores, protocols, split=split, resamples=chosen.bootstrap, seed=seed)
    metrics["details"] |= more | (judge.details(exams, judged) if judge else {})
    heat = look(vlm, exams, images, wanted=chosen.heat_maps)
    metrics["details"]["pointing"] = pointing_rows(heat.maps, resamples=chosen.bootstrap, seed=seed)
    metrics["details"]["not_pointed"] = heat.left_out
    return Examination(exams, judged, predictions, metrics, list(journals.values()), heat.maps, weights)


def _answer_zero_shot(
    settings: Settings, exams: Sequence[Exam], images: Mapping[str, bytes]
) -> dict[str, dict[str, Any]]:
    """Ask the zero-shot baseline if one is configured; return what the metrics file says of it."""
    if not settings.evaluation.zero_shot:
        return {}
    from components.evaluation.zero_shot import answer_zero_shot, load_two_sides, place_of

    place = place_of(settings)
    revision = settings.model.vision.revision if place == settings.model.vision.pretrained else ""
    sides = load_two_sides(place, revision=revision, device=device_of(settings.evaluation.device))
    answered = answer_zero_shot(sides, exams, images)
    folder = Path(place)
    pinned = digest_tree(folder) if folder.is_dir() else revision
    return {"zero_shot": {"model": folder.name, "pinned": pinned, "benchmarks": answered}}


def under_judge(settings: Settings, exams: Sequence[Exam]) -> tuple[AnswerJudge | None, list[Exam]]:
    """Open the judge, if one is named, and give the exams that it judges its number.

    Raises:
        TermsDenied: the judge is on another machine and a source's terms do not let it see the answers.
    """
    if not settings.evaluation.judge.model:
        return None, list(exams)
    from components.evaluation.judge import check_terms, open_judge, with_judge

    judge = open_judge(settings.evaluation.judge)
    check_terms(judge, exams)
    return judge, [with_judge(exam, judge) for exam in exams]


def _asked_of(judge: AnswerJudge | None, exams: Sequence[Exam]) -> Sequence[Exam]:
    """Have the judge read every answer, several at once, before scores are made of its verdicts."""
    for exam in exams:
        if judge is not None and judge.judges(exam):
            judge.prepare(exam)
    return exams


def protocols_of(
    exams: Sequence[Exam],
    model: Path,
    *,
    pace: Pace,
    machine: Machine,
    judge: AnswerJudge | None = None,
) -> dict[str, Protocol]:
    """Return each benchmark's protocol for this checkpoint."""
    preprocessing = preprocessing_hash(model)
    batches = (pace.batch_size, pace.generation_batch)
    arithmetic = arithmetic_of(device_of(machine.device), attention=machine.attention, batches=batches)
    return {
        exam.benchmark.name: make_protocol(
            exam,
            preprocessing=preprocessing,
            max_new_tokens=pace.max_new_tokens,
            arithmetic=arithmetic,
            data=exam.data,
            judge=judge.identity_of(exam) if judge else NO_JUDGE,
        )  # fmt: skip
        for exam in exams
    }


def _scores(
    exams: Sequence[Exam],
    judged: Mapping[str, Mapping[str, list[Judged]]],
    protocols: Mapping[str, Protocol],
    *,
    resamples: int,
    seed: int,
) -> list[Score]:
    found: list[Score] = []
    for exam in exams:
        name = exam.benchmark.name
        scoring = Scoring(protocols[name].fingerprint, resamples, seed, exam.seen)
        found += make_scores(exam.benchmark, judged[name], scoring)
    return found


def commit_outputs(folder: Path, examined: Examination, images: Mapping[str, bytes], *, output: Path) -> None:
    """Write predictions, scores, report and a few pictures into a folder that will become `output`."""
    from components.evaluation.charts import plot_files
    from components.evaluation.corpus_numbers import FILE, corpus_numbers
    from components.evaluation.report import render_report, sample_pictures

    exams, metrics = examined.exams, examined.metrics
    page = render_report(
        exams, examined.predictions, metrics, images, examined.heat, standing=f"{output.name}.report.html"
    )
    write_table(folder / "predictions", to_rows(examined.predictions), prediction_schema())
    write_json(folder / "scores.json", metrics)
    write_json(folder / FILE, corpus_numbers(exams, examined.judged))
    write_bytes(folder / "report.html", page.encode())
    for name, rows in plot_files(examined.predictions, metrics).items():
        write_json(folder / "plots" / name, rows)
    for name, content in sample_pictures(exams, images).items():
        write_bytes(folder / "pictures" / name, content)


@contextmanager
def _progress() -> Generator[Steps]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:>18}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as progress:

        def steps(name: str, total: int) -> Callable[[int], None]:
            task = progress.add_task(name, total=total)
            return lambda number: progress.advance(task, number)

        yield steps
