"""Settings of how a stage survives, how fast it goes, and what it may cost; none changes what it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from components.settings.base import Frozen, Positive, Share


class Checkpointing(Frozen):
    """Checkpoints of a running stage, removed when its output is committed."""

    root: Path = Field(default=Path("var/checkpoints"), description="a folder that DVC never empties")
    every_steps: int = Field(default=100, ge=0, description="optimiser steps between; 0: only when a signal asks")
    keep: Positive = Field(default=2, description="newest checkpoints that stay")
    asynchronous: bool = Field(default=False, description="write beside the training, from a copy in memory")


class Guard(Frozen):
    """When a loss must not be learned from, and how often the stage may go back because of it."""

    spike_factor: float = Field(default=0.0, ge=0, description="times the median before it; 0 looks only at NaN")
    window: Positive = Field(default=20, description="micro-batches the median is over")
    rollbacks: int = Field(default=0, ge=0, description="times to go back and leave a pack out; 0 stops at once")


class Speed(Frozen):
    """Work not done; each switch gives the losses of the plain path."""

    supervised_logits: bool = Field(default=True, description="vocabulary logits at supervised positions only")
    cache_features: bool = Field(default=False, description="encode each image once where the tower is frozen")
    cast_frozen_once: bool = Field(
        default=True, description="keep autocast's cast of frozen matrices: 2 bytes a weight, 4 on a CPU"
    )
    bucket_lengths: bool = Field(default=False, description="pad to the micro-batch's length, rounded up to 64")
    activation_checkpointing: bool = Field(default=False, description="compute activations again to save memory")
    compile: bool = Field(default=False, description="torch.compile the language model")
    attention: Literal["fused", "matrix_products", "flex", "varlen"] = Field(
        default="fused",
        description="torch's fused kernel; plain products: faster on a CPU in short rows; on CUDA, FlexAttention, "
        "or flash-attn by lengths (packs that share no image's encoding)",
    )
    written_out_layers: Literal["none", "frozen", "all"] = Field(
        default="none",
        description="decoder layers of the Llama family as one function, attention by products: faster on a CPU, "
        "other last bits; frozen: in stages where the language model rests",
    )
    fused_optimizer: bool = Field(default=True, description="AdamW as one kernel")


class Device(Frozen):
    """One device as the forecast sees it."""

    name: str = Field(default="2 CPU cores", description="what it is")
    teraflops: float = Field(default=0.19, gt=0, description="peak of matrix products in the run's precision")
    memory_gigabytes: float = Field(default=24.0, gt=0)
    utilisation: tuple[Share, Share] = Field(default=(0.2, 0.6), description="share of the peak: worst, best")


class Budget(Frozen):
    """What a run may cost; 0 is no limit."""

    hours: float = Field(default=0.0, ge=0, description="all stages, in the worst case")
    disk_gigabytes: float = Field(default=0.0, ge=0, description="data, models and checkpoints of all stages")
    enforced: bool = Field(default=True, description="false starts a stage that is over it, and says so")
