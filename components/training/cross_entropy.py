"""The cross-entropy of each supervised position, with few rows of the vocabulary in float32 at a time.

torch's own holds the logits in float32, their log-probabilities, the gradient of those and the gradient of the
logits: four arrays of K x V, 100 MB each for 500 positions of SmolLM2. Here a slice of rows is taken through all
of that and the next one reuses its memory. The same kernels see the same rows, so losses and gradients are the
same bits (tested). K supervised positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

ROWS = 16  # rows of float32 at a time: 3 MB of SmolLM2's vocabulary; 20 ms for 465 rows there and back, 25 with 32


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return -log p of each label in float32, (K,), from logits (K, V) of any floating type and labels (K,)."""
    return _SlicedCrossEntropy.apply(logits, labels)


def _slices(rows: int) -> Iterator[slice]:
    return (slice(start, start + ROWS) for start in range(0, rows, ROWS))


class _SlicedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(logits, labels)
        losses = torch.empty(len(logits), dtype=torch.float32, device=logits.device)
        for rows in _slices(len(logits)):
            logarithms = torch.log_softmax(logits[rows], dim=-1, dtype=torch.float32)
            losses[rows] = -logarithms.gather(1, labels[rows, None]).squeeze(1)
        return losses

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        logits, labels = ctx.saved_tensors
        of_losses = gradients[0].float()
        found = torch.empty_like(logits)
        asked = torch.zeros(min(ROWS, len(logits)), logits.shape[-1], device=logits.device)
        for rows in _slices(len(logits)):
            logarithms = torch.log_softmax(logits[rows], dim=-1, dtype=torch.float32)
            places, of_labels = labels[rows, None], asked[: len(logarithms)]
            of_labels.scatter_(1, places, -of_losses[rows, None])
            found[rows] = torch.ops.aten._log_softmax_backward_data(of_labels, logarithms, -1, torch.float32)
            of_labels.scatter_(1, places, 0.0)
        return found, None
