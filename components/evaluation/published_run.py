"""`gmai evaluate --benchmark NAME --data DIR`: the model on a benchmark's published files, as they are.

Writes what the evaluate stage writes, to `<work root>/benchmarks/<name>-<split>/`, and logs it to the tracking
store where there is one; it is no pipeline stage, so nothing there decides a promotion. The score on items whose
pictures training never saw stands beside the full one when the corpus is on this disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from components.data.pictures_elsewhere import log_page
from components.evaluation.catalog import find_benchmark
from components.evaluation.contamination import (
    Seen,
    copies_seen,
    patients_seen,
    pictures_trained_on,
    words_seen,
)
from components.evaluation.examination import Examination, commit_outputs, examine
from components.evaluation.exams import MODEL, Exam, make_exam
from components.evaluation.items import Answering, answering_by
from components.evaluation.permitted import withheld_of
from components.evaluation.published import (
    Loaded,
    digest_pictures,
    load_published,
    load_train,
    read_pictures,
    seen_pictures,
)
from components.evaluation.standing_page import record_standing
from components.evaluation.summary import flat_metrics, print_scores
from components.settings import Settings
from components.tracking.commit import folder_aside, write_json
from components.tracking.digest import digest_json, digest_tree
from components.tracking.runs import StageRun, open_run
from components.tracking.store import is_store_configured

FOLDER = "benchmarks"
SUBMISSION = "submission"


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for; "" and 0 stand for the benchmark's own default and for all items."""

    benchmark: str
    data: Path
    split: str = ""
    answering: Answering | None = None
    limit: int = 0
    model: Path | None = None


class Pictures(Mapping[str, bytes]):
    """A split's pictures by name: those in files are read when asked for, those inside a table once."""

    def __init__(self, loaded: Loaded, exam: Exam) -> None:
        names = {name for item in exam.items for name in item.record_ids}
        self.loaded = loaded
        self.names = sorted(names | {name for group in exam.blind.values() for name in group})

    @cached_property
    def _tabled(self) -> dict[str, bytes]:
        return read_pictures(self.loaded, [name for name in self.names if self.loaded.pictures.get(name) is None])

    def __getitem__(self, name: str) -> bytes:
        path = self.loaded.pictures.get(name)
        return self._tabled[name] if path is None else path.read_bytes()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def run_published(settings: Settings, wanted: Wanted) -> Path:
    """Answer, judge, score, report; return the folder written.

    Raises:
        BenchmarkError: no such benchmark, split or way of answering, or no row can be asked.
        BenchmarkMissing: the published files are not there; the message says how to obtain them.
        ChecksumMismatch: a published file is not the one that was pinned.
        CheckpointError: there is no model.
    """
    asked = plan_published(settings, wanted)
    loaded, exam = asked.loaded, asked.exam
    output = settings.work_root / FOLDER / f"{loaded.benchmark.name}-{loaded.split}"
    with _open_run(settings, asked, wanted.data, stage=f"evaluate.{output.name}") as run:
        examined = examine(settings, [exam], asked.pictures, model=asked.model, split=loaded.split)
        examined.metrics["details"]["published"] = _origin(loaded, exam)
        with folder_aside(output) as scratch:
            commit_outputs(scratch, examined, asked.pictures)
            _write_submission(scratch, examined)
            _log(settings, run, scratch, output, examined)
    examined.forget_journals()
    print_scores(examined.metrics)
    print(f"written: {output}")
    return output


@dataclass(frozen=True)
class Asked:
    """What a published run asks: the split as read, its exam, the pictures shown, the model's folder."""

    loaded: Loaded
    exam: Exam
    pictures: Pictures
    model: Path


def plan_published(settings: Settings, wanted: Wanted) -> Asked:
    """Read the files and choose the items; raises as `run_published` does."""
    benchmark = find_benchmark(wanted.benchmark)
    if wanted.answering is not None:
        benchmark = answering_by(benchmark, wanted.answering)
    loaded = load_published(benchmark, wanted.data, wanted.split)
    number = wanted.limit or len(loaded.items)
    exam = make_exam(
        benchmark, loaded.items, load_train(benchmark, wanted.data), number=number, seed=settings.seed
    )
    pictures = Pictures(loaded, exam)
    exam.data = digest_json([loaded.digest, digest_pictures(pictures)])
    exam.seen = frozenset(_items_seen(settings, asked=exam, loaded=loaded, pictures=pictures))
    model = wanted.model or settings.work_root / "models" / settings.recipe.final_stage
    return Asked(loaded, exam, pictures, model)


@contextmanager
def _open_run(settings: Settings, asked: Asked, data: Path, *, stage: str) -> Generator[StageRun]:
    """Open a run in the tracking store; a silent one when no store was named and none is here."""
    if not is_store_configured():
        yield StageRun("", stage)
        return
    inputs = {data.as_posix(): asked.exam.data, asked.model.as_posix(): digest_tree(asked.model)}
    fingerprint = digest_json([stage, inputs, sorted(item.item_id for item in asked.exam.items)])
    with open_run(stage, settings, fingerprint=fingerprint, inputs=inputs) as run:
        yield run


def _log(settings: Settings, run: StageRun, scratch: Path, output: Path, examined: Examination) -> None:
    """Log what the evaluate stage logs of its own: report, scores, answers, plots, pictures, numbers, standing."""
    withheld = withheld_of(run, examined.exams, settings)
    run.log_metrics(flat_metrics(examined.metrics))
    log_page(run, scratch / "report.html", withheld)
    for name in (*(() if withheld else ("pictures",)), SUBMISSION):
        if (scratch / name).exists():
            run.log_artifact(scratch / name)
    record_standing(
        settings, run, scratch, output, stage=run.stage, model_digest=examined.weights, withheld=withheld
    )


def _items_seen(settings: Settings, *, asked: Exam, loaded: Loaded, pictures: Mapping[str, bytes]) -> set[str]:
    """Find the items of which training saw a picture, an altered copy of one, a patient or 13 words.

    None are known when the corpus is not on this disk.
    """
    records, curated = settings.work_root / "records", settings.work_root / "curated"
    if not (curated / "manifest.json").is_file() or not records.is_dir():
        return set()
    known: Seen = pictures_trained_on(records, curated)
    names = seen_pictures(loaded, known.pixels, known.perceptual, bits=known.bits)
    names |= copies_seen(pictures, records, curated, index=Path(settings.curate.index))
    shown = {item.item_id for item in asked.items if names.intersection(item.record_ids)}
    return shown | words_seen(asked.items, curated) | patients_seen(asked.items, curated)


def _origin(loaded: Loaded, exam: Exam) -> dict[str, object]:
    refused: Counter[str] = loaded.refused
    return {
        "benchmark": loaded.benchmark.name, "split": loaded.split, "files": loaded.files,
        "asked": len(exam.items), "rows": len(loaded.items), "refused": dict(sorted(refused.items())),
        "items_seen_in_training": len(exam.seen),
    }  # fmt: skip


def _write_submission(folder: Path, examined: Examination) -> None:
    for exam in examined.exams:
        if exam.benchmark.submission is not None:
            (folder / SUBMISSION).mkdir()
            exam.benchmark.submission(examined.judged[exam.benchmark.name][MODEL], folder / SUBMISSION)
            write_json(folder / SUBMISSION / "origin.json", examined.metrics["details"]["published"])
