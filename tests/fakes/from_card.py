"""A tiny source in the file tree that a card describes, for any card: one builder a family of readers.

`build(root, card)` writes two or three samples and returns what was planted in them. File names come from the
card's templates; where a card asks for names of a certain form (a patient's number, a class in the file's
name), `card_names.yaml` gives one of the published form.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from components.data.card import Card
from tests.fakes.card_pictures import (
    build_class_folders,
    build_coco,
    build_frames,
    build_masks,
    build_table,
    build_voc,
    build_yolo,
)
from tests.fakes.card_scans import build_segmentation, build_slides
from tests.fakes.card_texts import (
    build_captions,
    build_conversations,
    build_parquet,
    build_questions,
    build_release,
    build_reports,
)
from tests.fakes.card_volumes import build_cases, build_plain
from tests.fakes.planted import Names, Planted

BUILDERS: dict[str, Callable[[Path, Card, Names], Planted]] = {
    "nifti_cases": build_cases,
    "plain_volumes": build_plain,
    "dicom_seg": build_segmentation,
    "slide_annotations": build_slides,
    "folder_classes": build_class_folders,
    "label_table": build_table,
    "mask_images": build_masks,
    "voc_xml": build_voc,
    "yolo": build_yolo,
    "coco": build_coco,
    "video_frames": build_frames,
    "captions": build_captions,
    "vqa": build_questions,
    "conversations": build_conversations,
    "report_tables": build_reports,
    "gmai_vl_release": build_release,
    "hf_parquet": build_parquet,
}


@functools.cache
def published_names() -> dict[str, dict[str, str]]:
    """Names of published files, by card: captured name (or `path`) -> text with {n} where samples differ."""
    loaded: Any = yaml.load(Path(__file__).with_name("card_names.yaml").read_text(), Loader=yaml.CSafeLoader)
    return loaded


def build(root: Path, card: Card) -> Planted:
    """Write a fake of a card's source below `root`; KeyError when no builder knows its reader."""
    root.mkdir(parents=True, exist_ok=True)
    return BUILDERS[card.reader](root, card, published_names().get(card.name, {}))
