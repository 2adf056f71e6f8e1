"""The evaluate stage: the last model and its baselines on held-out patients, with intervals and a report.

Writes `predictions/part-*.parquet` (every answer of every system), `scores.json`, `report.html`, and the
metrics file that DVC and the promotion gate read. Nothing is tuned here; the split is the settings'.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from components.data.pictures_elsewhere import log_page
from components.errors import BenchmarkError
from components.evaluation.cards import Artefacts, data_card, model_card, read_artefacts
from components.evaluation.catalog import load_benchmarks
from components.evaluation.contamination import items_seen, pictures_trained_on
from components.evaluation.examination import Examination, commit_outputs, examine
from components.evaluation.exams import Exam, make_exam, make_exams, read_items
from components.evaluation.items import Item
from components.evaluation.permitted import PERMITTED_USE, permitted_use, withheld_of
from components.evaluation.probes import make_probes
from components.evaluation.standing_page import record_standing
from components.evaluation.summary import flat_metrics, print_scores
from components.records import NOT_STATED
from components.settings import Evaluation, Settings
from components.tracking.commit import write_bytes, write_json
from components.tracking.digest import digest_json
from components.tracking.lookup import rows_by_id
from components.tracking.stage import StageWork, open_stage

PROBES = "hallucination"
METRICS = Path("metrics/evaluation.json")
ROW_COLUMNS = ("image", "sha256", "perceptual_hash", "task", "body_part", "study_key", "facts")
Rows = dict[str, dict[str, Any]]


def run_evaluate(settings: Settings) -> None:
    """Answer, judge, score, report.

    Raises:
        BenchmarkError: the split holds nothing to ask.
        CheckpointError: the last stage's model is not there.
    """
    root, chosen = settings.work_root, settings.evaluation
    model, records, curated = root / "models" / settings.recipe.final_stage, root / "records", root / "curated"
    inputs = [records, curated, model]
    with open_stage(
        "evaluate", settings, output=root / "evaluation", inputs=inputs, sections=["evaluation", "seed"]
    ) as work:
        exams = plan(curated, chosen, seed=settings.seed)
        rows = load_rows(records, exams)
        seen = pictures_trained_on(records, curated)
        for exam in exams:
            exam.items = [with_facts(item, rows) for item in exam.items]
            exam.seen = frozenset(items_seen(exam.items, rows, seen))
            exam.data = digest_json({name: rows[name]["sha256"] for name in pictures_of(exam)})
        images = {name: row["image"] for name, row in rows.items()}
        examined = examine(settings, exams, images, model=model, split=chosen.split)
        commit_outputs(work.scratch, examined, images)
        _write_cards(work.scratch, examined, records=records, curated=curated, model=model)
        withheld = withheld_of(work.run, exams, settings)
        _log(work, examined, withheld)
        record_standing(
            settings, work.run, work.scratch, work.output, stage=work.name, model_digest=examined.weights,
            withheld=withheld,
        )  # fmt: skip
        write_json(METRICS, examined.metrics)
    examined.forget_journals()
    print_scores(examined.metrics)


def plan(curated: Path, chosen: Evaluation, *, seed: int) -> list[Exam]:
    """Choose every benchmark's items on the evaluated split.

    Raises:
        BenchmarkError: no benchmark takes any pair of the split.
    """
    caps = {"closed": chosen.max_closed, "boxes": chosen.max_boxes, "captions": chosen.max_captions}
    items, train = read_items(curated, chosen.split), read_items(curated, "train")
    benchmarks = load_benchmarks()
    exams = make_exams(benchmarks.values(), items, train, caps=caps, seed=seed)
    if chosen.max_probes:
        asked = make_exam(
            benchmarks[PROBES], make_probes(items), make_probes(train), number=chosen.max_probes, seed=seed
        )
        exams += [asked] if asked.items else []
    if not exams:
        raise BenchmarkError(
            f"no benchmark takes any of {len(items)} pairs of the split {chosen.split!r}", where=str(curated)
        )
    return exams


def load_rows(records: Path, exams: Sequence[Exam]) -> Rows:
    """Read every record that some system sees: its image, hashes, and what breakdowns ask for.

    Raises:
        BenchmarkError: an item's record is not there.
    """
    needed = {name for exam in exams for name in pictures_of(exam)}
    rows = rows_by_id(records, needed, ROW_COLUMNS)
    absent = sorted(needed - rows.keys())
    if absent:
        raise BenchmarkError(
            f"{len(absent)} records are absent: {absent[:3]}", where=str(records), fix="dvc repro"
        )
    return {name: rows[name] for name in sorted(needed)}


def pictures_of(exam: Exam) -> list[str]:
    """Name every picture that some system of an exam is shown."""
    own = {name for item in exam.items for name in item.record_ids}
    return sorted(own | {name for names in exam.blind.values() for name in names})


def with_facts(item: Item, rows: Rows) -> Item:
    """Return the item with what its first image's record states and the pair does not (task, organ, sex, …)."""
    if not item.record_ids:
        return item
    row = rows[item.record_ids[0]]
    stated = {name.replace(" ", "_"): value for name, value in row["facts"] or ()}
    stated |= {"task": row["task"], "organ": row["body_part"], "study": row["study_key"]}
    kept = {name: value for name, value in stated.items() if value and value != NOT_STATED}
    return replace(item, facts=tuple(sorted((kept | dict(item.facts)).items())))


def _write_cards(folder: Path, examined: Examination, *, records: Path, curated: Path, model: Path) -> None:
    """Write both cards from the manifests of what the stage read, and its own scores."""
    manifests = {path.name: path / "manifest.json" for path in (records, curated, model)}
    use = permitted_use(records, curated)
    write_json(folder / PERMITTED_USE, use)
    artefacts = Artefacts({**read_artefacts(manifests), "scores.json": examined.metrics, PERMITTED_USE: use})
    card = model_card(artefacts, model=model.name, scores="scores.json", use=PERMITTED_USE)
    write_bytes(folder / "model_card.md", card.encode())
    card = data_card(artefacts, records=records.name, curated=curated.name)
    write_bytes(folder / "data_card.md", card.encode())


def _log(work: StageWork, examined: Examination, withheld: Collection[str]) -> None:
    sizes = {exam.benchmark.name: len(exam.items) for exam in examined.exams}
    work.count(read=sum(sizes.values()), kept=sum(sizes.values()))
    work.details |= {"items": sizes}
    log_page(work.run, work.scratch / "report.html", withheld)
    for name in ("model_card.md", "data_card.md", PERMITTED_USE):
        work.run.log_artifact(work.scratch / name)
    for path in sorted((work.scratch / "pictures").glob("*.png")) if not withheld else ():
        work.run.log_artifact(path, "pictures")
    work.run.log_metrics(flat_metrics(examined.metrics))
