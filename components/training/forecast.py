"""What a stage will cost, from the model's shape and the packs alone: operations, memory a process, time, disk.

Operations are counted as torch's own counter does: two for each multiply-add of a matrix product, attention over
the whole square, nothing for norms and activations. Backward costs each product once for its input and once for
its weight, where either is wanted. Memory is weights, gradients and AdamW's two moments (shared out under FSDP2)
and the activations that autograd keeps; bytes a token and layer were measured once on small LLaVAs by following
every allocation (see `KEPT_BYTES`), and tests hold both figures against a real run.

L tokens, N images, T image tokens, K supervised tokens, D hidden size, I inner size, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from components.model.decoder_layer import MOST_TOKENS
from components.model.vlm import PART_PREFIXES, is_idle, part_of
from components.settings import Settings, Stage
from components.training.stages import is_cast_once, is_written_out, micro_batch_of

FLOAT = 4
GIGA = 1e9
# bytes autograd keeps, a token and layer: (a multiple of D, a multiple of I); frozen products keep less.
KEPT_BYTES = {
    ("language", False, "32-true"): (24, 12), ("language", True, "32-true"): (40, 16),
    ("language", False, "bf16"): (16, 6), ("language", True, "bf16"): (34, 8),
    ("vision", True, "32-true"): (32, 8), ("vision", True, "bf16"): (24, 4),
}  # fmt: skip
# the same of a layer written out, whether it learns or not
WRITTEN_OUT_BYTES = {"32-true": (24, 16), "bf16": (16, 8)}
WRITTEN_OUT_FAMILIES = ("llama", "qwen2")
LAID_OUT = 2  # bytes a frozen weight beside those of a copy, where it is laid out for products forward and back
LOGIT_COPIES = 2  # logits and their gradient, in the run's precision: the rest goes a few rows at a time
WHOLE = {False: 2.0, True: 5.25}  # copies of what FSDP2 gathers, by whether it learns: weights, gradients, buffers
LIBRARIES = 0.65e9  # bytes of an interpreter with torch, transformers, lightning and mlflow, measured on Linux
WORKER = 0.1e9  # bytes of a loading process: 8 MB as measured when it is forked, the rest for what it reads ahead


@dataclass(frozen=True, slots=True)
class PackFacts:
    """What one mixture's training packs are like, on average."""

    packs: int
    tokens: float
    supervised: float
    images: float


