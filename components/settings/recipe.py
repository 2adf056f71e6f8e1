"""Settings of the training stages, and of how a stage runs on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from components.records import Language
from components.settings.base import Frozen, Positive, Share
from components.settings.training import Budget, Checkpointing, Device, Guard, Speed

Part = Literal["vision", "projector", "language"]
# What papers do not say of a stage and its row must: each is a field of the row, or `max_length`, the model's.
SILENT = (("epochs",), ("warmup_ratio", "warmup_steps"), ("weight_decay",), ("max_length",), ("clip",))


class VisionInitialisation(Frozen):
    """Contrastive (SigLIP loss) training of a fresh ViT before the projector; skipped for a pretrained tower."""

    steps: Positive
    batch_size: Positive
    learning_rate: float = Field(gt=0)
    warmup_steps: int = Field(ge=0)
    weight_decay: float = Field(ge=0)


class Mixture(Frozen):
    """What a stage reads: shares of each pair kind and, optionally, of sources and languages (1 is all of it)."""

    kinds: dict[str, float] = Field(description="pair kind -> sampling ratio; 0 or absent leaves it out")
    sources: dict[str, float] = Field(default_factory=dict, description="source -> ratio; absent means 1")
    languages: dict[Language, float] = Field(default_factory=dict, description="language -> ratio; absent means 1")
    packing: Literal["packed", "single"] = Field(
        default="packed", description="several images' conversations in one pack, or one image's alone"
    )


class Adapter(Frozen):
    """A low-rank adapter over named linear layers of one part, merged into the weights at the stage's end."""

    rank: Positive
    alpha: Positive = Field(description="the adapter counts alpha / rank")
    layers: tuple[str, ...] = Field(min_length=1, description="names of linear layers, such as q_proj")
    four_bit: bool = Field(
        default=False, description="the part's weights rest in four bits (QLoRA): bitsandbytes and a CUDA device"
    )


class Stage(Frozen):
    """One row of a recipe: what trains, on what, how."""

    trains: tuple[Part, ...] = Field(min_length=1)
    starts_from: str = Field(description="folder of the processor (and weights, if any) it starts with")
    mixture: str = Field(description="name in recipe.mixtures")
    learning_rate: float = Field(gt=0)
    schedule: Literal["cosine", "constant"]
    warmup_ratio: Share
    warmup_steps: int = Field(default=0, ge=0, description="warm-up counted in steps; 0 uses warmup_ratio")
    learning_rates: dict[Part, float] = Field(
        default_factory=dict, description="peak rates of parts that differ from learning_rate"
    )
    weight_decay: float = Field(ge=0)
    betas: tuple[Share, Share] = Field(default=(0.9, 0.999), description="AdamW's decay of its two moments")
    clip: float = Field(gt=0, description="gradient norm limit")
    packs_per_step: Positive = Field(description="packs an optimiser step, over all devices")
    micro_batch: int = Field(
        default=0, ge=0, description="packs a device holds at once; 0 is training.micro_batch"
    )
    epochs: float = Field(gt=0, description="passes over the mixture's packs")
    max_steps: int = Field(ge=0, description="optimiser steps at most; 0 is no limit")
    evidence: dict[str, str] = Field(default_factory=dict, description="field -> where its value comes from")
    initialise_vision: VisionInitialisation | None = None
    adapters: dict[Part, Adapter] = Field(default_factory=dict, description="parts that learn through LoRA alone")

    @model_validator(mode="after")
    def _parts_named_learn(self) -> Stage:
        if resting := (set(self.adapters) | set(self.learning_rates)) - set(self.trains):
            raise ValueError(f"adapters or learning rates of parts that do not learn: {sorted(resting)}")
        return self


class Recipe(Frozen):
    """Training stages in order, and the mixtures they read."""

    name: str
    mixtures: dict[str, Mixture] = Field(min_length=1)
    stages: dict[str, Stage] = Field(min_length=1)
    sizes: dict[str, int] = Field(
        default_factory=dict, description="source -> samples as published, to plan with before the data are here"
    )

    @model_validator(mode="after")
    def _mixtures_exist(self) -> Recipe:
        for name, stage in self.stages.items():
            if stage.mixture not in self.mixtures:
                raise ValueError(f"stage {name} reads mixture {stage.mixture!r}; known: {sorted(self.mixtures)}")
        return self

    @model_validator(mode="after")
    def _evidence_is_named(self) -> Recipe:
        """Every value that papers do not state says where it comes from; a run's parameters hold it."""
        for name, stage in self.stages.items():
            missing = [" or ".join(names) for names in SILENT if not any(map(stage.evidence.get, names))]
            if missing:
                raise ValueError(f"stage {name} does not say where these come from (evidence): {missing}")
            if unknown := set(stage.evidence) - {*Stage.model_fields, "max_length"}:
                raise ValueError(f"stage {name} has evidence of what is no setting of it: {sorted(unknown)}")
        return self

    @field_validator("stages")
    @classmethod
    def _in_training_order(cls, stages: dict[str, Stage]) -> dict[str, Stage]:
        """Lay the stages in the order their `starts_from` gives: params.yaml sorts its keys by name."""
        order: dict[str, Stage] = {}
        while len(order) < len(stages):
            waiting = {name: stage for name, stage in stages.items() if name not in order}
            ready = [name for name, stage in waiting.items() if Path(stage.starts_from).name not in waiting]
            if len(ready) != 1:
                raise ValueError(f"the stages are not one chain: {ready or list(waiting)} could come next")
            order[ready[0]] = waiting[ready[0]]
        return order

    @property
    def final_stage(self) -> str:
        """The last stage: the one whose model is evaluated and registered."""
        return list(self.stages)[-1]


class Training(Frozen):
    """How a stage runs on this machine."""

    micro_batch: Positive = Field(description="packs a device holds at once")
    precision: Literal["32-true", "bf16-mixed", "bf16-true"]
    workers: int = Field(ge=0, description="data loading processes")
    log_every: Positive = Field(description="optimiser steps between logged points")
    validate_batches: int = Field(
        ge=0, description="micro-batches of validation packs at a stage's end, over all ranks"
    )
    samples: int = Field(default=0, ge=0, description="validation items whose answers are shown at a stage's end")
    checkpoint: Checkpointing = Checkpointing()
    guard: Guard = Guard()
    speed: Speed = Speed()


class Cluster(Frozen):
    """Where training runs."""

    launcher: Literal["local", "torchrun", "slurm"]
    accelerator: Literal["cpu", "cuda", "auto"]
    strategy: Literal["auto", "ddp", "fsdp2"]
    devices: Positive = Field(description="devices a node")
    nodes: Positive
    threads: Positive = Field(description="CPU threads a process computes with")
    device: Device = Device()
    budget: Budget = Budget()

    @property
    def in_pieces(self) -> bool:
        """Whether a process holds a piece of each weight and not the whole."""
        return self.strategy == "fsdp2"
