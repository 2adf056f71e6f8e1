"""The studies of MIMIC-CXR by its published tables: which images, which report, which split.

Layout (https://physionet.org/content/mimic-cxr-jpg/): `files/p10/p10000032/s50414267/<dicom_id>.jpg`, the report
in `files/p10/p10000032/s50414267.txt`, and CSV tables (also .gz) of splits and of metadata, a row an image.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from pydantic import Field

from components.data.reading import Rejection
from components.data.row_files import Row, Table, iterate_tables
from components.data.row_mapping import SPLITS
from components.settings import Frozen, Words

DIGITS = re.compile(r"^\d{2,12}$")
NAME = re.compile(r"^[\w\-]+$")
SPLIT_COLUMNS = ("dicom_id", "study_id", "subject_id", "split")
METADATA_COLUMNS = ("dicom_id", "ViewPosition")


class MimicStudies(Frozen):
    """The names of the folders and tables."""

    folder: str = Field(default="files", description="folder of the patients' folders")
    ending: str = Field(default=".jpg", description="ending of the images")
    split_table: str = Field(default="mimic-cxr-2.0.0-split.csv*", description="glob of the table of splits")
    metadata_table: str = Field(
        default="mimic-cxr-2.0.0-metadata.csv*", description="glob of the table of views; empty reads none"
    )
    views: Words = Field(
        default=(), description="ViewPosition values that are read (PA, AP, LATERAL, …); empty reads all"
    )


@dataclass(frozen=True, slots=True)
class Study:
    """One study with its report's path its images' paths and views, in the table's order."""

    subject: str
    study: str
    split: str
    report: str
    images: tuple[str, ...]
    views: tuple[str, ...]


def iterate_studies(root: Path, names: MimicStudies) -> Iterator[Study | Rejection]:
    """Yield each study of the split table, whose rows of one study follow each other as published.

    Raises:
        CardInvalid: a table lacks its published columns.
        DatasetMissing: a table is absent.
    """
    views, malformed = _views(root, names)
    yield from malformed
    rows = iterate_tables(root, (Table(file=names.split_table, form="delimited"),), needed=SPLIT_COLUMNS)
    for _, group in groupby(rows, key=_study_of):
        images = []
        for row in group:
            reason = row.reason if isinstance(row, Rejection) else _fault(row)
            if isinstance(row, Rejection) or reason:
                yield Rejection(row.where, reason)
            elif not names.views or views.get(row.values["dicom_id"]) in names.views:
                images.append(row)
        if images:
            yield _study(images, names, views)


def _views(root: Path, names: MimicStudies) -> tuple[dict[str, str], list[Rejection]]:
    """Return {picture: view} and what of the table could not be read."""
    if not names.metadata_table:
        return {}, []
    table = Table(file=names.metadata_table, form="delimited")
    rows = list(iterate_tables(root, (table,), needed=METADATA_COLUMNS))
    views = {row.values["dicom_id"]: row.values["ViewPosition"] for row in rows if isinstance(row, Row)}
    return views, [row for row in rows if isinstance(row, Rejection)]


def _study_of(row: Row | Rejection) -> tuple[str, str]:
    return ("", row.where) if isinstance(row, Rejection) else (row.values["subject_id"], row.values["study_id"])


def _fault(row: Row) -> str:
    ids = (row.values["subject_id"], row.values["study_id"])
    if not all(DIGITS.match(one) for one in ids) or not NAME.match(row.values["dicom_id"]):
        return "id_malformed"
    return "" if row.values["split"] in SPLITS else "split_unknown"


def _study(rows: list[Row], names: MimicStudies, views: dict[str, str]) -> Study:
    first = rows[0].values
    subject, study = first["subject_id"], first["study_id"]
    folder = f"{names.folder}/p{subject[:2]}/p{subject}/s{study}"
    return Study(
        subject, study, SPLITS[first["split"]], f"{folder}.txt",
        tuple(f"{folder}/{row.values['dicom_id']}{names.ending}" for row in rows),
        tuple(views.get(row.values["dicom_id"], "") for row in rows),
    )  # fmt: skip
