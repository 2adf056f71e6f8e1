"""`gmai evaluate --benchmark NAME --data DIR`: the model on a benchmark's published files, as they are.

Writes what the evaluate stage writes and logs it to the tracking store where there is one; it is no pipeline
stage, so nothing there decides a promotion. The folder's name says what was asked of which model
(`<work root>/benchmarks/vqa_rad-test-limit20-<weights>/`), so that another run does not write over it; `--output`
names another. The score on items whose pictures training never saw stands beside the full one when that can be
looked up; when it cannot, the metrics file says why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from components.data.image import DAMAGED
from components.data.pictures_elsewhere import log_page
from components.errors import BenchmarkError
from components.evaluation.cards import Artefacts, benchmark_card, model_card, read_artefacts
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
from components.evaluation.items import Answering, Benchmark, answering_by
from components.evaluation.permitted import withheld_of
from components.evaluation.placement import check_model
from components.evaluation.published import (
    Loaded,
    digest_pictures,
    drop_unreadable,
    load_published,
    load_train,
    read_pictures,
    seen_pictures,
)
from components.evaluation.standing_page import record_standing
from components.evaluation.summary import flat_metrics, print_scores
from components.quality.pictures import open_rgb
from components.settings import Settings
from components.tracking.commit import folder_aside, write_bytes, write_json
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
    output: Path | None = None

    @property
    def asked(self) -> str:
        """Say in a folder's name what is not the benchmark's own default."""
        return "".join(
            [f"-{self.answering}" if self.answering else "", f"-limit{self.limit}" if self.limit else ""]
        )


class Pictures(Mapping[str, bytes]):
    """A split's pictures by name: those in files are read when asked for, those inside a table once.

    Another process is handed places and the tables' pictures, not what reads them.
    """

    def __init__(self, loaded: Loaded, exam: Exam) -> None:
        names = {name for item in exam.items for name in item.record_ids}
        self.names = sorted(names | {name for group in exam.blind.values() for name in group})
        self.places = {name: loaded.pictures.get(name) for name in self.names}
        self._loaded = loaded

    @cached_property
    def _tabled(self) -> dict[str, bytes]:
        return read_pictures(self._loaded, [name for name, place in self.places.items() if place is None])

    def __getstate__(self) -> dict[str, Any]:
        return {"names": self.names, "places": self.places, "_tabled": self._tabled}

    def __getitem__(self, name: str) -> bytes:
        path = self.places[name]
        return self._tabled[name] if path is None else path.read_bytes()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def unreadable(self) -> list[str]:
        """Name the pictures that do not decode."""
        return [name for name, content in self.items() if not _is_picture(content)]


def _is_picture(content: bytes) -> bool:
    try:
        open_rgb(content)
    except (OSError, ValueError, *DAMAGED):
        return False
    return True


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
    name = f"{loaded.benchmark.name}-{loaded.split}{wanted.asked}"
    output = wanted.output or settings.work_root / FOLDER / f"{name}-{digest_tree(asked.model)[:10]}"
    with _open_run(settings, asked, wanted.data, stage=f"evaluate.{name}") as run:
        examined = examine(settings, [exam], asked.pictures, model=asked.model, split=loaded.split)
        examined.metrics["details"]["published"] = _origin(asked)
        with folder_aside(output) as scratch:
            commit_outputs(scratch, examined, asked.pictures, output=output)
            _write_submission(scratch, examined)
            _write_cards(scratch, examined, asked.model)
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
    not_checked: str = ""  # why it is not known which items show a picture of training


def plan_published(settings: Settings, wanted: Wanted) -> Asked:
    """Look for the model, read the files, choose the items; raises as `run_published` does."""
    own = settings.work_root / "models" / settings.recipe.final_stage
    model = check_model(wanted.model or own)
    benchmark = find_benchmark(wanted.benchmark)
    if wanted.answering is not None:
        benchmark = answering_by(benchmark, wanted.answering)
    loaded = load_published(benchmark, wanted.data, wanted.split)
    loaded, exam, pictures = _choose(settings, wanted, benchmark, loaded)
    exam.data = digest_json([loaded.digest, digest_pictures(pictures)])
    not_checked = _why_not_checked(settings, model)
    exam.seen = None if not_checked else frozenset(_items_seen(settings, exam, loaded, pictures))
    return Asked(loaded, exam, pictures, model, not_checked)


def _choose(
    settings: Settings, wanted: Wanted, benchmark: Benchmark, loaded: Loaded
) -> tuple[Loaded, Exam, Pictures]:
    """Choose the items; one whose picture does not decode is refused, and another takes its place."""
    train = load_train(benchmark, wanted.data)
    while True:
        number = wanted.limit or len(loaded.items)
        exam = make_exam(benchmark, loaded.items, train, number=number, seed=settings.seed)
        pictures = Pictures(loaded, exam)
        unreadable = pictures.unreadable()
        if not unreadable:
            break
        loaded = drop_unreadable(loaded, unreadable)
    if not exam.items:
        raise BenchmarkError(
            f"no row of {benchmark.name} {loaded.split} can be answered by {benchmark.answering!r}",
            where=str(wanted.data), fix="leave --answering out",
        )  # fmt: skip
    return loaded, exam, pictures


def _why_not_checked(settings: Settings, model: Path) -> str:
    """Say why it is not known what this model saw in training, or ""."""
    root = settings.work_root
    if not model.resolve().is_relative_to((root / "models").resolve()):
        return "the model is not one of this pipeline's, so what it was trained on is not known here"
    if not (root / "curated" / "manifest.json").is_file() or not (root / "records").is_dir():
        return "the corpus it was trained on is not on this disk"
    return ""


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
    for name in ("model_card.md", "data_card.md", *(() if withheld else ("pictures",)), SUBMISSION):
        if (scratch / name).exists():
            run.log_artifact(scratch / name)
    record_standing(
        settings, run, scratch, output, stage=run.stage, model_digest=examined.weights, withheld=withheld
    )


def _items_seen(settings: Settings, exam: Exam, loaded: Loaded, pictures: Mapping[str, bytes]) -> set[str]:
    """Find the items of which training saw a picture, an altered copy of one, a patient or 13 words."""
    records, curated = settings.work_root / "records", settings.work_root / "curated"
    known: Seen = pictures_trained_on(records, curated)
    shown = {name for item in exam.items for name in item.record_ids}
    asked = replace(loaded, pictures={name: loaded.pictures[name] for name in shown})
    names = seen_pictures(asked, known.pixels, known.perceptual, bits=known.bits)
    names |= copies_seen(pictures, records, curated, index=Path(settings.curate.index))
    touched = {item.item_id for item in exam.items if names.intersection(item.record_ids)}
    return touched | words_seen(exam.items, curated) | patients_seen(exam.items, curated)


def _origin(asked: Asked) -> dict[str, object]:
    loaded, exam = asked.loaded, asked.exam
    refused: Counter[str] = loaded.refused
    return {
        "benchmark": loaded.benchmark.name, "split": loaded.split, "files": loaded.files,
        "asked": len(exam.items), "rows": len(loaded.items), "refused": dict(sorted(refused.items())),
        "items_seen_in_training": None if exam.seen is None else len(exam.seen), "not_checked": asked.not_checked,
        "answering": loaded.benchmark.answering, "model": asked.model.as_posix(),
    }  # fmt: skip


def _write_cards(folder: Path, examined: Examination, model: Path) -> None:
    """Write the model's card with these scores, and the data card of the benchmark as it was read."""
    manifests = read_artefacts({model.name: model / "manifest.json"})
    artefacts = Artefacts({**manifests, "scores.json": examined.metrics})
    write_bytes(folder / "model_card.md", model_card(artefacts, model=model.name, scores="scores.json").encode())
    (exam,) = examined.exams
    artefacts = Artefacts({"scores.json": examined.metrics, "benchmark": asdict(exam.benchmark.card)})
    write_bytes(folder / "data_card.md", benchmark_card(artefacts, scores="scores.json").encode())


def _write_submission(folder: Path, examined: Examination) -> None:
    for exam in examined.exams:
        if exam.benchmark.submission is not None:
            (folder / SUBMISSION).mkdir()
            exam.benchmark.submission(examined.judged[exam.benchmark.name][MODEL], folder / SUBMISSION)
            write_json(folder / SUBMISSION / "origin.json", examined.metrics["details"]["published"])
