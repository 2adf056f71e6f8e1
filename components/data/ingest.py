"""The ingest stage: each selected source's native files become Parquet shards of records.

A source's folder holds its shards, `rejected.jsonl` and a manifest with the digest of all that decides them
(card, reader and shared code, raw files, ingest settings, patient key). An unchanged source is not read
again. Sources are read side by side and each is committed by rename, so what is done survives the failure of
the next; a source that fails stops the stage only after the others are in.
"""

from __future__ import annotations

import importlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.data.burned_in import screen_samples
from components.data.card import Card
from components.data.catalog import card_files, find_reader, load_cards
from components.data.deidentify import keyed_hash
from components.data.hidden_paths import hide_message
from components.data.pictures_elsewhere import say_withheld, withheld_sources
from components.data.privacy import (
    PUBLIC_KEY_WARNING,
    check_patient_key,
    keep_names,
    open_screen,
    privacy_stamp,
    quiet_libraries,
)
from components.data.reading import ReadContext, Rejection, hide_rejections, resolve_inside
from components.data.terms import allowed_cards, strictest_terms
from components.errors import (
    ChecksumMismatch,
    ConfigError,
    DataError,
    DatasetMissing,
    ProjectError,
    TooManyRejected,
)
from components.records import Record, record_schema, to_rows
from components.settings import BurnedInText, Settings, load_secrets
from components.tracking.commit import folder_aside, write_json
from components.tracking.digest import digest_file, digest_json, digest_tree
from components.tracking.stage import open_stage
from components.tracking.tables import ShardWriter, read_table

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
class SourceJob:
    """One source to bring up to date, in plain values that any worker can be sent."""

    card: Card
    root: Path
    output: Path
    max_side: int
    shard_bytes: int
    secret: bytes
    private: Path = Path("var/private")
    burned_in: BurnedInText = BurnedInText()


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
    error: str = ""
    privacy: dict[str, Any] = field(default_factory=dict)


def run_ingest(settings: Settings) -> None:
    """Bring `artifacts/records` up to date with the selected sources.

    Raises:
        ConfigError: people are protected in a source and the patient key is the public default.
        DatasetMissing: a selected source has no folder.
        DataError: a source could not be read, or one patient is in two splits; the others are committed.
    """
    output = settings.work_root / "records"
    cards, dropped = allowed_cards(load_cards(names=settings.corpus.sources), settings.corpus.allow_noncommercial)
    check_patient_key(cards, load_secrets())
    check_present(cards, settings.corpus.data_root)
    # The selected cards alone: another card is no input of this corpus, and must not make its records look old.
    files = card_files()
    inputs = [settings.corpus.data_root, *(files[name] for name in settings.corpus.sources)]
    with open_stage(
        "ingest", settings, output=output, inputs=inputs, sections=["corpus", "ingest"], in_place=True
    ) as work:
        remove_others(work.scratch, [card.name for card in cards])
        jobs = make_jobs(settings, cards, work.scratch)
        results = read_sources(jobs, workers=settings.ingest.jobs, backend=settings.ingest.backend)
        print_results(results)
        raise_failures(results)
        check_patients(work.scratch)
        for result in results:
            work.count(read=result.read, kept=result.kept, rejected=result.rejected)
        work.details = {
            "sources": {r.name: summary(r) | origin_of(card) for r, card in zip(results, cards, strict=True)},
            "dropped_by_terms": dropped,
            "permitted_use": strictest_terms(cards),
        }  # fmt: skip
        log_contact_sheet(work.scratch, work.run, cards)


def make_jobs(settings: Settings, cards: Sequence[Card], output: Path) -> list[SourceJob]:
    """Turn settings into one job a source."""
    secret = load_secrets().patient_key.get_secret_value().encode()
    data_root, ingest = settings.corpus.data_root, settings.ingest
    return [
        SourceJob(
            card=card, root=data_root / card.name, output=output / card.name, max_side=ingest.max_side,
            shard_bytes=ingest.shard_megabytes << 20, secret=secret, private=Path(ingest.private),
            burned_in=ingest.burned_in_text,
        )
        for card in cards
    ]  # fmt: skip


