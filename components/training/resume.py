"""Where a stage stands, and how a trainer is put back there: position in the data, loop counters, random state.

The order of packs is one stream (`order.py`), a function of (seed, pass, index) alone, so a position is how many
packs of it all ranks together have trained on. Checkpoints are taken after an optimiser step, and a step reads
`packs_per_step` packs whatever the layout; any number of ranks and workers can therefore go on from any position,
and the packs of each step stay the same. For Lightning the whole stage is one epoch.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import torch


@dataclass(frozen=True, slots=True)
class Position:
    """The optimiser steps done, and the packs of the stream done over all ranks."""

    step: int = 0
    packs: int = 0


def position_after(trainer: lightning.Trainer, batch_index: int, *, micro_batch: int) -> Position:
    """Return where the trainer stands when micro-batch `batch_index` is done."""
    return Position(trainer.global_step, (batch_index + 1) * micro_batch * trainer.world_size)


def loop_state(trainer: lightning.Trainer, position: Position, *, micro_batch: int) -> dict[str, Any]:
    """Return the state that Lightning's fit loop would have saved at this position under this layout."""
    state = trainer.fit_loop.state_dict()
    if position == Position():
        return state
    batches = position.packs // (micro_batch * trainer.world_size)
    _set(state["epoch_progress"], ready=1, started=1, processed=0, completed=0)
    # one behind: Lightning counts a batch as completed only after the hook that saves
    progress = state["epoch_loop.batch_progress"]
    _set(progress, ready=batches, started=batches, processed=batches, completed=batches - 1)
    progress["is_last_batch"] = position.step >= trainer.max_steps
    step = state["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"]
    for counter in ("total", "current"):
        step[counter] |= {"ready": position.step, "completed": position.step}
    state["epoch_loop.state_dict"]["_batches_that_stepped"] = position.step
    state["state_dict"].pop("combined_loader", None)
    return state


def _set(progress: dict[str, Any], **counts: int) -> None:
    for counter in ("total", "current"):
        progress[counter] |= counts


def random_state() -> dict[str, Any]:
    """Return the state of every random generator of this process, as plain values and tensors."""
    version, internal, gauss = random.getstate()
    name, keys, place, has_gauss, cached = np.random.get_state(legacy=True)
    state: dict[str, Any] = {
        "python": [version, list(internal), gauss],
        "numpy": [str(name), torch.from_numpy(np.asarray(keys).astype(np.int64)), place, has_gauss, cached],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    """Put every random generator back to where `random_state` found it."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, place, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), place, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
