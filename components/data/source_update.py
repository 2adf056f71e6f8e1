"""Bringing sources up to date: what is read again, where it is read, and how it is committed.

An unchanged source is not read again. A source larger than a shard whose reader allows it is cut into portions
(`portions.py`), and only those are read whose files changed. Sources and portions are read side by side by
joblib's loky, ray or dask; the answer is the same bytes whoever reads, and a failure is the result's error.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.data.backends import Call, pool
from components.data.burned_in import rapid_name, sample_counts
from components.data.card import Card
from components.data.catalog import find_reader
from components.data.deidentify import keyed_hash
from components.data.hidden_paths import files_of, hide_message
from components.data.portions import (
    ALL,
    Portion,
    SourceJob,
    assemble,
    counts_of,
    cut,
    list_units,
    read_portions,
    waiting,
    write_refused,
)
from components.data.privacy import privacy_stamp, quiet_libraries
from components.data.reading import Rejection, resolve_inside
from components.errors import ChecksumMismatch, DatasetMissing, ProjectError, TooManyRejected
from components.tracking.commit import folder_aside, write_json
from components.tracking.digest import digest_file, digest_json, files_below

CODE = Path(__file__).parent
# What decides records beside the source's own reader. Whoever adds a shared module to this room adds it here;
# a test compares this with the readers' imports.
SHARED_CODE = (
    "annotation_files", "boxes", "card", "case_labels", "case_paths", "case_source", "case_tables",
    "deidentify", "delimited", "dialogue", "dicom", "dicom_frames", "dicom_references", "dicom_volumes",
    "faults", "hidden_paths", "image", "json_rows", "json_stream", "label_canvas", "markup", "mask_codes",
    "masks", "metaimage", "mimic_studies", "open_i_xml", "outlines", "parquet_rows", "path_classes", "paths",
    "picture_files", "pictures", "question_rows", "reading", "report_text", "row_files", "row_mapping",
    "row_store", "said_rows", "scrub", "segments", "slices", "slide_shapes", "slides", "spreadsheet", "tables",
    "terms", "text_records", "tiles", "volume_files", "volume_records", "volumes", "windows",
)  # fmt: skip
# What decides them after the reader.
SCREENING_CODE = ("burned_in",)


@dataclass(frozen=True, slots=True)
class SourceResult:
    """What became of one source; `error` is its message when it failed."""

    name: str
    modality: str
    read: int = 0
    kept: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    digest: str = ""
    seconds: float = 0.0
    was_kept: bool = False
    portions: int = 1
    portions_read: int = 0
    error: str = ""
    privacy: Mapping[str, Any] = field(default_factory=dict)
    withdrawn: Mapping[str, int] = field(default_factory=dict)  # records that were taken out, by reason


@dataclass(frozen=True, slots=True)
class Plan:
    """What has to be done for one source: its portions, and those of them that must be read."""

    digest: str
    portions: tuple[Portion, ...] = ()
    waiting: tuple[Portion, ...] = ()
    refused: tuple[Rejection, ...] = ()
    num_bytes: int = 0
    seconds: float = 0.0
    manifest: Mapping[str, Any] | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """How the reading of some portions ended."""

    seconds: float
    error: str = ""


def digests_below(root: Path) -> dict[str, tuple[str, int]]:
    """Return path -> (sha256, bytes) of a source's raw files, in name order."""
    return {
        path.relative_to(root).as_posix(): (digest_file(path), path.stat().st_size) for path in files_below(root)
    }


def basis_of(job: SourceJob) -> dict[str, Any]:
    """Return everything beside the raw files that decides a source's records."""
    shared = (CODE / f"{name}.py" for name in (*SHARED_CODE, *SCREENING_CODE))
    code = [*shared, CODE / "readers" / f"{job.card.reader}.py"]
    return {
        "card": job.card.model_dump(mode="json"),
        "reader": find_reader(job.card.reader).VERSION,
        "code": [digest_file(path) for path in (*code, CODE.parent / "records.py")],
        "settings": [job.max_side, job.shard_bytes, job.burned_in.model_dump(mode="json")],
        "key": keyed_hash(job.secret, "digest of the key"),
    }