def check_present(cards: Iterable[Card], data_root: Path) -> None:
    """Raise DatasetMissing, naming every selected source without a folder and how to obtain it."""
    missing = [card for card in cards if not (data_root / card.name).is_dir()]
    if missing:
        names = ", ".join(card.name for card in missing)
        raise DatasetMissing(f"no files of: {names}", where=str(data_root), fix=missing[0].obtain)


def remove_others(output: Path, names: Sequence[str]) -> None:
    """Remove the folders of sources that are no longer selected, and what a crash left aside."""
    for folder in output.iterdir() if output.is_dir() else ():
        if folder.is_dir() and folder.name not in names:
            shutil.rmtree(folder)


def source_digest(job: SourceJob) -> str:
    """Return the digest of everything that decides a source's records."""
    code = [
        *(CODE / f"{name}.py" for name in (*SHARED_CODE, *SCREENING_CODE)),
        CODE / "readers" / f"{job.card.reader}.py",
    ]
    return digest_json(
        {
            "card": job.card.model_dump(mode="json"),
            "reader": find_reader(job.card.reader).VERSION,
            "code": [digest_file(path) for path in (*code, CODE.parent / "records.py")],
            "raw": digest_tree(job.root),
            "settings": [job.max_side, job.shard_bytes, job.burned_in.model_dump(mode="json")],
            "key": keyed_hash(job.secret, "digest of the key"),
        }
    )


def read_sources(jobs: Sequence[SourceJob], *, workers: int, backend: str) -> list[SourceResult]:
    """Bring every source up to date, the largest first; results come in the jobs' order."""
    from joblib import delayed
    from rich.progress import Progress, TimeElapsedColumn

    def size(job: SourceJob) -> int:
        return sum(path.stat().st_size for path in job.root.rglob("*") if path.is_file())

    ordered = sorted(jobs, key=size, reverse=True)
    with Progress(*Progress.get_default_columns(), TimeElapsedColumn()) as progress:
        bar = progress.add_task("sources", total=len(jobs))
        results: dict[str, SourceResult] = {}
        for result in _parallel(workers, backend)(delayed(update_source)(job) for job in ordered):
            results[result.name] = result
            progress.update(bar, advance=1, description=f"read {result.name}")
    return [results[job.card.name] for job in jobs]


def _parallel(workers: int, backend: str) -> Any:
    """Return joblib's pool; ray and dask come from the installed package of that name, or ConfigError."""
    from joblib import Parallel

    if backend not in ("ray", "dask"):
        return Parallel(n_jobs=workers, backend=backend, return_as="generator_unordered", batch_size=1)
    try:
        if backend == "ray":
            importlib.import_module("ray.util.joblib").register_ray()
        else:
            importlib.import_module("distributed").Client()
    except ImportError as error:
        fix = f"pip install {'ray' if backend == 'ray' else 'distributed'}, or gmai configure ingest.backend=loky"
        raise ConfigError(f"backend {backend!r} is not installed", where="ingest.backend", fix=fix) from error
    return Parallel(n_jobs=workers, backend=backend, batch_size=1)


def update_source(job: SourceJob) -> SourceResult:
    """Read one source unless nothing that decides it changed; a ProjectError becomes the result's error."""
    started = time.perf_counter()
    try:
        digest = source_digest(job)
        manifest = _committed(job.output, digest)
        was_kept = manifest is not None
        if manifest is None:
            check_checksums(job.card, job.root)
            with quiet_libraries():
                manifest = _read_source(job, digest)
    except ProjectError as error:
        told = hide_message(str(error), job.root, job.card, job.secret)
        return SourceResult(job.card.name, job.card.modality, error=told)
    return SourceResult(
        job.card.name, job.card.modality, read=manifest["read"], kept=manifest["kept"],
        rejected=manifest["rejected"], digest=digest, seconds=time.perf_counter() - started, was_kept=was_kept,
        privacy=manifest["privacy"],
    )  # fmt: skip


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


