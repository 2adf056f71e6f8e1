"""The evaluate stage: the last model and its baselines on held-out patients, with intervals and a report.

Writes `predictions/part-*.parquet` (every answer of every system), `scores.json`, `report.html`, and the
metrics file that DVC and the promotion gate read. Nothing is tuned here; the split is the settings'.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import BenchmarkError
from components.evaluation.catalog import load_benchmarks
from components.evaluation.exams import (
    BLIND,
    MODEL,
    Exam,
    answer_baselines,
    judge,
    make_exams,
    preprocessing_hash,
    protocol_fingerprint,
    read_items,
)
from components.evaluation.scores import difference_row, image_minus_blind, make_scores, score_row
from components.quality.pictures import open_rgb
from components.records import Prediction, Score, prediction_schema, to_rows
from components.settings import Evaluation, Settings
from components.tracking.commit import write_bytes, write_json
from components.tracking.lookup import rows_by_id
from components.tracking.stage import StageWork, open_stage
from components.tracking.tables import write_table

if TYPE_CHECKING:
    from components.model.vlm import VLM

METRICS = Path("metrics/evaluation.json")
BLIND_BENCHMARK = "closed_questions"
GENERATED_AT_ONCE = 48
Steps = Callable[[str, int], Callable[[int], None]]


def run_evaluate(settings: Settings) -> None:
    """Answer, judge, score, report.

    Raises:
        BenchmarkError: the split holds nothing to ask, or one patient only.
        CheckpointError: the last stage's model is not there.
    """
    root, chosen = settings.work_root, settings.evaluation
    model, records, curated = root / "models" / settings.recipe.final_stage, root / "records", root / "curated"
    inputs = [records, curated, model]
    with open_stage(
        "evaluate", settings, output=root / "evaluation", inputs=inputs, sections=["evaluation", "seed"]
    ) as work:
        exams = plan(curated, chosen, seed=settings.seed)
        images = load_images(records, exams)
        with _progress() as steps:
            answer_all(
                model, exams, images, batch_size=chosen.batch_size, max_new_tokens=chosen.max_new_tokens,
                threads=settings.cluster.threads, steps=steps,
            )  # fmt: skip
        for exam in exams:
            answer_baselines(exam, seed=settings.seed)
        predictions = [prediction for exam in exams for prediction in judge(exam)]
        fingerprints = _fingerprints(exams, model, chosen.max_new_tokens)
        scores = make_scores(predictions, fingerprints, resamples=chosen.bootstrap, seed=settings.seed)
        no_blind = {exam.benchmark.name: exam.no_blind for exam in exams}
        metrics = summarise(
            predictions, scores, no_blind, split=chosen.split, resamples=chosen.bootstrap, seed=settings.seed
        )
        _commit(work, exams, predictions, metrics, images)
        write_json(METRICS, metrics)
    print_scores(metrics)


def plan(curated: Path, chosen: Evaluation, *, seed: int) -> list[Exam]:
    """Choose every benchmark's items on the evaluated split.

    Raises:
        BenchmarkError: no benchmark takes any pair of the split.
    """
    caps = {"closed": chosen.max_closed, "boxes": chosen.max_boxes, "captions": chosen.max_captions}
    items, train = read_items(curated, chosen.split), read_items(curated, "train")
    exams = make_exams(load_benchmarks().values(), items, train, caps=caps, seed=seed)
    if not exams:
        raise BenchmarkError(
            f"no benchmark takes any of {len(items)} pairs of the split {chosen.split!r}", where=str(curated)
        )
    return exams


def load_images(records: Path, exams: Sequence[Exam]) -> dict[str, bytes]:
    """Read the bytes of every image that some system sees.

    Raises:
        BenchmarkError: an item's record is not there.
    """
    needed = {name for exam in exams for item in exam.items for name in item.record_ids}
    needed |= {name for exam in exams for names in exam.blind.values() for name in names}
    rows = rows_by_id(records, needed, ["image"])
    absent = sorted(needed - rows.keys())
    if absent:
        raise BenchmarkError(
            f"{len(absent)} records are absent: {absent[:3]}", where=str(records), fix="dvc repro"
        )
    return {name: rows[name]["image"] for name in sorted(needed)}


def answer_all(
    model: Path,
    exams: Sequence[Exam],
    images: Mapping[str, bytes],
    *,
    batch_size: int,
    max_new_tokens: int,
    threads: int,
    steps: Steps,
) -> None:
    """Let the model answer every exam with its own images and with another patient's.

    Both systems' questions go in one pass, so that an image shared by them is read by the model once.
    """
    import torch

    from components.evaluation import engine
    from components.model.vlm import load_vlm

    torch.set_num_threads(threads)
    vlm = load_vlm(model, dtype=torch.bfloat16)
    with engine.inference():
        pictures = ((name, open_rgb(content)) for name, content in images.items())
        features = engine.encode_images(vlm, pictures, advance=steps("images", len(images)))
        for exam in exams:
            _answer_exam(vlm, exam, features, batch_size, max_new_tokens, steps)


def _answer_exam(
    vlm: VLM, exam: Exam, features: Mapping[str, Any], batch_size: int, max_new_tokens: int, steps: Steps
) -> None:
    from components.evaluation import engine

    systems = [MODEL] if exam.no_blind else [MODEL, BLIND]
    asks = [ask for system in systems for ask in exam.asks(system)]
    advance = steps(exam.benchmark.name, len(asks))
    if exam.benchmark.answering == "choice":
        answers = engine.answer_closed(vlm, asks, features, batch_size=batch_size, advance=advance)
    else:
        answers = engine.generate_texts(
            vlm, asks, features, max_new_tokens=max_new_tokens, batch_size=GENERATED_AT_ONCE, advance=advance
        )
    for place, system in enumerate(systems):
        start = place * len(exam.items)
        exam.answers[system] = answers[start : start + len(exam.items)]


def _fingerprints(exams: Sequence[Exam], model: Path, max_new_tokens: int) -> dict[str, str]:
    preprocessing = preprocessing_hash(model)
    return {
        exam.benchmark.name: protocol_fingerprint(exam, preprocessing=preprocessing, max_new_tokens=max_new_tokens)
        for exam in exams
    }


def summarise(
    predictions: Sequence[Prediction],
    scores: Sequence[Score],
    no_blind: Mapping[str, str],
    *,
    split: str,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Return what `metrics/evaluation.json` holds; `no_blind` is benchmark -> why it has no blind row, or ""."""
    absent = {name: reason for name, reason in sorted(no_blind.items()) if reason}
    row = None
    if benchmark := blind_benchmark(no_blind):
        difference = image_minus_blind(predictions, benchmark=benchmark, resamples=resamples, seed=seed)
        row = {"benchmark": benchmark, **difference_row(difference)}
    return {
        "split": split,
        "image_minus_blind": row,
        "scores": [score_row(score, no_blind=absent.get(score.benchmark.split("/")[0], "")) for score in scores],
        "details": {"no_blind": absent},
    }


