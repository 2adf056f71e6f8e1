"""What a stage reports while it trains: speed, share of time waiting for input, utilisation, memory, losses apart.

Points go out after every `every`-th optimiser step, from the first process. Utilisation is the forecast's
operations over the device's peak; the losses of each kind of pair and of each source are means over the
supervised tokens of this process since the last point.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch

from components.training.datamodule import IGNORE, Batch
from components.training.forecast import PackFacts, Shape, pack_flops

LogPoint = Callable[[dict[str, float], int], None]


class LossesApart:
    """Sums of loss by kind of pair and by source, until they are taken."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self.sources = sources
        self._sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])

    def add(self, losses: torch.Tensor, batch: Batch) -> None:
        """Add the losses (K,) of a micro-batch's supervised positions, in reading order."""
        if batch.pairs is None or not batch.pair_ids:
            return
        pairs = batch.pairs[batch.labels != IGNORE]
        count = len(batch.pair_ids)
        sums = torch.zeros(count, dtype=torch.float32, device=losses.device).index_add_(
            0, pairs, losses.detach().float()
        )
        tokens = torch.bincount(pairs, minlength=count)
        for number, (total, size) in enumerate(zip(sums.tolist(), tokens.tolist(), strict=True)):
            for name in self._names(batch, number):
                self._sums[name][0] += total
                self._sums[name][1] += size

    def take(self) -> dict[str, float]:
        """Return the mean losses since the last call, by metric name."""
        taken = {name: total / size for name, (total, size) in sorted(self._sums.items()) if size}
        self._sums.clear()
        return taken

    def _names(self, batch: Batch, number: int) -> list[str]:
        names = [f"loss_kind/{batch.kinds[number]}"] if number < len(batch.kinds) else []
        source = self.sources.get(batch.pair_ids[number])
        return [*names, f"loss_source/{source}"] if source else names


class Telemetry(lightning.Callback):
    """Time the steps from outside: what a step costs, and what of it is waiting for the next micro-batch."""

    def __init__(
        self, shape: Shape, *, trains: tuple[str, ...], peak_flops: float, log: LogPoint, every: int
    ) -> None:
        self.shape, self.trains, self.peak_flops, self.log_point, self.every = (
            shape,
            trains,
            peak_flops,
            log,
            every,
        )
        self._step = 0
        self._clear()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the clock."""
        self._step, self._ended = trainer.global_step, time.perf_counter()
        self._clear()

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Count the time since the last micro-batch ended as waiting."""
        self._waited += time.perf_counter() - self._ended

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count the micro-batch; after every `every`-th optimiser step, report."""
        self._count(batch)
        step = trainer.global_step
        if step != self._step:
            self._step = step
            if step % self.every == 0:
                self.log_point(self._point(trainer), step - 1)
                self._clear()
        self._ended = time.perf_counter()

    def _count(self, batch: Batch) -> None:
        facts = PackFacts(
            packs=1,
            tokens=float(batch.ids.shape[1]),
            supervised=float((batch.labels != IGNORE).sum()) / len(batch.ids),
            images=len(batch.images) / len(batch.ids),
        )
        self._tokens += batch.ids.numel()
        self._supervised += facts.supervised * len(batch.ids)
        self._flops += pack_flops(self.shape, facts, trains=self.trains) * len(batch.ids)

    def _point(self, trainer: lightning.Trainer) -> dict[str, float]:
        seconds = max(time.perf_counter() - self._started, 1e-9)
        ranks = trainer.world_size
        return {
            "tokens_per_second": ranks * self._tokens / seconds,
            "supervised_tokens_per_second": ranks * self._supervised / seconds,
            "share_waiting_for_input": self._waited / seconds,
            "model_flops_utilisation": self._flops / seconds / self.peak_flops,
            "memory_gigabytes": memory_in_use() / 1e9,
        }

    def _clear(self) -> None:
        self._started = time.perf_counter()
        self._tokens, self._supervised, self._flops, self._waited = 0, 0.0, 0.0, 0.0


def memory_in_use() -> int:
    """Return the peak bytes on the accelerator, or this process's resident bytes without one."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * 4096 if statm.is_file() else 0
