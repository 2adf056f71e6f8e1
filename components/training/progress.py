"""A progress bar of optimiser steps with the current loss, on standard error, for rank 0."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as lightning
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class StepProgress(lightning.Callback):
    """Draw one bar for one fit; a terminal sees it move, a log file sees its last state."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("loss {task.fields[loss]}"),
            console=Console(stderr=True),
        )

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the bar on rank 0."""
        if trainer.is_global_zero:
            self.progress.start()
            self.task = self.progress.add_task(self.label, total=trainer.max_steps, loss="-")

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Move the bar to the optimiser step reached."""
        if trainer.is_global_zero:
            loss = outputs["loss"] if isinstance(outputs, dict) else outputs
            self.progress.update(self.task, completed=trainer.global_step, loss=f"{float(loss):.3f}")

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stop the bar."""
        self.progress.stop()
