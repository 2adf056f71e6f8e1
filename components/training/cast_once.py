"""Frozen matrices in autocast's type, made once a fit.

Autocast keeps a cast of a weight that learns until the step ends, and casts one that does not at every use: for a
frozen language model of 135 M weights that is 0.8 GB of memory traffic a step. The cast made here is the one
autocast makes, so losses and gradients are the same bits. It takes two more bytes a frozen weight, four where a
CPU's products want it laid out: nothing on a workstation, and worth leaving off where a rank's memory is short.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial

import torch
from torch.nn import functional

from components.model.packed_weights import Packed, is_packable


@contextmanager
def frozen_cast_once(model: torch.nn.Module, dtype: torch.dtype) -> Generator[int]:
    """Let every frozen float32 `Linear` of a model compute from a kept cast under autocast to `dtype`.

    Outside autocast, and after the block, the layers compute as they did. Those inside a module that computes by a
    function of its own (`decoder_layer.written_out`) are left to it. Yields how many layers keep a cast.
    """
    written_out = (module for module in model.modules() if "forward" in vars(module))
    inside = {part for module in written_out for part in module.modules()}
    layers = [
        layer
        for layer in model.modules()
        if type(layer) is torch.nn.Linear
        and layer not in inside
        and not layer.weight.requires_grad
        and layer.weight.dtype == torch.float32
    ]
    for layer in layers:
        layer.forward = _forward_from_cast(layer, dtype)
    try:
        yield len(layers)
    finally:
        for layer in layers:
            del layer.forward


def _forward_from_cast(layer: torch.nn.Linear, dtype: torch.dtype) -> Callable[..., torch.Tensor]:
    weight = layer.weight.detach().to(dtype)
    bias = None if layer.bias is None else layer.bias.detach().to(dtype)
    # A bias is added within the product, before it is rounded, so only a layer without one is laid out.
    if bias is None and is_packable(weight):
        product: Callable[[torch.Tensor], torch.Tensor] = _packed_product(Packed(weight))
    else:
        product = partial(functional.linear, weight=weight, bias=bias)

    def forward(input: torch.Tensor) -> torch.Tensor:
        kind = input.device.type
        if torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == dtype:
            return product(input)
        return functional.linear(input, layer.weight, layer.bias)

    return forward


def _packed_product(packed: Packed) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda input: packed(input.to(packed.dtype))