def source_digest(
    job: SourceJob, files: Mapping[str, tuple[str, int]] | None = None, basis: Mapping[str, Any] | None = None
) -> str:
    """Return the digest of everything that decides a source's records; `files` and `basis` if known."""
    files = digests_below(job.root) if files is None else files
    known = basis_of(job) if basis is None else basis
    return digest_json({**known, "raw": [[path, sha] for path, (sha, _) in files.items()]})


def make_plan(job: SourceJob) -> Plan:
    """Say what has to be read of a source; a ProjectError becomes the plan's error."""
    started = time.perf_counter()
    try:
        files, basis = digests_below(job.root), basis_of(job)
        digest = source_digest(job, files, basis)
        manifest = _committed(job.output, digest)
        if manifest is not None:
            return Plan(digest, seconds=time.perf_counter() - started, manifest=manifest)
        check_checksums(job.card, job.root)
        portions, refused = portions_of(job, files, digest, basis)
    except ProjectError as error:
        return Plan("", error=hide_message(str(error), job.root, job.card, job.secret))
    seconds, num_bytes = time.perf_counter() - started, sum(size for _, size in files.values())
    return Plan(digest, portions, tuple(waiting(job, portions)), refused, num_bytes, seconds)


def portions_of(
    job: SourceJob, files: Mapping[str, tuple[str, int]], digest: str, basis: Mapping[str, Any]
) -> tuple[tuple[Portion, ...], tuple[Rejection, ...]]:
    """Cut a source into portions; a small one, or one whose reader does not allow it, is one portion."""
    if sum(size for _, size in files.values()) > job.shard_bytes:
        with quiet_libraries():
            units = list_units(job)
        if units.own:
            return tuple(cut(units, files, basis, portion_bytes=job.shard_bytes)), units.refused
    return (Portion(digest, (ALL,)),), ()


def read_some(job: SourceJob, portions: Sequence[Portion]) -> Reading:
    """Read some portions of a source; a ProjectError becomes the result's error."""
    started = time.perf_counter()
    try:
        with quiet_libraries():
            read_portions(job, portions)
    except ProjectError as error:
        return Reading(0.0, hide_message(str(error), job.root, job.card, job.secret))
    return Reading(time.perf_counter() - started)


