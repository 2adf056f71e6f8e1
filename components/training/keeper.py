"""The callback that keeps checkpoints while a stage trains, and obeys the signals that ask for one.

A request to leave (`interruption.py`) is obeyed after the running optimiser step: every rank agrees, a checkpoint
is written, and all leave with the code that says "run me again". The next start goes on from there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.pytorch.plugins.io import CheckpointIO

from components.errors import CheckpointError
from components.training.checkpoint import Shelf
from components.training.interruption import StopRequests
from components.training.module import StageModule
from components.training.optimizer_state import by_name, by_number
from components.training.resume import (
    Position,
    loop_state,
    position_after,
    random_state,
    restore_random_state,
)

OURS = "stage"


class ShelfIO(CheckpointIO):
    """Lightning's way of writing and reading a checkpoint, handed to a shelf."""

    def __init__(self, shelf: Shelf) -> None:
        super().__init__()
        self.shelf = shelf

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint folder, complete or not at all."""
        ours = checkpoint[OURS]
        position = {key: ours[key] for key in ("step", "packs")}
        self.shelf.write(checkpoint, Path(path), facts={**ours["facts"], "position": position})

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> Any:
        """Read a checkpoint folder after its manifest and identity agree."""
        return self.shelf.read(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Nothing to do: the shelf decides what stays."""


class CheckpointKeeper(lightning.Callback):
    """Save every `every` optimiser steps (0: only when asked by a signal), and restore what Lightning does not."""

    def __init__(
        self, shelf: Shelf, *, every: int, micro_batch: int, facts: dict[str, Any], requests: StopRequests
    ) -> None:
        self.shelf, self.every, self.micro_batch, self.facts = shelf, every, micro_batch, facts
        self.requests = requests
        self._step, self._saved_rows, self._restored_rows = 0, 0, 0
        self._position = self._reached = Position()
        self._random: dict[str, Any] | None = None

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Note which rows were there before this start."""
        assert isinstance(pl_module, StageModule)
        if stage == "fit":
            self._saved_rows = self._restored_rows = len(pl_module.seen)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Note signals from here on; keep what an initialisation made, so that it is not made twice."""
        assert isinstance(pl_module, StageModule)
        self.requests.begin_steps()
        self._step = trainer.global_step
        if self.facts.get("initialised") and trainer.global_step == 0:
            self._save(trainer, pl_module, Position())

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Put the random generators back where the checkpoint left them, once."""
        if self._random is not None:
            restore_random_state(self._random)
            self._random = None

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """After an optimiser step: save when it is time or when asked, and leave when asked."""
        step = trainer.global_step
        if step == self._step:
            return
        self._step = step
        self._reached = position_after(trainer, batch_idx, micro_batch=self.micro_batch)
        if step < trainer.max_steps:
            self._save_or_leave(trainer, pl_module, is_due=bool(self.every) and step % self.every == 0)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Leave when asked during the last step; after that a signal ends the stage where it is."""
        self._save_or_leave(trainer, pl_module, is_due=False)
        self.requests.end_steps()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Leave at once from here on."""
        self.requests.end_steps()

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Replace Lightning's loop counters by the position, which holds under any layout."""
        assert isinstance(pl_module, StageModule)
        position = self._position
        checkpoint.pop("loops")
        weights = checkpoint["state_dict"]
        checkpoint["state_dict"] = {name: weights[name] for name in weights if self._is_kept(name, pl_module)}
        if not pl_module.is_sharded:  # FSDP2 hands the state out by name
            states, names = checkpoint["optimizer_states"], pl_module.group_names()
            checkpoint["optimizer_states"] = [by_name(state, names) for state in states]
        checkpoint[OURS] = {
            "step": position.step, "packs": position.packs,
            "random": random_state(), "recent": list(pl_module.guard.recent), "facts": self.facts,
        }  # fmt: skip

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Turn the position back into Lightning's loop counters, for the layout of this run."""
        assert isinstance(pl_module, StageModule)
        if missing := pl_module.learning - set(checkpoint["state_dict"]):
            raise CheckpointError(f"no weights for {sorted(missing)[:3]}", where=f"stage {pl_module.name}")
        if not pl_module.is_sharded:
            states, names = checkpoint["optimizer_states"], pl_module.group_names()
            checkpoint["optimizer_states"] = [by_number(state, names) for state in states]
        ours = checkpoint[OURS]
        position = Position(ours["step"], ours["packs"])
        state = loop_state(trainer, position, micro_batch=self.micro_batch)
        checkpoint["loops"] = {"fit_loop": state}
        self._random = ours["random"]
        pl_module.guard.recent.extend(ours["recent"])

    def all_rows(self, trainer: lightning.Trainer, module: StageModule) -> list[tuple[int, str]]:
        """Return (step, pack id) of the whole stage, over all ranks and all starts; every rank must call it."""
        before, since = module.seen[: self._restored_rows], module.seen[self._restored_rows :]
        return before + gathered_rows(since, trainer.world_size)

    def _is_kept(self, name: str, module: StageModule) -> bool:
        """Frozen weights are in the folder the stage starts from, unless an initialisation changed them."""
        return bool(self.facts.get("initialised")) or name in module.learning

    def _save_or_leave(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, *, is_due: bool
    ) -> None:
        assert isinstance(module, StageModule)
        leave = trainer.strategy.reduce_boolean_decision(bool(self.requests.asked), all=False)
        if leave or is_due:
            self._save(trainer, module, self._reached)
        if leave:
            self.shelf.close()
            trainer.strategy.barrier()  # none leaves before the checkpoint is whole
            self.requests.leave()

    def _save(self, trainer: lightning.Trainer, module: StageModule, position: Position) -> None:
        rows = gathered_rows(module.seen[self._saved_rows :], trainer.world_size)
        self._position, self._saved_rows = position, len(module.seen)
        if trainer.is_global_zero:
            self.shelf.write_samples(rows, step=position.step)
        trainer.save_checkpoint(self.shelf.path_of(position.step))


def gathered_rows(rows: list[tuple[int, str]], world_size: int) -> list[tuple[int, str]]:
    """Join the ranks' (step, pack id) rows in the order of steps, ranks in turn; every rank must call it."""
    if world_size == 1:
        return list(rows)
    parts: list[Any] = [None] * world_size
    torch.distributed.all_gather_object(parts, rows)
    return sorted((row for part in parts for row in part), key=lambda row: row[0])
