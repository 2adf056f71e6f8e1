"""The ingest stage: each selected source's native files become Parquet shards of records.

A source's folder holds its shards, `rejected.jsonl` and a manifest with the digest of all that decides them
(card, reader and shared code, raw files, ingest settings, patient key). An unchanged source is not read
again, nor is the unchanged part of a large one (`source_update.py`). Sources are read side by side and each is
committed by rename, so what is done survives the failure of the next; a source that fails stops the stage only
after the others are in.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from components.data.card import Card
from components.data.catalog import card_files, load_cards
from components.data.pictures_elsewhere import say_withheld, withheld_sources
from components.data.portions import SourceJob
from components.data.privacy import PUBLIC_KEY_WARNING, check_patient_key
from components.data.source_update import SourceResult, read_sources
from components.data.terms import allowed_cards, strictest_terms
from components.data.tombstones import TOMBSTONES, leave_out, load_withdrawn
from components.errors import DataError, DatasetMissing
from components.settings import Settings, load_secrets
from components.tracking.stage import open_stage
from components.tracking.tables import read_table


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
    inputs += [TOMBSTONES] if TOMBSTONES.is_file() else []
    with open_stage(
        "ingest", settings, output=output, inputs=inputs, sections=["corpus", "ingest"], in_place=True
    ) as work:
        remove_others(work.scratch, [card.name for card in cards])
        jobs = make_jobs(settings, cards, work.scratch)
        ingest = settings.ingest
        results = read_sources(jobs, workers=ingest.jobs, backend=ingest.backend, address=ingest.address)
        results = without_withdrawn(results, work.scratch)
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


def without_withdrawn(results: Sequence[SourceResult], records: Path) -> list[SourceResult]:
    """Take what is withdrawn out of the records and return what became of the sources then."""
    leave_out(records, load_withdrawn())
    return [result if result.error else _counted_again(result, records) for result in results]


def _counted_again(result: SourceResult, records: Path) -> SourceResult:
    manifest = json.loads((records / result.name / "manifest.json").read_text())
    gone = manifest.get("withdrawn", {})
    return replace(result, read=manifest["read"], kept=manifest["kept"], withdrawn=gone)


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
    """Remove the folders of sources that are no longer selected, and what a crash left half written."""
    known = {*names, *(f".{name}.portions" for name in names)}  # portions that are read wait for the others
    for folder in output.iterdir() if output.is_dir() else ():
        if folder.is_dir() and folder.name not in known:
            shutil.rmtree(folder)


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
        **({"withdrawn": dict(result.withdrawn)} if result.withdrawn else {}),
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
        part = f"read {r.portions_read} of {r.portions} portions" if r.portions > 1 else "read"
        state = "[red]failed[/]" if r.error else "[dim]not read again[/]" if r.was_kept else part
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
