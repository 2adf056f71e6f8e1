"""Frozen matrices in the layout in which oneDNN multiplies bfloat16 on a CPU.

torch hands oneDNN a matrix as it lies, and oneDNN lays it out anew in every product: at (937, 576) by (576, 3072)
on two cores 4.7 ms, against 3.6 ms with the layout made once, with the same bits. The way back multiplies by the
same matrix turned, which is laid out too: four bytes a weight in all. The operation is the one that torch's own
inductor compiles frozen layers to; where a build of torch lacks it, products are torch's plain ones.

M rows, N columns of the result, K width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

ROWS = 1024  # the number of rows that the layout is chosen for; others are multiplied as rightly


class Packed:
    """A matrix (N, K) for products forward, (M, K) to (M, N), and back, (M, N) to (M, K).

    One that learns is not laid out: it is another matrix in the next step.
    """

    def __init__(self, weight: torch.Tensor, *, rests: bool = True) -> None:
        self.dtype = weight.dtype
        self._weight: Any = weight.detach()
        self._forward: torch.Tensor | None = None
        self._back: torch.Tensor | None = None
        if rests and is_packable(weight):
            self._forward, self._back = _layout(self._weight), _layout(self._weight.t().contiguous())
            self._weight = None

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return rows (…, K) times the matrix turned: (…, N)."""
        return functional.linear(rows, self._weight) if self._forward is None else _product(rows, self._forward)

    def back(self, gradient: torch.Tensor) -> torch.Tensor:
        """Return a gradient (…, N) times the matrix: (…, K)."""
        return gradient @ self._weight if self._back is None else _product(gradient, self._back)

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Multiply as a step of autograd's graph, which has no gradient of the matrix."""
        return _Product.apply(rows, self)


def is_packable(weight: torch.Tensor) -> bool:
    """Say whether this build of torch lays out a matrix for oneDNN: bfloat16, on a CPU."""
    return (
        weight.dtype == torch.bfloat16
        and weight.device.type == "cpu"
        and torch.backends.mkldnn.is_available()
        and torch.ops.mkldnn._is_mkldnn_bf16_supported()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    )


def _layout(weight: torch.Tensor) -> torch.Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)


def _product(rows: torch.Tensor, layout: torch.Tensor) -> torch.Tensor:
    return torch.ops.mkldnn._linear_pointwise(rows, layout, None, "none", [], "")


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, packed: Packed) -> torch.Tensor:
        ctx.packed = packed
        return packed.forward(rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ctx.packed.back(gradients[0]), None
