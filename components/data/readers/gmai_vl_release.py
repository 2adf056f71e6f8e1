"""The release of GMAI-VL-5.5M: JSONL of conversations, and zips whose members lack the leading `images/`.

Layout as published (https://huggingface.co/datasets/General-Medical-AI/GMAI-VL-5.5M): each half has
`annotations/*.jsonl`; the open half has `zips/images_chunk_*.zip` and two text-only files; the images of the
other half are fetched by its user and lie as files under their `image` path. The source data set is part 4 of
that path (`images/2d/cls/histopathology/crc100k/…`), which makes every row traceable; it is kept as a fact.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field

from components.data.card import Card
from components.data.dialogue import read_dialogue
from components.data.faults import Refused
from components.data.reading import ReadContext, Rejection, parse_options
from components.data.row_files import Row, Table, iterate_tables
from components.data.row_mapping import (
    Statement,
    check_path,
    plain_text,
    with_language,
)
from components.data.text_records import join_images
from components.errors import CardInvalid
from components.records import Department, Modality, PairKind, Record
from components.settings import Frozen, Words

VERSION = 1
PORTIONS = True
FOLDER = "images/"
SOURCE_FACT = "source data set"
KINDS: dict[str, PairKind] = {
    "Caption": "caption", "Instrunct": "instruct", "Instruct": "instruct", "Percept": "percept",
    "Text": "text_only",
}  # fmt: skip
MODALITIES: dict[str, Modality] = {
    "ct": "CT", "mr": "MR", "mri": "MR", "mr_t1": "MR", "mr_t2": "MR", "x_ray": "X-ray", "xray": "X-ray",
    "x-ray": "X-ray", "dr": "X-ray", "ultrasound": "Ultrasound", "us": "Ultrasound", "pet": "PET",
    "endoscopy": "Endoscopy", "histopathology": "Pathology", "pathology": "Pathology", "microscopy": "Microscopy",
    "fundus": "Fundus", "fundus_photography": "Fundus", "oct": "OCT", "dermoscopy": "Dermoscopy",
    "infrared_reflectance": "Infrared reflectance", "ophthalmoscope": "Ophthalmoscope",
}  # fmt: skip


class Options(Frozen):
    """Which files of the release are read, and what its folders are called here."""

    annotations: Words = Field(
        default=("annotations/*.jsonl",), min_length=1, description="globs of the conversations"
    )
    zips: Words = Field(
        default=("zips/images_chunk_*.zip",),
        description="globs of the zips of images; empty for the non-open half, whose images lie as files",
    )
    kinds: dict[str, PairKind] = Field(
        default_factory=lambda: dict(KINDS), description="part of an annotation file's name -> kind of its pairs"
    )
    modalities: dict[str, Modality] = Field(
        default_factory=lambda: dict(MODALITIES), description="path part 3, in lower case -> modality"
    )
    departments: dict[str, Department] = Field(
        default_factory=dict, description="source data set -> department; others have the card's"
    )
    data_sets: Words = Field(
        default=(), description="source data sets that are read, by path part 4; empty reads all"
    )


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield a record an image with all its conversations, then a record a text-only row."""
    options = parse_options(Options, card)
    tables = tuple(Table(file=pattern, form="jsonl") for pattern in options.annotations)
    rows = iterate_tables(root, tables, needed=())
    stated = (row if isinstance(row, Rejection) else _state(row, options) for row in rows)
    statements = (one for one in stated if one is not None)
    yield from join_images(statements, root, card, context, archives=options.zips)


def _state(row: Row, options: Options) -> Statement | Rejection | None:
    """Read one row; None for a data set that the card leaves out."""
    kind = _kind(row.where, options)
    try:
        image = _image(row.values)
        _, data_set = origin = _origin(row.values, image)
        if image and options.data_sets and data_set not in options.data_sets:
            return None
        questions = read_dialogue(
            row.values.get("conversations"), kind=kind if image else "text_only", num_images=int(bool(image))
        )
        statement = Statement(
            where=row.where, images=(_stored(image, options),) if image else (), questions=questions,
            modality=_modality(origin[0], options) if image else "",
            department=options.departments.get(data_set, ""),
            facts=((SOURCE_FACT, data_set),) if data_set else (),
        )  # fmt: skip
    except Refused as fault:
        return Rejection(row.where, fault.reason)
    return with_language(statement, questions[0].question + questions[0].answer)


def _kind(where: str, options: Options) -> PairKind:
    name = Path(where.partition("#")[0]).name
    found = next((kind for part, kind in options.kinds.items() if part in name), None)
    if found is None:
        raise CardInvalid(f"no kind is named for {name}", where=where, fix="mend `kinds` in the card")
    return found


def _image(values: dict[str, Any]) -> str:
    image = values.get("image")
    if isinstance(image, list) and len(image) == 1:
        image = image[0]
    if image in (None, "", []):
        return ""
    if not isinstance(image, str):
        raise Refused("image_not_named")
    return check_path(plain_text(image, fault="image_not_named"))


def _stored(image: str, options: Options) -> str:
    return image.removeprefix(FOLDER) if options.zips else image


def _origin(values: dict[str, Any], image: str) -> tuple[str, str]:
    """Return (folder of the modality, source data set), from the path or, where it is bare, from the id."""
    parts = image.removeprefix(FOLDER).split("/")
    if len(parts) < 5:
        parts = plain_text(values.get("id"), fault="column_not_text").split("#")
    if len(parts) >= 5:
        return parts[2], parts[3]
    if image:
        raise Refused("source_data_set_unknown")
    return "", ""


def _modality(folder: str, options: Options) -> Modality:
    found = options.modalities.get(folder.lower())
    if found is None:
        raise Refused("modality_not_mapped")
    return found
