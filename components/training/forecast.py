"""What a stage will cost, from the model's shape and the packs alone: operations, memory a process, time, disk.

Operations are counted as torch's own counter does: two for each multiply-add of a matrix product, attention over
the whole square, nothing for norms and activations. Backward costs each product once for its input and once for
its weight, where either is wanted. Memory is weights, gradients and AdamW's two moments (shared out under FSDP2)
and the activations that autograd keeps; bytes a token and layer were measured once with saved-tensor hooks on
small LLaVAs (see `KEPT_BYTES`), and a test holds both figures against a real run.

L tokens, N images, T image tokens, K supervised tokens, D hidden size, I inner size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from components.model.vlm import PART_PREFIXES, part_of
from components.settings import Settings, Stage

FLOAT = 4
GIGA = 1e9
# bytes autograd keeps, a token and layer: (a multiple of D, a multiple of I); frozen products keep less.
KEPT_BYTES = {
    ("language", False, "32-true"): (24, 12), ("language", True, "32-true"): (40, 16),
    ("language", False, "bf16"): (28, 8), ("language", True, "bf16"): (46, 10),
    ("vision", True, "32-true"): (33, 8), ("vision", True, "bf16"): (44, 7),
}  # fmt: skip
LOGIT_COPIES = 3  # logits, their softmax, their gradient


@dataclass(frozen=True, slots=True)
class PackFacts:
    """What one mixture's training packs are like, on average."""

    packs: int
    tokens: float
    supervised: float
    images: float


@dataclass(frozen=True, slots=True)
class Shape:
    """A model's sizes; parts maps a part to its parameter count."""

    parts: Mapping[str, int]
    width: int
    inner: int
    layers: int
    heads_width: int
    key_value_width: int
    vocabulary: int
    vision_width: int
    vision_inner: int
    vision_layers: int
    vision_tokens: int
    vision_kept_layers: int
    patch_values: int
    image_tokens: int
    projector_weights: tuple[int, int]  # of its two matrices


@dataclass(frozen=True, slots=True)
class StageForecast:
    """What one stage will cost."""

    name: str
    parameters: int
    trainable: int
    steps: int
    tokens: float
    flops: float
    memory_gigabytes: float
    hours: tuple[float, float]
    disk_gigabytes: float