def blind_benchmark(no_blind: Mapping[str, str]) -> str:
    """Name the benchmark image minus blind is read from: the closed questions, else the first that has one."""
    seeing = sorted(name for name, reason in no_blind.items() if not reason)
    return BLIND_BENCHMARK if BLIND_BENCHMARK in seeing else next(iter(seeing), "")


def _commit(
    work: StageWork,
    exams: Sequence[Exam],
    predictions: Sequence[Prediction],
    metrics: Mapping[str, Any],
    images: Mapping[str, bytes],
) -> None:
    from components.evaluation.report import render_report, sample_pictures

    write_table(work.scratch / "predictions", to_rows(predictions), prediction_schema())
    write_json(work.scratch / "scores.json", metrics)
    page = render_report(exams, predictions, metrics, images)
    write_bytes(work.scratch / "report.html", page.encode())
    num_items = sum(len(exam.items) for exam in exams)
    work.count(read=num_items, kept=num_items)
    work.details |= {"items": {exam.benchmark.name: len(exam.items) for exam in exams}}
    work.run.log_artifact(work.scratch / "report.html")
    for name, content in sample_pictures(exams, images).items():
        write_bytes(work.scratch / "pictures" / name, content)
        work.run.log_artifact(work.scratch / "pictures" / name, "pictures")
    work.run.log_metrics(flat_metrics(metrics))


def flat_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Name each number for the tracking store: "closed_questions/accuracy", "…/low", "…/majority"."""
    gap = metrics["image_minus_blind"] or {}
    flat = {f"image_minus_blind/{name}": gap[name] for name in ("value", "low", "high") if name in gap}
    for row in metrics["scores"]:
        name = f"{row['benchmark']}/{row['metric']}"
        flat[name] = row["value"]
        if "/" not in row["benchmark"]:
            flat |= {f"{name}/low": row["low"], f"{name}/high": row["high"], f"{name}/majority": row["baseline"]}
    return flat


@contextmanager
def _progress() -> Generator[Steps]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:>18}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as progress:

        def steps(name: str, total: int) -> Callable[[int], None]:
            task = progress.add_task(name, total=total)
            return lambda number: progress.advance(task, number)

        yield steps


def print_scores(metrics: Mapping[str, Any]) -> None:
    """Print whole benchmarks and the closed questions by part; the report holds every breakdown."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("score", "value", "95 %", "majority", "blind", "n/patients"):
        table.add_column(column, no_wrap=True)
    for row in metrics["scores"]:
        benchmark, _, part = row["benchmark"].partition("/")
        if part and benchmark != BLIND_BENCHMARK:
            continue
        name = f"  {part.partition('=')[2]}" if part else f"{benchmark} {row['metric']}"
        values = (f"{row['value']:.3f}", f"{row['low']:.3f}-{row['high']:.3f}", f"{row['baseline']:.3f}")
        blind = "none" if row["blind"] is None else f"{row['blind']:.3f}"
        counts = (blind, f"{row['n']}/{row['num_patients']}")
        table.add_row(name, *values, *counts, style="dim" if part else "bold")
    console = Console()
    console.print(table)
    unread = {row["benchmark"]: row["unparsed"] for row in metrics["scores"] if "/" not in row["benchmark"]}
    console.print(f"answers that could not be read, counted as wrong: {unread}")
    console.print(_gap_words(metrics))


def _gap_words(metrics: Mapping[str, Any]) -> str:
    absent = [f"{name}: {reason}" for name, reason in metrics["details"]["no_blind"].items()]
    gap = metrics["image_minus_blind"]
    if gap is None:
        return "image minus blind: not known; " + "; ".join(absent)
    few = " (few patients: the interval is rough)" if gap["few_patients"] else ""
    words = (
        f"image minus blind, {gap['benchmark'].replace('_', ' ')}: {gap['value']:+.3f} "
        f"({gap['low']:+.3f} to {gap['high']:+.3f}), {gap['n']} questions, {gap['num_patients']} patients{few}"
    )
    return "\n".join([words, *absent])
