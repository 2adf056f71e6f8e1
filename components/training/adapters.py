"""Low-rank adapters (LoRA) for a part, through peft: the part's weights rest, small matrices beside them learn.

They are laid over the part before training and merged into its weights after it, so that a stage's output is the
same plain checkpoint with or without them. With `four_bit` the resting weights are held in four bits (QLoRA, by
bitsandbytes on a CUDA device); what the checkpoint holds then is those rounded weights plus what was learnt.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from components.errors import ConfigError
from components.model.vlm import PART_PREFIXES
from components.settings import Adapter, Part

MARK = ".lora_"


def add_adapters(vlm: Any, adapters: Mapping[Part, Adapter]) -> None:
    """Lay adapters over the named layers of each part.

    Raises:
        ConfigError: a part has no linear layer of one of the names, or four bits are wanted where they cannot be.
    """
    if any(adapter.four_bit for adapter in adapters.values()):
        check_four_bit()
    if not adapters:
        return
    from peft import LoraConfig, inject_adapter_in_model

    for part, adapter in adapters.items():
        prefixes = "|".join(re.escape(prefix) for prefix in PART_PREFIXES[part])
        for layer in adapter.layers:
            pattern = rf"({prefixes})(.*\.)?{re.escape(layer)}"
            if not any(re.fullmatch(pattern, name) for name, _ in vlm.named_modules()):
                raise ConfigError(f"{part} has no layer named {layer!r}", where="recipe.stages.*.adapters")
        if adapter.four_bit:
            lay_four_bit(vlm, part)
        layers = "|".join(re.escape(layer) for layer in adapter.layers)
        config = LoraConfig(
            r=adapter.rank, lora_alpha=adapter.alpha, target_modules=rf"({prefixes})(.*\.)?({layers})",
            lora_dropout=0.0, bias="none",
        )  # fmt: skip
        inject_adapter_in_model(config, vlm, adapter_name=part)


def rest_under_adapters(vlm: Any, adapters: Mapping[Part, Adapter]) -> set[str]:
    """Let only the adapters of the adapted parts learn; return the names of all parameters that learn."""
    prefixes = tuple(prefix for part in adapters for prefix in PART_PREFIXES[part])
    for name, parameter in vlm.named_parameters():
        if name.startswith(prefixes):
            parameter.requires_grad_(MARK in name)
    return {name for name, parameter in vlm.named_parameters() if parameter.requires_grad}


def merge_adapters(vlm: Any) -> None:
    """Add every adapter to the weights it lies over, take it off, and write four-bit weights out plainly."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    adapted = [(name, module) for name, module in vlm.named_modules() if isinstance(module, BaseTunerLayer)]
    for name, module in adapted:
        base = module.get_base_layer()
        if is_four_bit(base):  # peft would round the sum to four bits again
            base = plain_layer(base)
            base.weight.data += sum(module.get_delta_weight(adapter) for adapter in module.active_adapters)
        else:
            module.merge()
        _put(vlm, name, base)
    for name, module in [(name, module) for name, module in vlm.named_modules() if is_four_bit(module)]:
        _put(vlm, name, plain_layer(module))


def check_four_bit() -> None:
    """Raise ConfigError naming what is missing for weights of four bits."""
    where = "recipe.stages.*.adapters.*.four_bit"
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError(
            "four-bit weights need bitsandbytes, which is not installed",
            where=where,
            fix="pip install -e '.[qlora]', or set four_bit to false",
        )
    if not torch.cuda.is_available():
        raise ConfigError(
            "four-bit weights need a CUDA device, and this process sees none",
            where=where,
            fix="set four_bit to false",
        )


def lay_four_bit(vlm: Any, part: Part) -> None:
    """Replace a part's linear layers, not the output head, by NF4 ones with twice quantised scales.

    QLoRA's storage (arXiv 2305.14314 section 3). The weights are rounded when the model is moved to its device.
    """
    from bitsandbytes import nn as four_bit  # ty: ignore[import-not-found]

    prefix = PART_PREFIXES[part][0]
    layers = [(name, layer) for name, layer in vlm.named_modules() if isinstance(layer, nn.Linear)]
    for name, layer in [(name, layer) for name, layer in layers if name.startswith(prefix)]:
        small = four_bit.Linear4bit(
            layer.in_features, layer.out_features, bias=layer.bias is not None,
            compute_dtype=torch.bfloat16, compress_statistics=True, quant_type="nf4",
        )  # fmt: skip
        small.weight = four_bit.Params4bit(
            layer.weight.data, requires_grad=False, compress_statistics=True, quant_type="nf4"
        )
        small.bias = layer.bias
        _put(vlm, name, small)


def is_four_bit(layer: nn.Module) -> bool:
    """Say whether a layer's weights rest in four bits."""
    return getattr(getattr(layer, "weight", None), "quant_state", None) is not None


def plain_layer(layer: Any) -> nn.Linear:
    """Return a four-bit layer as an ordinary one that holds the very values it computed with."""
    from peft.utils.integrations import dequantize_bnb_weight

    plain = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
    layer.state_dict()  # bitsandbytes lays its weights out anew on some CPUs; this brings its own layout back
    plain.weight = nn.Parameter(dequantize_bnb_weight(layer.weight, layer.weight.quant_state).float())
    if layer.bias is not None:  # its forward pass rounds a bias to what it computes in
        plain.bias = nn.Parameter(layer.bias.data.float())
    return plain


def _put(vlm: Any, name: str, module: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(vlm.get_submodule(parent), leaf, module)