def runs_of(portions: Sequence[Portion], number: int) -> list[Sequence[Portion]]:
    """Part neighbouring portions into at most `number` runs of nearly the same length."""
    number = min(number, len(portions))
    ends = [len(portions) * place // number for place in range(number + 1)] if number else []
    return [portions[start:end] for start, end in zip(ends, ends[1:], strict=False)]


def commit_source(job: SourceJob, plan: Plan) -> dict[str, Any]:
    """Put a source's portions together and make them its output; raises TooManyRejected."""
    with folder_aside(job.output) as scratch:
        kept, read, found = assemble(job, plan.portions, scratch)
        refused = [*plan.refused, *read]
        counted = counts_of(refused)
        check_tolerance(job.card, kept=kept, reasons=Counter(counted["rejected"]))
        write_refused(scratch, refused)
        options = job.burned_in
        looked = sample_counts(options, rapid_name(), found.looked_at, found.hits) if options.share else None
        gone = {"withdrawn": dict(sorted(found.withdrawn.items()))} if found.withdrawn else {}
        several = {} if plan.portions[0].is_whole else {"portions": [portion.digest for portion in plan.portions]}
        manifest = {
            "source": job.card.name, "digest": plan.digest, "read": kept + len(refused), "kept": kept,
            **counted, **several, **gone, "privacy": privacy_stamp(job.card, found.scrubbed, looked),
        }  # fmt: skip
        (scratch / "manifest.json").unlink(missing_ok=True)
        write_json(scratch / "manifest.json", manifest)
    shutil.rmtree(job.store, ignore_errors=True)
    forget_names(job, plan.portions)
    return manifest


def forget_names(job: SourceJob, portions: Sequence[Portion]) -> None:
    """Remove the private names of portions that are no longer there."""
    kept = {f"{job.card.name}.{part}.jsonl" for part in ("units", *(portion.digest[:16] for portion in portions))}
    kept = {f"{job.card.name}.jsonl"} if portions[0].is_whole else kept
    for path in files_of(job.private, job.card.name):
        if path.name not in kept:
            path.unlink()


def update_source(job: SourceJob) -> SourceResult:
    """Bring one source up to date in this process; a ProjectError becomes the result's error."""
    plan = make_plan(job)
    return finish_source(job, plan, [read_some(job, plan.waiting)] if plan.waiting else [])


def finish_source(job: SourceJob, plan: Plan, readings: Sequence[Reading]) -> SourceResult:
    """Commit a source whose portions are read, and say what became of it."""
    name, modality = job.card.name, job.card.modality
    manifest, errors = plan.manifest, [plan.error, *(reading.error for reading in readings)]
    error = next(filter(None, errors), "")
    try:
        if manifest is None and not error:
            manifest = commit_source(job, plan)
    except ProjectError as refusal:
        error = hide_message(str(refusal), job.root, job.card, job.secret)
    if error or manifest is None:
        return SourceResult(name, modality, error=error)
    return SourceResult(
        name, modality, read=manifest["read"], kept=manifest["kept"], rejected=manifest["rejected"],
        digest=plan.digest, seconds=plan.seconds + sum(reading.seconds for reading in readings),
        was_kept=plan.manifest is not None, portions=max(1, len(plan.portions)), portions_read=len(plan.waiting),
        privacy=manifest["privacy"],
    )  # fmt: skip


def read_sources(
    jobs: Sequence[SourceJob], *, workers: int, backend: str, address: str = ""
) -> list[SourceResult]:
    """Bring every source up to date, the largest first; results come in the jobs' order.

    Raises:
        ConfigError: the backend is not installed.
    """
    from rich.progress import Progress, TimeElapsedColumn

    columns = (*Progress.get_default_columns(), TimeElapsedColumn())
    with Progress(*columns) as progress, pool(workers, backend, address=address) as run:
        bar = progress.add_task("look for changes", total=len(jobs))
        plans: dict[int, Plan] = {}
        for number, plan in run([(number, make_plan, (job,)) for number, job in enumerate(jobs)]):
            plans[number] = plan
            progress.advance(bar)
        calls = reading_calls(jobs, plans, runs=run.workers)
        bar, results = progress.add_task("read", total=len(calls)), {}
        readings: dict[int, list[Reading]] = {number: [] for number in plans}
        for number in (number for number, plan in plans.items() if not plan.waiting):
            results[number] = finish_source(jobs[number], plans[number], ())
        parts = Counter(number for number, _, _ in calls)
        for number, reading in run(calls):
            readings[number].append(reading)
            progress.update(bar, advance=1, description=f"read {jobs[number].card.name}")
            if len(readings[number]) == parts[number]:  # committed before the others are done
                results[number] = finish_source(jobs[number], plans[number], readings[number])
    return [results[number] for number in range(len(jobs))]


def reading_calls(jobs: Sequence[SourceJob], plans: Mapping[int, Plan], *, runs: int) -> list[Call]:
    """Return what has to be read, each source in at most `runs` parts, the largest source first."""
    order = sorted(
        (number for number, plan in plans.items() if plan.waiting), key=lambda n: plans[n].num_bytes, reverse=True
    )
    return [
        (number, read_some, (jobs[number], part))
        for number in order
        for part in runs_of(plans[number].waiting, runs)
    ]


def _committed(output: Path, digest: str) -> dict[str, Any] | None:
    path = output / "manifest.json"
    manifest = json.loads(path.read_text()) if path.is_file() else {}
    return manifest if manifest.get("digest") == digest else None


def check_checksums(card: Card, root: Path) -> None:
    """Raise ChecksumMismatch or DatasetMissing for a pinned file that is another or absent."""
    for name, pinned in card.sha256.items():
        path = resolve_inside(root, name)
        if not path.is_file():
            raise DatasetMissing(f"{card.name}: pinned file is absent", where=str(path), fix=card.obtain)
        found = digest_file(path)
        if found != pinned:
            raise ChecksumMismatch(
                f"{card.name}: sha256 is {found[:12]}…, pinned {pinned[:12]}…", where=str(path), fix=card.obtain
            )


def check_tolerance(card: Card, *, kept: int, reasons: Counter[str]) -> None:
    """Raise TooManyRejected when more of a source was refused than its card tolerates, or all of it."""
    total = kept + reasons.total()
    if kept and reasons.total() <= card.tolerance * total:
        return
    top = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3)) or "nothing was read"
    raise TooManyRejected(
        f"{card.name}: {reasons.total()} of {total} rejected, tolerated are {card.tolerance:.0%}: {top}",
        where=f"conf/sources/{card.name}.yaml", fix="mend the files, or the card's options or tolerance",
    )  # fmt: skip
