"""A stage of the recipe as training sees it, and the contract it must keep.

The contract, checked at run time: the parameters with gradients are exactly those of the row's parts; frozen
parts have the same hash after the stage as before; the optimiser starts with no state; at the first step of every
start each group's learning rate is the schedule's. Breaking it raises TrainingError.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from components.errors import ConfigError, TrainingError
from components.settings import Recipe, Speed, Stage, Training

if TYPE_CHECKING:
    import torch


def find_stage(recipe: Recipe, name: str) -> Stage:
    """Return a recipe's row; ConfigError lists the rows there are."""
    if name not in recipe.stages:
        raise ConfigError(
            f"recipe {recipe.name!r} has no stage {name!r}",
            where="conf/recipe",
            fix=f"choose one of {', '.join(recipe.stages)}",
        )
    return recipe.stages[name]


def micro_batch_of(training: Training, stage: Stage) -> int:
    """Return the packs a device holds at once in a stage: the row's own number, or the one of all stages."""
    return stage.micro_batch or training.micro_batch


def num_steps(num_packs: int, *, packs_per_step: int, epochs: float, max_steps: int) -> int:
    """Return the optimiser steps of a stage: passes over the packs, cut at `max_steps` (0 is no limit).

    Passes follow each other without a seam, and every step reads `packs_per_step` packs: what is left over at the
    end of the last pass, less than a step, is not read. Fewer packs than a step holds are read again to fill one.
    """
    steps = max(1, packs_of_passes(num_packs, epochs) // packs_per_step)
    return min(steps, max_steps) if max_steps else steps


def packs_of_passes(num_packs: int, epochs: float) -> int:
    """Return the packs that so many passes hold, the last of them maybe in part."""
    return round(num_packs * epochs)


def learning_rate_factor(step: int, *, steps: int, warmup_ratio: float, schedule: str) -> float:
    """Return the multiple of the peak learning rate at optimiser step `step` (0-based).

    Linear warm-up over the first `warmup_ratio` of the steps, then cosine to 0 or constant.
    """
    warmup = math.ceil(steps * warmup_ratio)
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant":
        return 1.0
    progress = (step - warmup) / max(steps - warmup, 1)
    return 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))


def check_rates(found: Sequence[float], wanted: Sequence[float], *, step: int, stage: str) -> None:
    """Raise TrainingError unless each parameter group's learning rate is the schedule's at this step."""
    if len(found) == len(wanted) and all(map(math.isclose, found, wanted)):
        return
    raise TrainingError(
        f"learning rates at step {step} are {list(found)}, and {list(wanted)} by the schedule",
        where=f"stage {stage}",
        fix="remove the stage's folder below training.checkpoint.root to start it anew",
    )


def part_hashes(parameters: Iterable[tuple[str, torch.Tensor]], part_of: Callable[[str], str]) -> dict[str, str]:
    """Hash the parameters of each part, names and bytes, in name order."""
    import torch

    digests: dict[str, hashlib._Hash] = {}
    for name, parameter in sorted(parameters, key=lambda item: item[0]):
        digest = digests.setdefault(part_of(name), hashlib.sha256())
        digest.update(name.encode())
        gather = getattr(parameter, "full_tensor", None)  # in pieces under FSDP2; every rank gathers
        whole = gather() if gather is not None else parameter
        digest.update(whole.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return {part: digest.hexdigest() for part, digest in digests.items()}


def check_frozen(
    before: Mapping[str, str], after: Mapping[str, str], *, trains: Iterable[str], stage: str
) -> None:
    """Raise TrainingError when a frozen part changed, or when a part that should learn did not."""
    learning = set(trains)
    moved = sorted(part for part in before if part not in learning and before[part] != after[part])
    still = sorted(part for part in learning if before[part] == after[part])
    if moved:
        raise TrainingError(f"frozen parts changed: {', '.join(moved)}", where=f"stage {stage}")
    if still:
        raise TrainingError(f"parts that should learn did not change: {', '.join(still)}", where=f"stage {stage}")


def check_gradients(parameters: Iterable[tuple[str, torch.Tensor]], expected: set[str], *, stage: str) -> None:
    """Raise TrainingError unless the parameters that hold a gradient are exactly the expected ones."""
    found = {name for name, parameter in parameters if parameter.grad is not None}
    extra, missing = sorted(found - expected), sorted(expected - found)
    if extra:
        raise TrainingError(f"frozen parameters got a gradient: {extra[:3]}", where=f"stage {stage}")
    if missing:
        raise TrainingError(f"parameters that should learn got no gradient: {missing[:3]}", where=f"stage {stage}")


def is_written_out(speed: Speed, trains: Collection[str], precision: str, *, in_pieces: bool) -> bool:
    """Say whether a stage computes the decoder layers that fit by `model/decoder_layer.py`."""
    is_asked = speed.written_out_layers == "all" or (
        speed.written_out_layers == "frozen" and "language" not in trains
    )
    return is_asked and not (speed.compile or in_pieces) and precision in ("bf16-mixed", "32-true")


def is_cast_once(speed: Speed, precision: str, *, in_pieces: bool) -> bool:
    """Say whether a stage keeps the cast of its frozen matrices (`cast_once.py`)."""
    return speed.cast_frozen_once and precision == "bf16-mixed" and not (speed.compile or in_pieces)
