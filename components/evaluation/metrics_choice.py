"""Scores of decisions over many items: AUROC, sensitivity, specificity, calibration.

Where a class is absent the number is not defined, and is nan rather than 0 or 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

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


def expected_calibration_error(
    confidences: Sequence[float], are_right: Sequence[bool], *, num_bins: int = NUM_BINS
) -> float:
    """Return the mean gap of confidence and accuracy over equal bins of confidence (Naeini et al., AAAI 2015).

    Bins are (low, high], the first one closed; each weighs by its items. Smaller is better.
    """
    if not confidences:
        return math.nan
    bins: dict[int, list[tuple[float, bool]]] = {}
    for confidence, is_right in zip(confidences, are_right, strict=True):
        index = min(max(math.ceil(confidence * num_bins) - 1, 0), num_bins - 1)
        bins.setdefault(index, []).append((confidence, is_right))
    gaps = (abs(sum(c for c, _ in rows) - sum(right for _, right in rows)) for rows in bins.values())
    return sum(gaps) / len(confidences)
