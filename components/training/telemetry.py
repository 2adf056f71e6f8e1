"""What a stage reports while it trains: speed, share of time waiting for input, utilisation, norms, rates, memory.

Points go out after every `every`-th optimiser step, from the first process, over all of them: tokens and
operations are summed, waiting is the mean, memory that of the process that holds most. Tokens are those of packs,
without padding, which has a share of its own. Utilisation is the forecast's operations over the devices' peak; an
image whose features were kept is not counted as encoded.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch

from components.model.vlm import part_of
from components.training.datamodule import IGNORE, Batch
from components.training.forecast import PackFacts, Shape, pack_flops
from components.training.strategies import over_ranks, piece_of

LogPoint = Callable[[dict[str, float], int], None]


def is_log_point(step: int, every: int) -> bool:
    """Say whether the optimiser step (0-based) is one after which everything is reported."""
    return (step + 1) % every == 0


def gradient_norms(parameters: Iterable[tuple[str, torch.Tensor]], trainer: Any) -> dict[str, float]:
    """Return the gradient norm of each part; every rank must call it.

    Each rank squares the pieces it holds, and only the sums travel: no gradient is ever whole.
    """
    squares: defaultdict[tuple[str, bool], list[torch.Tensor]] = defaultdict(list)
    for name, parameter in parameters:
        if parameter.grad is not None:
            local, in_pieces = piece_of(parameter.grad.detach())
            norm = torch.linalg.vector_norm(local, dtype=torch.float32)
            squares[part_of(name), in_pieces].append(norm.double().square())
    sums = {key: float(torch.stack(found).sum()) for key, found in sorted(squares.items())}
    pieces = [key for key in sums if key[1]]
    if pieces:
        sums |= zip(pieces, over_ranks(trainer, [sums[key] for key in pieces], "sum"), strict=True)
    return {
        f"gradient_norm_{part}": sum(value for (name, _), value in sums.items() if name == part) ** 0.5
        for part in sorted({part for part, _ in sums})
    }


def part_rates(groups: Sequence[dict[str, Any]], names: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return the learning rate of each part; `names` are those of the groups' parameters, in their order."""
    return {
        f"learning_rate_{part_of(name.removeprefix('vlm.'))}": float(group["lr"])
        for group, own in zip(groups, names, strict=True)
        for name in own
    }


class Clock(lightning.Callback):
    """Note when a micro-batch was over: the last callback, so that a checkpoint is no waiting for input."""

    def __init__(self) -> None:
        self.ended = 0.0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the clock."""
        self.ended = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Note the time: from here on the next micro-batch is waited for."""
        self.ended = time.perf_counter()


class Telemetry(lightning.Callback):
    """Time the steps from outside: what a step costs, and what of it is waiting for the next micro-batch.

    It stands before the keeper, which may end the process, and its `clock` behind.
    """

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
        self.clock = Clock()
        self._step, self._encoded = 0, 0
        self._clear()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start counting."""
        self._step, self._encoded = trainer.global_step, _encoded(pl_module)
        self._clear()

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Count the time since the last micro-batch was over as waiting."""
        self._waited += time.perf_counter() - self.clock.ended

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count the micro-batch; after every `every`-th optimiser step, report."""
        before, self._encoded = self._encoded, _encoded(pl_module)
        self._count(batch, encoded=self._encoded - before)
        step = trainer.global_step
        if step != self._step:
            self._step = step
            if is_log_point(step - 1, self.every):
                self.log_point(self._point(trainer), step - 1)
                self._clear()

    def _count(self, batch: Batch, *, encoded: int) -> None:
        supervised = int((batch.labels != IGNORE).sum())
        self._tokens += sum(batch.sizes)
        self._padded += batch.ids.numel()
        self._supervised += supervised
        self._flops += batch_flops(self.shape, batch, trains=self.trains, supervised=supervised, encoded=encoded)

    def _point(self, trainer: lightning.Trainer) -> dict[str, float]:
        seconds = max(time.perf_counter() - self._started, 1e-9)
        tokens, padded, supervised, flops, waited = over_ranks(
            trainer, [self._tokens, self._padded, self._supervised, self._flops, self._waited], "sum"
        )
        (memory,) = over_ranks(trainer, [memory_in_use()], "max")
        return {
            "tokens_per_second": tokens / seconds,
            "supervised_tokens_per_second": supervised / seconds,
            "padding_share": 1 - tokens / max(padded, 1),
            "share_waiting_for_input": waited / trainer.world_size / seconds,
            "model_flops_utilisation": flops / trainer.world_size / seconds / self.peak_flops,
            "memory_gigabytes": memory / 1e9,
        }

    def _clear(self) -> None:
        self._started = time.perf_counter()
        self._tokens, self._padded, self._supervised, self._flops, self._waited = 0, 0, 0, 0.0, 0.0


def _encoded(module: Any) -> int:
    """Return the images that a stage's module has sent through the tower since its start."""
    return module.encoded_images


def batch_flops(shape: Shape, batch: Batch, *, trains: tuple[str, ...], supervised: int, encoded: int) -> float:
    """Return a micro-batch's operations, padding left out; `encoded` of its images went through the tower.

    Tokens are counted pack by pack, since attention grows with the square of a pack; the rest is linear.
    """
    lengths = (PackFacts(1, size, 0, 0) for size in batch.sizes)
    rest = PackFacts(1, 0, supervised, len(batch.images))
    of_tokens = sum(pack_flops(shape, facts, trains=trains) for facts in lengths)
    return of_tokens + pack_flops(shape, rest, trains=trains, encoded=encoded)


def memory_in_use() -> int:
    """Return the peak bytes on the accelerator, or this process's resident bytes without one."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * 4096 if statm.is_file() else 0