@dataclass(frozen=True, slots=True)
class Shape:
    """A model's sizes; parts maps a part to its parameters, learning to those of them on the way to the loss."""

    parts: Mapping[str, int]
    learning: Mapping[str, int]
    width: int
    inner: int
    layers: int
    heads: int
    heads_width: int
    key_value_width: int
    vocabulary: int
    vision_width: int
    vision_inner: int
    vision_layers: int
    vision_tokens: int
    feature_values: int  # numbers of an image's features before the projector
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
    host_gigabytes: float
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
    parts, learning = dict.fromkeys(PART_PREFIXES, 0), dict.fromkeys(PART_PREFIXES, 0)
    layers, layer = vision.num_hidden_layers, vlm.config.vision_feature_layer
    for name, parameter in vlm.named_parameters():
        parts[part_of(name)] += parameter.numel()
        learning[part_of(name)] += parameter.numel() * (not is_idle(name, num_layers=layers, feature_layer=layer))
    return Shape(
        parts=parts, learning=learning, width=text.hidden_size, inner=text.intermediate_size,
        layers=text.num_hidden_layers, heads=text.num_attention_heads,
        heads_width=head * text.num_attention_heads, key_value_width=head * text.num_key_value_heads,
        vocabulary=text.vocab_size, vision_width=vision.hidden_size, vision_inner=inner,
        vision_layers=layers, vision_tokens=patches + class_tokens, feature_values=patches * vision.hidden_size,
        vision_kept_layers=layers + layer + 1,
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

    torch stops computing a block again once it has what backward asks for: the last product is not among it.
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
    repeated = products - 2 * facts.tokens * shape.width * shape.inner * shape.layers + attention
    return repeated * again + products * (1 + backward) + attention * 3 + head * (1 + backward)


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
    repeated = layer - 2 * tokens * shape.vision_width * shape.vision_inner + attention
    return forward + (2 * (layer + attention) + again * repeated) * shape.vision_kept_layers + patches


def trainable(shape: Shape, trains: Collection[str]) -> int:
    """Return the parameters that get a gradient: the parts' without the layers behind the projected one."""
    return sum(shape.learning[part] for part in trains)


def memory_bytes(
    shape: Shape, facts: PackFacts, *, trains: Collection[str], micro_batch: int, precision: str, shards: int = 1,
    checkpointing: bool = False, written_out: bool = False, laid_out: bool = False,
) -> float:  # fmt: skip
    """Return the bytes one process needs at its peak, without the interpreter and its libraries.

    `written_out` counts decoder layers that keep their scores, `laid_out` frozen ones that lie as products want.
    """
    learning, total = trainable(shape, trains), sum(shape.parts.values())
    weight_bytes = 2 if precision == "bf16-true" else FLOAT
    held = (total * weight_bytes + learning * 3 * weight_bytes) / shards
    if shards > 1:
        held += weight_bytes * WHOLE["language" in trains] * _whole_at_once(shape)
    if precision == "bf16-mixed":
        held += 2 * _copied(shape, trains, checkpointing)
    if laid_out:
        held += LAID_OUT * shape.layers * _block(shape)
    activations = _activation_bytes(shape, facts, trains, precision, checkpointing, written_out=written_out)
    return held + micro_batch * activations


def _whole_at_once(shape: Shape) -> float:
    """Return the weights that FSDP2 gathers together: one block and what lies outside the blocks."""
    return shape.parts["language"] - (shape.layers - 1) * _block(shape) + shape.parts["projector"]


def _block(shape: Shape) -> float:
    """Return the weights of a decoder layer's matrices."""
    attention = 2 * shape.width * (shape.heads_width + shape.key_value_width)
    return attention + 3 * shape.width * shape.inner


def _copied(shape: Shape, trains: Collection[str], checkpointing: bool) -> float:
    """Return the weights of which autocast holds a copy in bf16 when the loss is computed.

    It keeps those of weights that learn; of frozen ones, the graph does, and a block's that is computed again go.
    """
    graph = {"projector", "language", *trains}
    matrices = sum(shape.parts[part] for part in graph)
    frozen = shape.parts["language"] * ("language" not in trains)
    return matrices - frozen * (1 - 1 / shape.layers) if checkpointing else matrices


def _activation_bytes(
    shape: Shape,
    facts: PackFacts,
    trains: Collection[str],
    precision: str,
    checkpointing: bool,
    *,
    written_out: bool,
) -> float:
    is_float = precision == "32-true"
    kind = "32-true" if is_float else "bf16"
    of_width, of_inner = KEPT_BYTES["language", "language" in trains, kind]
    scores = 0.0
    if written_out:
        of_width, of_inner = WRITTEN_OUT_BYTES[kind]
        scores = shape.heads * facts.tokens**2 * (FLOAT if is_float else 2)
    layer = facts.tokens * (of_width * shape.width + of_inner * shape.inner) + scores
    row = 2 if precision == "bf16-true" else FLOAT
    logits = LOGIT_COPIES * facts.supervised * shape.vocabulary * (FLOAT if is_float else 2)
    mask = facts.tokens**2 * (row + 1 + (0 if is_float else 2))  # who sees whom, what is added, and its cast
    vision_layer, vision_rows = _vision_activation_bytes(shape, facts, trains, kind, row)
    if not checkpointing:
        return layer * shape.layers + vision_layer * shape.vision_kept_layers + logits + mask
    rows = shape.layers * facts.tokens * shape.width * row + vision_rows
    return rows + max(layer, vision_layer, logits) + mask  # only one of them at a time


def _vision_activation_bytes(
    shape: Shape, facts: PackFacts, trains: Collection[str], kind: str, row: int
) -> tuple[float, float]:
    """Return what a layer of the tower keeps, and what all keep that are computed again."""
    if "vision" not in trains:
        return 0.0, 0.0
    of_width, of_inner = KEPT_BYTES["vision", True, kind]
    tokens = facts.images * shape.vision_tokens
    layer = tokens * (of_width * shape.vision_width + of_inner * shape.vision_inner)
    return layer, shape.vision_layers * tokens * shape.vision_width * row


def host_bytes(shape: Shape, *, trains: Collection[str], workers: int, asynchronous: bool) -> float:
    """Return the bytes of ordinary memory that the first process beside an accelerator needs; others need less.

    Every process loads the whole model in full precision before its device takes it; the first gathers what a
    checkpoint holds, and once more where it is written beside the training.
    """
    total, state = sum(shape.parts.values()), 3 * trainable(shape, trains)
    gathered = FLOAT * state * (2 if asynchronous else 1)
    return LIBRARIES + workers * WORKER + max(FLOAT * total, gathered)


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
        shape, facts, trains=stage.trains, micro_batch=micro_batch_of(training, stage),
        precision=training.precision,
        shards=ranks if cluster.in_pieces else 1, checkpointing=again,
        written_out=computes_written_out(settings, stage), laid_out=_lays_out(settings, stage),
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
        host_gigabytes=_host(settings, stage, shape, memory) / GIGA,
        hours=(flops / (peak * high) / 3600, flops / (peak * low) / 3600),
        disk_gigabytes=(checkpoints + total * FLOAT + feature_bytes(settings, stage, shape, facts)) / GIGA,
    )


