"""Withdraw a patient or a source: write the tombstone, and list the models whose training saw them.

A model that saw withdrawn data keeps it in its weights: it is named here with its stages and versions, so that
somebody decides about it; the next run of the pipeline trains without. A patient's own id is hashed as ingest
hashes it, and then forgotten. What is only remembered about images, and pages with pictures, is removed at once;
the next run takes the images themselves out of the records. Where they may still be is said.
"""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.data.catalog import CARDS, card_files, survey_cards
from components.data.deidentify import keyed_hash
from components.data.source_page import PAGES
from components.data.tombstones import TOMBSTONES, add_withdrawn, check_named
from components.errors import DataError
from components.quality.check import FAILED_REPORTS
from components.registry.trace import TracedStage, stages_that_saw
from components.settings import Settings, load_secrets
from components.tracking.tables import shards_below
from components.training.pack import FEATURES

ELSEWHERE = (
    "images may still be: in the files below data/ (remove them), in what DVC keeps of earlier runs (after the "
    "next run: dvc gc --workspace), in the pages of earlier MLflow runs (contact sheets, pairs, quality: delete "
    "those runs, then: mlflow gc)"
)


@dataclass(frozen=True)
class Withdrawal:
    """What is withdrawn: how many records, and the training stages that saw them.

    `untold` says why the stages cannot be known, where models are here and what they were trained on is not.
    """

    num_records: int
    stages: tuple[TracedStage, ...]
    untold: str = ""
    removed: tuple[str, ...] = ()

    @property
    def versions(self) -> tuple[str, ...]:
        """The model versions whose weights descend from a stage that saw them."""
        return tuple(sorted({version for stage in self.stages for version in stage.versions}, key=int))


def withdraw(settings: Settings, *, patient: str = "", source: str = "", path: Path = TOMBSTONES) -> Withdrawal:
    """Write the tombstone and find the models. A source may be withdrawn before it was ever ingested.

    Raises:
        DataError: neither is given, no record has this patient key, or the source has neither records nor a
            card. Each is looked for by itself; nothing is written then.
    """
    check_named(patient=patient, source=source)
    folder = settings.work_root / "records"
    of_patient = find_records(folder, "patient_key", patient) if patient else frozenset()
    if patient and not of_patient:
        fix = "gmai trace RECORD_ID shows a record; --patient-id takes the patient's own id"
        raise DataError(f"no record here has the patient key {patient!r}", where=str(folder), fix=fix)
    of_source = find_records(folder, "source", source) if source else frozenset()
    if source and not of_source:
        check_card_is_known(source)
    add_withdrawn(patient=patient, source=source, path=path)
    records = of_patient | of_source
    stages, untold = _stages(settings, records)
    return Withdrawal(len(records), stages, untold, forget_pictures(settings))


def forget_pictures(settings: Settings) -> tuple[str, ...]:
    """Remove what this machine keeps beside the pipeline of any image, whoever it is of; return what was there.

    The firewall's memory, features of a frozen tower, pages of source checks and reports: all can be made again.
    """
    memories = (Path(settings.curate.index), FEATURES, PAGES)
    there = [*(path for path in memories if path.is_dir()), *sorted(FAILED_REPORTS.glob("*.html"))]
    for path in there:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return tuple(path.as_posix() for path in there)


def find_records(folder: Path, column: str, value: str) -> frozenset[str]:
    """Return the ids of the records with a value in `patient_key` or `source`; none where nothing is ingested."""
    import pyarrow.dataset as datasets

    if not any(folder.rglob("part-*.parquet")):
        return frozenset()
    table = datasets.dataset([str(path) for path in shards_below(folder)])
    rows = table.to_table(columns=["record_id"], filter=datasets.field(column) == value)
    return frozenset(rows["record_id"].to_pylist())


def check_card_is_known(name: str, folder: Path = CARDS) -> None:
    """Raise DataError, with the near matches, when no card has this name."""
    known = card_files(folder)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        told = f"; near matches: {', '.join(near)}" if near else ""
        raise DataError(
            f"no record and no card has the source {name!r}{told}", where=str(folder), fix="gmai sources"
        )


def patient_key_of(patient_id: str, namespace: str, folder: Path = CARDS) -> str:
    """Return the key that records hold of a patient's own id, hashed with `GMAI_PATIENT_KEY`.

    The id goes nowhere else, not even into an error. The namespace is that of the card's `patient`, by default
    its name.

    Raises:
        DataError: there is no such namespace, or it is not given.
    """
    cards = (found.card for found in survey_cards(folder))
    known = {card.patient.namespace or card.name for card in cards if card}
    if namespace not in known:
        near = difflib.get_close_matches(namespace, sorted(known), n=3)
        told = f"; near matches: {', '.join(near)}" if near else ""
        fix = "--namespace NAME: the card's patient.namespace, or the card's name where it has none"
        raise DataError(f"no card's patients are in the namespace {namespace!r}{told}", where=str(folder), fix=fix)
    return keyed_hash(load_secrets().patient_key.get_secret_value().encode(), namespace, patient_id)


def _stages(settings: Settings, records: frozenset[str]) -> tuple[tuple[TracedStage, ...], str]:
    """Return the stages that saw the records, and why they cannot be known."""
    models = settings.work_root / "models"
    if not records or not any((models / name).is_dir() for name in settings.recipe.stages):
        return (), ""
    try:
        return stages_that_saw(settings, records), ""
    except DataError as error:  # the tombstone is written: what is missing here must not undo that
        return (), f"{error.what} ({error.where})"


def print_withdrawal(
    settings: Settings, *, patient: str = "", source: str = "", patient_id: str = "", namespace: str = ""
) -> None:
    """Withdraw, and print what was found; `patient_id` is hashed first and never printed."""
    from rich.console import Console

    if patient_id and patient:
        raise DataError("name the patient once", fix="either --patient KEY or --patient-id ID --namespace NAME")
    if patient_id:
        patient = patient_key_of(patient_id, namespace)
    done = withdraw(settings, patient=patient, source=source)
    console = Console(soft_wrap=True)
    console.print(
        f"withdrawn: {done.num_records} records, in {TOMBSTONES}; the next run leaves them out: dvc repro"
    )
    console.print(f"removed: {', '.join(done.removed) or 'nothing'}")
    console.print(f"{ELSEWHERE}")
    for line in told(done.stages):
        console.print(line)
    if done.untold:
        console.print(f"which model versions saw them is not known: {done.untold}")
    else:
        console.print(f"model versions that saw them: {', '.join(done.versions) or 'none'}")


def told(stages: Sequence[TracedStage]) -> list[str]:
    """Say of each stage that saw the records in which run and at how many steps."""
    return [
        f"{stage.name} · {f'run {stage.run_id}' if stage.run_id else 'no run known'} · "
        f"{len(stage.packs)} packs at {len(stage.steps)} steps"
        for stage in stages
    ]
