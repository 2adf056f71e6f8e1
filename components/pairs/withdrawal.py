"""Tombstones: patients and sources that were withdrawn, and are left out of every corpus from then on.

`conf/withdrawn.yaml` is the list: `gmai withdraw` adds to it by rename, git keeps its history, and DVC sees it as
an input of curation, so the next run leaves the withdrawn images and their pairs out, counted under their reason.
Patients are named by their keyed hash, as records do. Nothing is ever taken off the list by this project.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from pydantic import Field, ValidationError

from components.errors import DataError
from components.pairs.columns import positions
from components.pairs.dedupe import Reasons, no_reasons
from components.settings import Frozen
from components.tracking.commit import write_bytes

if TYPE_CHECKING:
    import pyarrow as pa

TOMBSTONES = Path("conf/withdrawn.yaml")
PATIENT, SOURCE = "patient_withdrawn", "source_withdrawn"


class Withdrawn(Frozen):
    """Everything that was withdrawn, sorted."""

    patients: tuple[str, ...] = Field(default=(), description="patient keys, as records hold them")
    sources: tuple[str, ...] = Field(default=(), description="names of cards")


def load_withdrawn(path: Path = TOMBSTONES) -> Withdrawn:
    """Read the list; an absent one is empty.

    Raises:
        DataError: it is not what this module writes. A list that cannot be read must not be taken for empty.
    """
    if not path.is_file():
        return Withdrawn()
    try:
        return Withdrawn.model_validate(yaml.safe_load(path.read_text()))
    except (yaml.YAMLError, UnicodeDecodeError, ValidationError) as error:
        raise DataError(
            f"not a list of withdrawals: {error}", where=str(path), fix=f"git log -p {path}"
        ) from error


def check_named(*, patient: str, source: str) -> None:
    """Raise DataError when neither a patient nor a source is named."""
    if not patient and not source:
        raise DataError(
            "nothing to withdraw", fix="gmai withdraw --patient KEY, --patient-id ID, or --source NAME"
        )


def add_withdrawn(*, patient: str = "", source: str = "", path: Path = TOMBSTONES) -> Withdrawn:
    """Add a patient, a source or both to the list, by rename; return the whole list.

    Raises:
        DataError: neither is given.
    """
    check_named(patient=patient, source=source)
    known = load_withdrawn(path)
    grown = Withdrawn(
        patients=tuple(sorted({*known.patients, *([patient] if patient else [])})),
        sources=tuple(sorted({*known.sources, *([source] if source else [])})),
    )
    content = yaml.safe_dump({"patients": list(grown.patients), "sources": list(grown.sources)})
    write_bytes(path, content.encode())
    return grown


def withdrawn_reasons(images: pa.Table, withdrawn: Withdrawn) -> Reasons:
    """Return why each image is left out for a withdrawal, "" where it is not."""
    reasons = no_reasons(len(images))
    reasons[_is_one_of(images["patient_key"], withdrawn.patients)] = PATIENT
    reasons[_is_one_of(images["source"], withdrawn.sources)] = SOURCE
    return reasons


def _is_one_of(column: Any, known: tuple[str, ...]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return positions(column, known) >= 0
