"""Scores of one answer, each 0-1 and better when greater: IoU of boxes, ROUGE-L and BLEU-4 of texts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from components.records import Box

COCO_BETA = 1.2
WORDS = re.compile(r"[a-z0-9]+(?:\.[0-9]+)?|[\u3400-\u9fff]")


def iou(left: Box, right: Box) -> float:
    """Return intersection over union of two boxes (left, top, right, bottom)."""
    width = min(left[2], right[2]) - max(left[0], right[0])
    height = min(left[3], right[3]) - max(left[1], right[1])
    shared = max(0.0, width) * max(0.0, height)
    union = _area(left) + _area(right) - shared
    return shared / union if union > 0 else 0.0


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def matched_iou(predicted: Sequence[Box], gold: Sequence[Box]) -> float:
    """Match boxes one to one, best overlap first; return the sum of IoUs over the larger number of boxes.

    A box too many costs as much as a box missed.
    """
    overlaps = sorted(
        ((iou(p, g), i, j) for i, p in enumerate(predicted) for j, g in enumerate(gold)),
        key=lambda row: (-row[0], row[1], row[2]),
    )
    total, used_predicted, used_gold = 0.0, set(), set()
    for overlap, i, j in overlaps:
        if i not in used_predicted and j not in used_gold:
            total += overlap
            used_predicted.add(i)
            used_gold.add(j)
    return total / max(len(predicted), len(gold), 1)


def tokenise(text: str) -> list[str]:
    """Split into lower-case words and numbers; Chinese by character."""
    return WORDS.findall(text.lower())


class _Words:
    """The tokeniser in the form rouge-score asks for."""

    def tokenize(self, text: str) -> list[str]:
        return tokenise(text)


@cache
def _rouge() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], tokenizer=_Words())


@cache
def _bleu(language: str) -> Any:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(effective_order=True, lowercase=True, tokenize="zh" if language == "zh" else "13a")


def rouge_l(predicted: str, reference: str) -> float:
    """Return ROUGE-L's F-measure with beta 1 (google-research/rouge), on the words of `tokenise`."""
    return float(_rouge().score(reference, predicted)["rougeL"].fmeasure)


def coco_rouge_l(predicted: str, reference: str) -> float:
    """Return ROUGE-L as pycocoevalcap and so R2Gen print it, for one reference; words are those of `tokenise`.

    F = (1 + b^2) P R / (R + b^2 P) with b = 1.2 (pycocoevalcap/rouge/rouge.py), so that recall weighs more than
    in `rouge_l`, where b = 1 (Lin 2004). With several references pycocoevalcap takes the best P and the best R.
    """
    said, wanted = tokenise(predicted), tokenise(reference)
    shared = _longest_common(said, wanted)
    if not shared:
        return 0.0
    precision, recall = shared / len(said), shared / len(wanted)
    return (1 + COCO_BETA**2) * precision * recall / (recall + COCO_BETA**2 * precision)


def _longest_common(left: Sequence[str], right: Sequence[str]) -> int:
    """Return the length of the longest common subsequence, row by row."""
    row = [0] * (len(right) + 1)
    for word in left:
        corner = 0
        for place, other in enumerate(right, start=1):
            above = row[place]
            row[place] = corner + 1 if word == other else max(above, row[place - 1])
            corner = above
    return row[-1]


def bleu_4(predicted: str, reference: str, language: str) -> float:
    """Return sacrebleu's sentence BLEU-4 (effective order, exponential smoothing) as 0-1."""
    return float(_bleu(language).sentence_score(predicted, [reference]).score) / 100.0


def overlap_f1(left: Sequence[str], right: Sequence[str]) -> float:
    """Return the F1 of two bags of words, the cheap likeness that chooses a typical caption."""
    from collections import Counter

    shared = sum((Counter(left) & Counter(right)).values())
    return 2 * shared / (len(left) + len(right)) if left or right else 0.0