def shape_of(vlm: Any) -> Shape:
    """Read the sizes off a LLaVA, on any device (the meta device costs nothing)."""
    text, vision = vlm.config.text_config, vlm.config.vision_config
    patches = (vision.image_size // vision.patch_size) ** 2
    class_tokens = int(vlm.config.vision_feature_select_strategy == "default")
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    inner = getattr(vision, "intermediate_size", None) or int(vision.hidden_size * vision.mlp_ratio)
    projector = vlm.model.multi_modal_projector
    parts = dict.fromkeys(PART_PREFIXES, 0)
    for name, parameter in vlm.named_parameters():
        parts[part_of(name)] += parameter.numel()
    return Shape(
        parts=parts, width=text.hidden_size, inner=text.intermediate_size, layers=text.num_hidden_layers,
        heads_width=head * text.num_attention_heads, key_value_width=head * text.num_key_value_heads,
        vocabulary=text.vocab_size, vision_width=vision.hidden_size, vision_inner=inner,
        vision_layers=vision.num_hidden_layers, vision_tokens=patches + class_tokens,
        vision_kept_layers=vision.num_hidden_layers + vlm.config.vision_feature_layer + 1,
        patch_values=3 * vision.patch_size**2 * patches, image_tokens=vlm.config.image_seq_length,
        projector_weights=(projector.linear_1.weight.numel(), projector.linear_2.weight.numel()),
    )  # fmt: skip


def pack_flops(
    shape: Shape,
    facts: PackFacts,
    *,
    trains: Collection[str],
    again: bool = False,
    encoded: float | None = None,
) -> float:
    """Return the operations of one pack, forward and backward; `again` computes blocks twice forward.

    `encoded` is how many of its images the tower encodes, where features that are kept spare it some.
    """
    return sum(
        (
            _language_flops(shape, facts, learns="language" in trains, again=again),
            _projector_flops(shape, facts, learns="projector" in trains, inputs="vision" in trains),
            _vision_flops(
                shape, facts.images if encoded is None else encoded, learns="vision" in trains, again=again
            ),
        )
    )


def _language_flops(shape: Shape, facts: PackFacts, *, learns: bool, again: bool) -> float:
    attention = 4 * facts.tokens**2 * shape.heads_width * shape.layers
    weights = 2 * shape.width * (shape.heads_width + shape.key_value_width) + 3 * shape.width * shape.inner
    products = 2 * facts.tokens * weights * shape.layers
    head = 2 * facts.supervised * shape.width * shape.vocabulary
    backward = 2 if learns else 1
    return (products + attention) * again + products * (1 + backward) + attention * 3 + head * (1 + backward)


def _projector_flops(shape: Shape, facts: PackFacts, *, learns: bool, inputs: bool) -> float:
    tokens = facts.images * shape.image_tokens
    first, second = (2 * tokens * weights for weights in shape.projector_weights)
    return first * (1 + learns + inputs) + second * (1 + learns + (learns or inputs))


def _vision_flops(shape: Shape, images: float, *, learns: bool, again: bool) -> float:
    tokens = images * shape.vision_tokens
    weights = 4 * shape.vision_width**2 + 2 * shape.vision_width * shape.vision_inner
    layer = 2 * tokens * weights
    attention = 4 * tokens * shape.vision_tokens * shape.vision_width
    patches = 2 * images * shape.patch_values * shape.vision_width
    forward = (layer + attention) * shape.vision_layers + patches
    if not learns:
        return forward
    return forward + (2 + again) * (layer + attention) * shape.vision_kept_layers + patches


def trainable(shape: Shape, trains: Collection[str]) -> int:
    """Return the parameters of the parts that learn (layers behind the projected one included)."""
    return sum(shape.parts[part] for part in trains)


def memory_bytes(
    shape: Shape, facts: PackFacts, *, trains: Collection[str], micro_batch: int, precision: str, shards: int = 1,
    checkpointing: bool = False,
) -> float:  # fmt: skip
    """Return the bytes one process needs at its peak, without the interpreter and its libraries."""
    learning, total = trainable(shape, trains), sum(shape.parts.values())
    weight_bytes = 2 if precision == "bf16-true" else FLOAT
    held = (total * weight_bytes + learning * 3 * weight_bytes) / shards
    if shards > 1:  # one block and what is outside the blocks are whole for a moment, with their gradients
        block = shape.parts["language"] / (shape.layers + 2)
        held += 2 * weight_bytes * (block + 2 * shape.vocabulary * shape.width)
    elif precision == "bf16-mixed":
        held += 2 * total  # autocast's bf16 copies of the weights
    return held + micro_batch * _activation_bytes(shape, facts, trains, precision, checkpointing)


def _activation_bytes(
    shape: Shape, facts: PackFacts, trains: Collection[str], precision: str, checkpointing: bool
) -> float:
    kind = "32-true" if precision == "32-true" else "bf16"
    of_width, of_inner = KEPT_BYTES["language", "language" in trains, kind]
    layer = facts.tokens * (of_width * shape.width + of_inner * shape.inner)
    kept = layer + shape.layers * facts.tokens * shape.width * FLOAT if checkpointing else layer * shape.layers
    if "vision" in trains:
        of_width, of_inner = KEPT_BYTES["vision", True, kind]
        tokens = facts.images * shape.vision_tokens
        layer = tokens * (of_width * shape.vision_width + of_inner * shape.vision_inner)
        rows = shape.vision_layers * tokens * shape.vision_width * FLOAT
        kept += layer + rows if checkpointing else layer * shape.vision_kept_layers
    logits = LOGIT_COPIES * facts.supervised * shape.vocabulary * FLOAT
    return kept + logits + facts.tokens**2 * (FLOAT + 1)


def forecast_stage(
    settings: Settings, stage: Stage, *, name: str, shape: Shape, facts: PackFacts, steps: int
) -> StageForecast:
    """Return what one row of the recipe will cost on the settings' cluster."""
    cluster, training = settings.cluster, settings.training
    ranks = cluster.devices * cluster.nodes
    again = training.speed.activation_checkpointing
    flops = steps * stage.packs_per_step * pack_flops(shape, facts, trains=stage.trains, again=again)
    peak = ranks * cluster.device.teraflops * 1e12
    low, high = cluster.device.utilisation
    memory = memory_bytes(
        shape, facts, trains=stage.trains, micro_batch=training.micro_batch, precision=training.precision,
        shards=ranks if cluster.strategy == "fsdp2" else 1, checkpointing=again,
    )  # fmt: skip
    learning = trainable(shape, stage.trains)
    total = sum(shape.parts.values())
    checkpoints = (training.checkpoint.keep + 1) * 3 * learning * FLOAT
    return StageForecast(
        name=name,
        parameters=total,
        trainable=learning,
        steps=steps,
        tokens=steps * stage.packs_per_step * facts.tokens,
        flops=flops,
        memory_gigabytes=memory / GIGA,
        hours=(flops / (peak * high) / 3600, flops / (peak * low) / 3600),
        disk_gigabytes=(checkpoints + total * FLOAT) / GIGA,
    )