def _read_source(job: SourceJob, digest: str) -> dict[str, Any]:
    refused: list[Rejection] = []
    screen = open_screen(job.burned_in)
    with folder_aside(job.output) as scratch, keep_names(job.card, job.private) as names:
        context = ReadContext(max_side=job.max_side, secret=job.secret, names=names)
        with ShardWriter(scratch, record_schema(), shard_bytes=job.shard_bytes) as writer:
            samples = find_reader(job.card.reader).read(job.root, job.card, context)
            told = screen_samples(hide_rejections(samples, job.card, context), screen)
            for row in to_rows(keep_records(told, refused)):
                writer.write(row)
        reasons = Counter(rejection.reason for rejection in refused)
        check_tolerance(job.card, kept=writer.num_rows, reasons=reasons)
        lines = (json.dumps(refusal_row(r), ensure_ascii=False) for r in refused)
        (scratch / "rejected.jsonl").write_text("".join(f"{line}\n" for line in lines))
        manifest = {
            "source": job.card.name, "digest": digest, "read": writer.num_rows + len(refused),
            "kept": writer.num_rows, "rejected": dict(sorted(reasons.items())),
            "privacy": privacy_stamp(job.card, context, screen),
        }  # fmt: skip
        write_json(scratch / "manifest.json", manifest)
    return manifest


def refusal_row(rejection: Rejection) -> dict[str, str]:
    """What `rejected.jsonl` says of a rejection; a hint is there only when the reader gave one."""
    row = {"where": rejection.where, "reason": rejection.reason}
    return {**row, "hint": rejection.hint} if rejection.hint else row


def keep_records(samples: Iterable[Record | Rejection], refused: list[Rejection]) -> Iterator[Record]:
    """Pass records on; put rejections, and records whose id was seen before, into `refused`."""
    seen: set[str] = set()
    for sample in samples:
        if isinstance(sample, Rejection):
            refused.append(sample)
        elif sample.record_id in seen:
            refused.append(Rejection(sample.source_path, "record_id_repeated"))
        else:
            seen.add(sample.record_id)
            yield sample


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


def raise_failures(results: Sequence[SourceResult]) -> None:
    """Raise DataError with every failed source's message; the good ones are committed by now."""
    failed = [result for result in results if result.error]
    if failed:
        told = "\n".join(result.error for result in failed)
        names = ", ".join(result.name for result in failed)
        raise DataError(f"{len(failed)} of {len(results)} sources failed: {names}\n{told}", fix="gmai sources")


def check_patients(records: Path) -> None:
    """Raise DataError when one patient's records are in two splits, in one source or across sources."""
    table = read_table(records, ["patient_key", "split", "source"])
    first: dict[str, tuple[str, str]] = {}
    for row in table.group_by(["patient_key", "split", "source"]).aggregate([]).to_pylist():
        split, source = first.setdefault(row["patient_key"], (row["split"], row["source"]))
        if split != row["split"]:
            where = f"conf/sources/{source}.yaml and conf/sources/{row['source']}.yaml"
            raise DataError(
                f"one patient is in {split} and in {row['split']}", where=where, fix="mend the split rule"
            )


def summary(result: SourceResult) -> dict[str, Any]:
    """What the stage's manifest says of a source: the same whether it was read or kept."""
    return {
        "digest": result.digest, "read": result.read, "kept": result.kept, "rejected": result.rejected,
        "privacy": result.privacy,
    }  # fmt: skip


def origin_of(card: Card) -> dict[str, Any]:
    """What the stage's manifest says of where a source comes from and what may be done with it."""
    return {
        "url": card.url, "revision": card.revision, "licence": card.licence, "terms": card.terms.model_dump(),
    }  # fmt: skip


def print_results(results: Sequence[SourceResult]) -> None:
    """Print what became of each source."""
    from rich.console import Console
    from rich.table import Table

    table = Table("source", "modality", "read", "kept", "rejected", "seconds", "", title="ingest")
    table.caption = PUBLIC_KEY_WARNING if load_secrets().has_public_key else None
    table.columns[-1].no_wrap = True
    for r in results:
        state = "[red]failed[/]" if r.error else "[dim]not read again[/]" if r.was_kept else "read"
        refused = str(sum(r.rejected.values()))
        table.add_row(r.name, r.modality, str(r.read), str(r.kept), refused, f"{r.seconds:.1f}", state)
    Console().print(table)


def log_contact_sheet(records: Path, run: Any, cards: Sequence[Card]) -> None:
    """Hand the run a picture of sample images with their labels and boxes, of the sources that may be there."""
    import tempfile

    from components.data.contact_sheet import draw_contact_sheet

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "records.png"
        withheld = withheld_sources(run, cards)
        path.write_bytes(draw_contact_sheet(records, without=withheld))
        say_withheld(run, withheld)
        run.log_artifact(path)
