"""Low-rank adapters (LoRA) for a part, through peft: the part's weights rest, small matrices beside them learn.

They are laid over the part before training and merged into its weights after it, so that a stage's output is the
same plain checkpoint with or without them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from components.errors import ConfigError
from components.model.vlm import PART_PREFIXES
from components.settings import Adapter, Part

MARK = ".lora_"


def add_adapters(vlm: Any, adapters: Mapping[Part, Adapter]) -> None:
    """Lay adapters over the named layers of each part.

    Raises:
        ConfigError: a part has no linear layer of one of the names.
    """
    from peft import LoraConfig, inject_adapter_in_model

    for part, adapter in adapters.items():
        prefixes = "|".join(re.escape(prefix) for prefix in PART_PREFIXES[part])
        for layer in adapter.layers:
            pattern = rf"({prefixes})(.*\.)?{re.escape(layer)}"
            if not any(re.fullmatch(pattern, name) for name, _ in vlm.named_modules()):
                raise ConfigError(f"{part} has no layer named {layer!r}", where="recipe.stages.*.adapters")
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
    """Add every adapter to the weights it lies over and take it off."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    adapted = [(name, module) for name, module in vlm.named_modules() if isinstance(module, BaseTunerLayer)]
    for name, module in adapted:
        module.merge()
        parent, _, leaf = name.rpartition(".")
        setattr(vlm.get_submodule(parent), leaf, module.get_base_layer())
