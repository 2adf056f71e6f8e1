"""Attention as two matrix products and a softmax, for transformers' own extension point.

torch's fused kernel spares the (L, L) scores, which is what counts on a GPU and in long rows. On a CPU its
backward pass is slow for short rows: 24 ms forward and back at (4, 9, 254, 64) in bfloat16 on two cores, against
9 ms here; 15 ms against 1.5 ms for 48 images of 16 tokens (`benchmarks/training_vs_peers.py` has the whole step).
Heads that share keys are one product, so keys are not repeated.

B batch, H heads, K heads of keys, G = H / K, L queries, S keys, D width of a head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

NAME = "matrix_products"


def matrix_products(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attend from query (B, H, L, D) to key and value (B, K, S, D): (B, L, H, D).

    `attention_mask` (B or 1, 1, L, S) is added to the scores; without one every key is seen, so a causal model
    must hand one in, as transformers' masks do under this name.
    """
    batch, heads, length, width = query.shape
    shared = key.shape[1]
    grouped = (query * (width**-0.5 if scaling is None else scaling)).reshape(batch, shared, -1, width)
    scores = (grouped @ key.transpose(-1, -2)).view(batch, shared, heads // shared, length, -1)
    if attention_mask is not None:
        scores = scores + attention_mask.unsqueeze(2).to(scores.dtype)
    shares = functional.dropout(scores.softmax(-1), dropout, module.training).to(scores.dtype)
    found = shares.view(batch, shared, -1, shares.shape[-1]) @ value
    return found.view(batch, heads, length, -1).transpose(1, 2).contiguous(), None


def attend(vlm: Any, how: str) -> None:
    """Let every part of a model attend by matrix products; any other `how` leaves transformers' own choice."""
    if how != NAME:
        return
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, eager_mask

    AttentionInterface.register(NAME, matrix_products)
    AttentionMaskInterface.register(NAME, eager_mask)
    vlm.set_attn_implementation(NAME)