def computes_written_out(settings: Settings, stage: Stage) -> bool:
    """Say whether a run's decoder layers will compute by `model/decoder_layer.py`: on a CPU, a family it knows."""
    training, cluster, language = settings.training, settings.cluster, settings.model.language
    return (
        is_written_out(training.speed, stage.trains, training.precision, in_pieces=cluster.in_pieces)
        and cluster.accelerator == "cpu"
        and language.family in WRITTEN_OUT_FAMILIES
        and settings.model.max_length <= MOST_TOKENS
    )


def _lays_out(settings: Settings, stage: Stage) -> bool:
    """Say whether a run's frozen decoder layers will lie as a CPU's products want them (`packed_weights.py`)."""
    training, cluster = settings.training, settings.cluster
    if "language" in stage.trains or cluster.accelerator != "cpu" or training.precision != "bf16-mixed":
        return False
    return is_cast_once(training.speed, training.precision, in_pieces=cluster.in_pieces) or computes_written_out(
        settings, stage
    )


def feature_bytes(settings: Settings, stage: Stage, shape: Shape, facts: PackFacts) -> float:
    """Return what a stage's kept features take on disk: a process keeps those of the images it meets, once."""
    if not settings.training.speed.cache_features or "vision" in stage.trains:
        return 0.0
    passes = min(max(math.ceil(stage.epochs), 1), settings.cluster.devices * settings.cluster.nodes)
    return passes * facts.packs * facts.images * shape.feature_values * FLOAT


def _host(settings: Settings, stage: Stage, shape: Shape, memory: float) -> float:
    """Return the first process's ordinary memory; on a CPU the device's memory is part of it."""
    training = settings.training
    copies = training.checkpoint.asynchronous
    host = host_bytes(shape, trains=stage.trains, workers=training.workers, asynchronous=copies)
    if settings.cluster.accelerator != "cpu":
        return host
    state = 3 * FLOAT * trainable(shape, stage.trains)
    return LIBRARIES + training.workers * WORKER + memory + state * copies
