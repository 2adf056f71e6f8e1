"""Fakes of DICOM segmentations and of annotated slides, as a card's options ask."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from components.data.card import Card
from components.data.readers import slide_annotations
from tests.fakes.card_pictures import term_sides
from tests.fakes.card_volumes import fill
from tests.fakes.formats_volumes import tissue, write_asap, write_seg, write_series, write_slide
from tests.fakes.planted import Names, Planted
from tests.fakes.sources import BODY_LABELS, KIDNEY, LIVER

AREA = 64


def build_segmentation(root: Path, card: Card, names: Names) -> Planted:
    """Write a series and a SEG of at most two segments, labelled as the card maps them."""
    words = [word for word in card.label_map if card.label_map[word]][:2]
    shown = np.where(BODY_LABELS == KIDNEY, KIDNEY if len(words) > 1 else 0, BODY_LABELS)
    kind = {"CT": "CT", "MR": "MR"}[card.modality]
    for number in (1, 2):
        write_series(root / f"P-{number}" / "series", f"P-{number}.ct", Modality=kind)
        path = root / f"P-{number}" / "segmentation" / "1-1.dcm"
        write_seg(path, f"P-{number}.ct", np.where(shown == LIVER, LIVER, shown))
        _name_segments(path, words)
    return Planted(regions=term_sides(card, words), has_masks=True)


def _name_segments(path: Path, words: list[str]) -> None:
    from pydicom import dcmread

    dataset = dcmread(path)
    segments = list(dataset.SegmentSequence)[: len(words)]
    for segment, word in zip(segments, words, strict=True):
        segment.SegmentLabel = word
    dataset.SegmentSequence = segments
    dataset.save_as(path)


def build_slides(root: Path, card: Card, names: Names) -> Planted:
    """Write two slides of one tile with every label in an area of its own."""
    import tifffile

    options = slide_annotations.Options.model_validate(card.options)
    words = [word for word, term in card.label_map.items() if term]
    for number in (1, 2):
        known = {"case": f"slide{number}"}
        path = root / fill(options.slides, known)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_slide(path, tissue(options.side, options.side))
        if "{label" not in options.annotations:
            outlines = {word: _outline(place) for place, word in enumerate(words)}
            write_asap(root / fill(options.annotations, known), **outlines)
            continue
        for place, word in enumerate(words):
            mask = np.zeros((options.side, options.side), dtype=np.uint8)
            (left, top), _, (right, bottom), _ = _outline(place)
            mask[top:bottom, left:right] = 1
            file = root / fill(options.annotations, {**known, "label": word})
            file.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(file, mask, tile=(64, 64))
    return Planted(regions=term_sides(card, words), has_masks=True)


def _outline(place: int) -> tuple[tuple[int, int], ...]:
    left, top = 10 + (place % 3) * 2 * AREA, 10 + (place // 3) * 2 * AREA
    return (left, top), (left + AREA, top), (left + AREA, top + AREA), (left, top + AREA)
