"""Scores of decisions over many items: AUROC, sensitivity, specificity, calibration.

Where a class is absent the number is not defined, and is nan rather than 0 or 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

NUM_BINS = 10


def auroc(scores: Sequence[float], positives: Sequence[bool]) -> float:
    """Return the area under the ROC curve (scikit-learn), ties counted half; nan with one class only."""
    if len(set(positives)) < 2:
        return math.nan
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(list(positives), list(scores)))


def sensitivity(said: Sequence[bool | None], positives: Sequence[bool]) -> float:
    """Return the share of positives that were called so; an unread answer (None) did not call it."""
    calls = [call is True for call, positive in zip(said, positives, strict=True) if positive]
    return sum(calls) / len(calls) if calls else math.nan


def specificity(said: Sequence[bool | None], positives: Sequence[bool]) -> float:
    """Return the share of negatives that were called so; an unread answer (None) did not call it."""
    calls = [call is False for call, positive in zip(said, positives, strict=True) if not positive]
    return sum(calls) / len(calls) if calls else math.nan


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers of like confidence: their mean confidence, the share that is right, their number."""

    confidence: float
    accuracy: float
    n: int


def calibration_bins(
    confidences: Sequence[float], are_right: Sequence[float], *, num_bins: int = NUM_BINS
) -> list[Bin]:
    """Return the bins in use, in order: (low, high], the first one closed (Guo et al., ICML 2017, section 3)."""
    bins: dict[int, list[tuple[float, float]]] = {}
    for confidence, is_right in zip(confidences, are_right, strict=True):
        index = min(max(math.ceil(confidence * num_bins) - 1, 0), num_bins - 1)
        bins.setdefault(index, []).append((confidence, float(is_right)))
    return [
        Bin(sum(c for c, _ in rows) / len(rows), sum(right for _, right in rows) / len(rows), len(rows))
        for _, rows in sorted(bins.items())
    ]


def calibration_gap(bins: Iterable[Bin]) -> float:
    """Return the mean gap of confidence and accuracy, each bin weighing by its items; nan without any."""
    kept = list(bins)
    total = sum(one.n for one in kept)
    return sum(one.n * abs(one.confidence - one.accuracy) for one in kept) / total if total else math.nan


def expected_calibration_error(
    confidences: Sequence[float], are_right: Sequence[float], *, num_bins: int = NUM_BINS
) -> float:
    """Return the expected calibration error (Naeini et al., AAAI 2015), the one that all of this room prints.

    Smaller is better; nan without answers that have a confidence.
    """
    return calibration_gap(calibration_bins(confidences, are_right, num_bins=num_bins))
