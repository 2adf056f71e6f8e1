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
from torch.autograd.function import once_differentiable
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
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    dtype = query.dtype
    if torch.is_autocast_enabled(query.device.type):
        dtype = torch.get_autocast_dtype(query.device.type)
    rate = dropout if module.training else 0.0
    found = _Attention.apply(query.to(dtype), key.to(dtype), value.to(dtype), attention_mask, scale, rate)
    return found.transpose(1, 2).contiguous(), None


class _Attention(torch.autograd.Function):
    """softmax(scale * query key^T + mask) value: the mask is added in the product, one array of scores is kept.

    Written out because autocast would turn the scores, the largest array here, into float32 and back, both ways.
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> torch.Tensor:
        query, key, value, mask, scale, rate = inputs
        found, shares, drop = attend_forward(query, key, value, mask, scale=scale, rate=rate)
        ctx.save_for_backward(query, key, value, shares, drop)
        ctx.scale = scale
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, shares, drop = ctx.saved_tensors
        found = attend_backward(gradients[0], query, key, value, shares, drop, scale=ctx.scale)
        return *found, None, None, None


def attend_forward(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    *,
    scale: float,
    rate: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Return what query (B, H, L, D) finds in key and value (B, K, S, D), the shares, and what dropout left."""
    shape, groups, width = query.shape, len(key) * key.shape[1], query.shape[-1]
    heads, query, key, value = shape[1], *(part.reshape(groups, -1, width) for part in (query, key, value))
    shares = torch.softmax(_scores(query, key, mask, scale=scale, heads=heads), -1)
    drop = functional.dropout(torch.ones_like(shares), rate) if rate else None
    return ((shares if drop is None else shares * drop) @ value).view(shape), shares, drop


def attend_backward(
    gradient: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    shares: torch.Tensor,
    drop: torch.Tensor | None,
    *,
    scale: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the gradients of query, key and value from that of what `attend_forward` found."""
    shapes, groups, width = (query.shape, key.shape), len(shares), query.shape[-1]
    gradient, query, key, value = (part.reshape(groups, -1, width) for part in (gradient, query, key, value))
    of_shares = gradient @ value.transpose(1, 2)
    used = shares if drop is None else shares * drop
    of_shares = of_shares if drop is None else of_shares * drop
    of_scores = torch.ops.aten._softmax_backward_data(of_shares, shares, -1, shares.dtype)
    of_query = (of_scores @ key).mul_(scale).view(shapes[0])
    of_key = (of_scores.transpose(1, 2) @ query).mul_(scale).view(shapes[1])
    return of_query, of_key, (used.transpose(1, 2) @ gradient).view(shapes[1])


def _scores(
    query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None, *, scale: float, heads: int
) -> torch.Tensor:
    """Return (B K, G L, S) scores of query (B K, G L, D) and key (B K, S, D), the mask (B or 1, 1, L, S) added."""
    if mask is None:
        return torch.bmm(query * scale, key.transpose(1, 2))
    rows, seen = mask.shape[-2:]
    batch = len(query) * query.shape[1] // (heads * rows)
    added = mask.to(query.dtype).expand(batch, heads, rows, seen).reshape(len(query), -1, seen)
    return torch.baddbmm(added, query, key.transpose(1, 2), alpha=scale)


def attend(vlm: Any, how: str) -> None:
    """Let every part of a model attend by matrix products; any other `how` leaves transformers' own choice."""
    if how != NAME:
        return
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, eager_mask

    AttentionInterface.register(NAME, matrix_products)
    AttentionMaskInterface.register(NAME, eager_mask)
    vlm.set_attn_implementation(NAME)
