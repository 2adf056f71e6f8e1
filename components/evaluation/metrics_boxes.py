"""Scores of many boxes: average precision as in PASCAL VOC 2010 and COCO, and pointing accuracy.

A model that writes boxes as text gives no confidence; then the order in which it writes them stands for it
within an answer, and answers rank by their confidence where there is one.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from components.evaluation.metrics import iou
from components.records import Box

TOLERANCE = 1e-9  # 0.12 / 0.16 is a hair below 0.75 in binary
COCO_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))


@dataclass(frozen=True, slots=True)
class Detection:
    """One predicted box in one image."""

    image: str
    box: Box
    confidence: float


def average_precision(
    detections: Sequence[Detection], gold: Mapping[str, Sequence[Box]], threshold: float
) -> float:
    """Return the area under precision over recall for one label, precision made monotone (all points).

    Args:
        detections: of all images.
        gold: image -> its boxes; an image without any is given with none, so that its false alarms count.
        threshold: the least IoU that counts as found; a gold box is found once, by the most confident.

    Returns:
        0-1, or nan when no image has a gold box.
    """
    total = sum(len(boxes) for boxes in gold.values())
    if not total:
        return math.nan
    ranked = sorted(enumerate(detections), key=lambda row: (-row[1].confidence, row[0]))
    used: defaultdict[str, set[int]] = defaultdict(set)
    hits = np.array([_claims(detection, gold, threshold, used) for _, detection in ranked], dtype=float)
    if not hits.size:
        return 0.0
    found = np.cumsum(hits)
    precision = found / np.arange(1, len(hits) + 1)
    monotone = np.maximum.accumulate(precision[::-1])[::-1]
    return float((monotone * hits).sum() / total)


def _claims(
    detection: Detection, gold: Mapping[str, Sequence[Box]], threshold: float, used: Mapping[str, set[int]]
) -> bool:
    taken = used[detection.image]
    overlaps = [
        (iou(detection.box, box), -index)
        for index, box in enumerate(gold.get(detection.image, ()))
        if index not in taken
    ]
    best, place = max(overlaps, default=(0.0, 0))
    if best < threshold - TOLERANCE:
        return False
    taken.add(-place)
    return True


def mean_average_precision(
    detections: Mapping[str, Sequence[Detection]],
    gold: Mapping[str, Mapping[str, Sequence[Box]]],
    *,
    thresholds: Sequence[float],
) -> float:
    """Return the mean of average precision over labels and thresholds; labels without a gold box are left out."""
    values = [
        average_precision(detections.get(label, ()), images, threshold)
        for label, images in sorted(gold.items())
        for threshold in thresholds
    ]
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def centre(box: Box) -> tuple[float, float]:
    """Return a box's centre."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def is_pointing_hit(point: tuple[float, float], boxes: Sequence[Box]) -> bool:
    """Tell whether a point (0-1) lies in any of the boxes, edges included (Zhang et al., IJCV 2018)."""
    across, down = point
    return any(left <= across <= right and top <= down <= bottom for left, top, right, bottom in boxes)


def pointing_chance(boxes: Sequence[Box]) -> float:
    """Return the chance that a point thrown at the image hits: the area of the boxes' union."""
    across = sorted({edge for box in boxes for edge in (box[0], box[2])})
    down = sorted({edge for box in boxes for edge in (box[1], box[3])})
    return sum(
        (right - left) * (bottom - top)
        for left, right in zip(across, across[1:], strict=False)
        for top, bottom in zip(down, down[1:], strict=False)
        if is_pointing_hit(((left + right) / 2, (top + bottom) / 2), boxes)
    )
