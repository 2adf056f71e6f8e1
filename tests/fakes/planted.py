"""What a fake source holds, so that a test can ask a reader for exactly that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from components.data.card import Card
from components.data.reading import split_of
from components.records import Box
from tests.fakes.sources import write_dicom

Names = Mapping[str, str]
WIDTH, HEIGHT, CELL = 48, 40, 8  # objects fill whole 8 x 8 cells, which even a JPEG keeps exactly


@dataclass(frozen=True)
class Planted:
    """What a reader must find: whole-image labels, regions as (label, side), boxes, texts, (question, answer)."""

    labels: frozenset[str] = frozenset()
    regions: frozenset[tuple[str, str]] = frozenset()
    boxes: frozenset[tuple[str, Box]] = frozenset()
    has_masks: bool = False
    texts: frozenset[str] = frozenset()
    questions: frozenset[tuple[str, str]] = frozenset()
    splits: frozenset[str] = frozenset()


def named(text: str, number: int, **values: str) -> str:
    """Put a sample's number and other values into a published name; other braces stay."""
    for name, value in {"n": str(number), **values}.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def shade(number: int) -> np.ndarray:
    """A picture that no other number gives: uint8 (HEIGHT, WIDTH, 3)."""
    picture = np.random.default_rng(number).integers(0, 256, (HEIGHT // CELL, WIDTH // CELL, 3), dtype=np.uint8)
    return picture.repeat(CELL, axis=0).repeat(CELL, axis=1)


def save_picture(path: Path, pixels: np.ndarray) -> None:
    """Write a picture in the format of its ending, JPEG at its best; DICOM as grey intensities."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".dcm":
        write_dicom(path, 4 * pixels[..., 0].astype(np.int16))
        return
    is_jpeg = path.suffix.lower() in (".jpg", ".jpeg")
    Image.fromarray(pixels).save(path, **({"quality": 100, "subsampling": 0} if is_jpeg else {}))


def cell(place: int) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of the n-th cell in pixels, from the second row and column on."""
    columns = WIDTH // CELL - 1
    top, left = (1 + place // columns) * CELL, (1 + place % columns) * CELL
    assert top < HEIGHT, f"no room for object {place}"
    return top, left, top + CELL, left + CELL


def box_of_cell(place: int) -> Box:
    """The cell's box in shares of width and height."""
    top, left, bottom, right = cell(place)
    return left / WIDTH, top / HEIGHT, right / WIDTH, bottom / HEIGHT


def fixed_splits(card: Card, paths: list[str]) -> frozenset[str]:
    """The splits that the card's own rule gives to these paths; none for a rule by patient."""
    return frozenset(split_of(card, path, "") for path in paths) if card.split.rule == "fixed" else frozenset()
