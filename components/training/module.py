"""One Lightning module for every stage of every recipe: what differs is the row it is handed.

Vocabulary logits are computed at supervised positions only, and frozen parts take part without a gradient
graph. B packs, L tokens, N images, D hidden size, V vocabulary, K supervised positions.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import lightning.pytorch as lightning
import torch
from torch.distributed.tensor import DTensor

from components.errors import ConfigError, TrainingError
from components.model.attention import attend
from components.model.block_attention import attend_in_blocks, hidden_states
from components.model.decoder_layer import written_out
from components.model.vlm import embed_with_images, part_of, project, train_only, vision_features
from components.settings import Speed, Stage
from components.training.adapters import add_adapters, rest_under_adapters
from components.training.apart import LossesApart
from components.training.cast_once import frozen_cast_once
from components.training.cross_entropy import cross_entropy
from components.training.datamodule import IGNORE, Batch
from components.training.features import FeatureCache
from components.training.guard import DivergenceGuard, refuse
from components.training.stages import (
    check_gradients,
    check_rates,
    is_cast_once,
    is_written_out,
    learning_rate_factor,
)
from components.training.strategies import over_ranks, shard
from components.training.telemetry import gradient_norms, is_log_point, part_rates


def pack_losses(
    vlm: Any,
    batch: Batch,
    *,
    image_features: torch.Tensor | None,
    supervised_logits: bool = True,
    joined: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the cross-entropy at each supervised position of a micro-batch: (K,), in reading order.

    `image_features` are projected (N, T, D), or None for text alone. Without `supervised_logits` the plain path
    is taken, which computes the vocabulary's logits everywhere and looks at some. `joined` is a zero that brings a
    graph into text alone, so that a language model in pieces is gathered again on the way back.
    """
    embeddings = embed_with_images(vlm, batch.ids, image_features)
    embeddings = embeddings if joined is None else embeddings + joined.to(embeddings.dtype)
    hidden = hidden_states(
        vlm.model.language_model, embeddings, positions=batch.positions, visible=batch.visible, places=batch.places
    )
    is_target = batch.labels != IGNORE
    logits_KV = vlm.lm_head(hidden[is_target]) if supervised_logits else vlm.lm_head(hidden)[is_target]
    return cross_entropy(logits_KV, batch.labels[is_target])


def without_packs(batch: Batch, skipped: frozenset[str]) -> Batch:
    """Return a micro-batch in which these packs have nothing to learn; the order of the others stays."""
    rows = [row for row, pack_id in enumerate(batch.pack_ids) if pack_id in skipped]
    if not rows:
        return batch
    labels = batch.labels.clone()
    labels[rows] = IGNORE
    return batch._replace(labels=labels)


def losses_of_packs(losses: torch.Tensor, batch: Batch) -> dict[str, float]:
    """Return each pack's mean over its part of the losses (K,) of a micro-batch, 0 without a supervised token."""
    counts = (batch.labels != IGNORE).sum(1).tolist()
    parts = torch.split(losses.detach(), counts)
    return {
        pack: float(part.mean()) if count else 0.0
        for pack, part, count in zip(batch.pack_ids, parts, counts, strict=True)
    }


def switch_on(vlm: Any, speed: Speed) -> None:
    """Set what changes how a model computes, and not what: recomputed activations, a compiled language model."""
    if speed.activation_checkpointing:
        vlm.activation_checkpointing_enable({"use_reentrant": False})
    attend(vlm, speed.attention)
    attend_in_blocks(vlm, speed.attention)
    if speed.compile:
        vlm.model.language_model.compile(dynamic=True)


def clip_gradients(optimizer: torch.optim.Optimizer, limit: float | None) -> float:
    """Scale an optimiser's gradients down to a joint norm of `limit`, None leaves them; return what it was."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    if limit is not None:
        torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm)
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)


def with_schedule(
    optimizer: torch.optim.Optimizer, *, steps: int, warmup_ratio: float, schedule: str
) -> dict[str, Any]:
    """Return what Lightning wants of an optimiser whose learning rate follows a schedule step by step."""
    rates = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: learning_rate_factor(step, steps=steps, warmup_ratio=warmup_ratio, schedule=schedule),
    )
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": rates, "interval": "step"}}


class ClippedByNorm(lightning.LightningModule):
    """A module whose gradients are clipped by their joint norm."""

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by norm here: Lightning refuses to clip for a fused optimiser under autocast."""
        self.judge_gradients(clip_gradients(optimizer, gradient_clip_val))

    def judge_gradients(self, norm: float) -> None:
        """Look at the joint norm that the gradients had, before a step is made along them; here all may."""


class StageModule(ClippedByNorm):
    """Train the parts that a recipe's row names, on packs, with its optimiser and schedule."""

    def __init__(
        self,
        vlm: Any,
        stage: Stage,
        *,
        name: str,
        steps: int,
        log: Callable[[dict[str, float], int], None],
        guard: DivergenceGuard | None = None,
        speed: Speed | None = None,
        features: FeatureCache | None = None,
        apart: LossesApart | None = None,
        log_every: int = 1,
    ) -> None:
        super().__init__()
        self.strict_loading = False  # a checkpoint holds what learns; the rest is in the folder it starts from
        self.vlm, self.stage, self.name, self.steps, self.log_point = vlm, stage, name, steps, log
        self.guard, self.speed, self.cache = guard or DivergenceGuard(), speed or Speed(), features
        self.apart, self.log_every, self.encoded_images = apart or LossesApart({}), log_every, 0
        add_adapters(vlm, stage.adapters)
        train_only(vlm, stage.trains)
        self.learning = {f"vlm.{parameter}" for parameter in rest_under_adapters(vlm, stage.adapters)}
        switch_on(vlm, self.speed)
        self.seen: list[tuple[int, str]] = []
        self.validation_losses: list[tuple[float, int]] = []
        self._losses: list[float] = []
        self._supervised, self.is_sharded = 0, False
        self._checked, self._rates_checked = False, False
        self._casts = ExitStack()

    def image_features(self, batch: Batch) -> torch.Tensor | None:
        """Encode a micro-batch's images, without a graph where the tower is frozen: (N, T, D)."""
        if batch.pixels is None:
            return None
        if self._is_cached():
            assert self.cache is not None
            return project(self.vlm, self._cached_features(self.cache, batch).to(batch.ids.device))
        with torch.set_grad_enabled("vision" in self.stage.trains and torch.is_grad_enabled()):
            features = vision_features(self.vlm, batch.pixels)
        self.encoded_images += len(batch.pixels)
        return project(self.vlm, features)

    def _cached_features(self, cache: FeatureCache, batch: Batch) -> torch.Tensor:
        def compute(places: list[int]) -> torch.Tensor:
            assert batch.pixels is not None
            with torch.no_grad():
                return vision_features(self.vlm, batch.pixels[places])

        rows, before = batch.images.tolist(), cache.computed
        if self._tower_runs(cache.lacks(rows)) and not cache.lacks(rows):
            compute([0])  # another rank's image is new
        features = cache.features(rows, compute)
        self.encoded_images += cache.computed - before
        return features

    def _is_cached(self) -> bool:
        return self.cache is not None and "vision" not in self.stage.trains and self.trainer.training

    def _tower_runs(self, needed: bool) -> bool:
        """Say whether the tower must run: one in pieces is gathered by all ranks or by none."""
        return self.trainer.strategy.reduce_boolean_decision(needed, all=False) if self.is_sharded else needed

    def configure_model(self) -> None:
        """Shard the model where the strategy has made a mesh (FSDP2); once, before the optimiser is made."""
        if self.device_mesh is not None and any(row.four_bit for row in self.stage.adapters.values()):
            raise ConfigError(
                "four-bit weights cannot be sharded", where=f"stage {self.name}", fix="cluster.strategy=ddp"
            )
        if self.device_mesh is not None and not self.is_sharded:
            self.vlm.losses_of = types.MethodType(lambda _, batch: self.losses_of(batch), self.vlm)
            shard(self.vlm, self.device_mesh["data_parallel"], forward="losses_of")
            self.is_sharded = True

    def on_train_start(self) -> None:
        """Write out the decoder layers and cast what is frozen once, as the run's precision lets."""
        self.write_out(str(self.trainer.precision))

    def write_out(self, precision: str) -> None:
        """Let layers compute faster from here to the fit's end, unless they are compiled or in pieces."""
        if is_written_out(self.speed, self.stage.trains, precision, in_pieces=self.is_sharded):
            self._casts.enter_context(written_out(self.vlm.model.language_model))
        if is_cast_once(self.speed, precision, in_pieces=self.is_sharded):
            self._casts.enter_context(frozen_cast_once(self.vlm, torch.bfloat16))

    def on_train_end(self) -> None:
        """Let the layers compute from their own weights again."""
        self._casts.close()

    def losses_of(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the losses (K,) and a zero that joins every learning part to the graph.

        Text alone never reaches tower and projector; several processes wait for each other's gradients, so a
        micro-batch without images sends a blank one through, with no weight.
        """
        nothing = self._of_a_blank(batch) if batch.pixels is None else None
        losses = pack_losses(
            self.vlm,
            batch,
            image_features=self.image_features(batch),
            supervised_logits=self.speed.supervised_logits,
            joined=nothing if self.is_sharded else None,
        )
        return losses, losses.new_zeros(()) if nothing is None else nothing

    def _of_a_blank(self, batch: Batch) -> torch.Tensor:
        """Send a blank image through, where an image would go: ranks in pieces gather the parts in one order."""
        if self._is_cached():
            self._tower_runs(True)
        size = self.vlm.config.vision_config.image_size
        blank = torch.zeros(1, 3, size, size, device=batch.ids.device)
        return 0.0 * project(self.vlm, vision_features(self.vlm, blank)).float().sum()

    def training_step(self, batch: Batch, _: int) -> torch.Tensor:
        """Return the mean loss over supervised tokens; Diverged, on every rank, when one's guard refuses it."""
        batch = without_packs(batch, self.guard.skipped)
        losses, nothing = self.vlm.losses_of(batch) if self.is_sharded else self.losses_of(batch)
        loss = losses.mean() if losses.numel() else losses.sum()
        loss = loss if batch.pixels is not None else loss + nothing
        kept = tuple(pack_id for pack_id in batch.pack_ids if pack_id not in self.guard.skipped)
        value = loss.item()
        self._judge(value, losses, batch, kept)
        self.seen.extend((self.global_step, pack_id) for pack_id in kept)
        self.apart.add(losses, batch)
        self._losses.append(value)
        self._supervised += losses.numel()
        return loss

    def _judge(self, value: float, losses: torch.Tensor, batch: Batch, kept: tuple[str, ...]) -> None:
        """Let the guard judge a micro-batch before its gradients reach the other ranks; all ranks must call it."""
        reason, blamed = self.guard.reason(value) if kept else "", ()
        if reason:
            means = losses_of_packs(losses, batch)
            blamed = self.guard.blamed({pack: means[pack] for pack in kept})
        if self.trainer.world_size > 1:
            reason, blamed = self._agreed(reason, blamed)
        if reason:
            refuse(f"loss is {reason}", step=self.global_step, stage=self.name, packs=blamed)
        if kept:
            self.guard.note(value)

    def _agreed(self, reason: str, packs: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        """Return the first rank's reason and every rank's packs, the same on all ranks; "" when all agree."""
        if not self.trainer.strategy.reduce_boolean_decision(bool(reason), all=False):
            return "", ()
        found: list[Any] = [None] * self.trainer.world_size
        torch.distributed.all_gather_object(found, (reason, packs))
        return next(why for why, _ in found if why), tuple(pack for _, row in found for pack in row)

    def judge_gradients(self, norm: float) -> None:
        """Refuse gradients that are not finite: a step along them would spoil what learns for good."""
        if math.isfinite(norm):
            return
        reason = f"the gradients' norm is {norm}"
        packs = tuple(pack for step, pack in self.seen if step == self.global_step)
        if self.trainer.world_size > 1:
            reason, packs = self._agreed(reason, packs)  # the norm is of all ranks, and so the same on each
        refuse(reason, step=self.global_step, stage=self.name, packs=packs)

    def on_after_backward(self) -> None:
        """Check once that exactly the row's parameters received gradients."""
        if not self._checked:
            parameters = ((n, p) for n, p in self.named_parameters())
            check_gradients(parameters, self.learning, stage=self.name)
            self._checked = True

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Log the step's loss, learning rate and supervised tokens; at log points also by part and source."""
        if not self._rates_checked:
            self._check_optimizer(optimizer)
        point = {
            "loss": over_ranks(self.trainer, [sum(self._losses) / len(self._losses)], "mean")[0],
            "learning_rate": float(optimizer.param_groups[0]["lr"]),
            "supervised_tokens": over_ranks(self.trainer, [float(self._supervised)], "sum")[0],
        }
        if is_log_point(self.global_step, self.log_every):
            point |= gradient_norms(self.vlm.named_parameters(), self.trainer)
            point |= part_rates(optimizer.param_groups, self.group_names())
            point |= self.apart.take(self.trainer.world_size)
        self._losses, self._supervised = [], 0
        self.log_point(point, self.global_step)

    def _check_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Check, once a start, that the optimiser is fresh at the stage's start and on its schedule at any."""
        step, stage = self.global_step, self.stage
        if step == 0 and optimizer.state:
            raise TrainingError("the optimiser is not fresh at the stage's start", where=f"stage {self.name}")
        factor = learning_rate_factor(
            step, steps=self.steps, warmup_ratio=self._warmup_ratio(), schedule=stage.schedule
        )
        wanted = [factor * group.get("lr", stage.learning_rate) for group in self._parameter_groups()]
        found = [float(group["lr"]) for group in optimizer.param_groups]
        check_rates(found, wanted, step=step, stage=self.name)
        self._rates_checked = True

    def validation_step(self, batch: Batch, _batch_index: int) -> None:
        """Collect the summed loss and count of supervised tokens."""
        losses, _ = self.vlm.losses_of(batch) if self.is_sharded else self.losses_of(batch)
        self.validation_losses.append((float(losses.sum()), losses.numel()))

    def configure_optimizers(self) -> Any:
        """AdamW with the row's betas; decay on matrices only."""
        groups = self._parameter_groups()
        fused = True if self.speed.fused_optimizer else None
        optimizer = torch.optim.AdamW(groups, lr=self.stage.learning_rate, betas=self.stage.betas, fused=fused)
        return with_schedule(
            optimizer, steps=self.steps, warmup_ratio=self._warmup_ratio(), schedule=self.stage.schedule
        )

    def group_names(self) -> list[list[str]]:
        """Return the names of the parameters in each of the optimiser's groups, in its order."""
        names = {id(parameter): name for name, parameter in self.named_parameters()}
        return [[names[id(parameter)] for parameter in group["params"]] for group in self._parameter_groups()]

    def _warmup_ratio(self) -> float:
        stage = self.stage
        return min(stage.warmup_steps / self.steps, 1.0) if stage.warmup_steps else stage.warmup_ratio

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """Matrices decay, vectors do not; a part with its own peak learning rate has its own two groups."""
        stage, groups = self.stage, []
        named = [(name.removeprefix("vlm."), p) for name, p in self.named_parameters() if p.requires_grad]
        own = [part for part in stage.learning_rates if part in stage.trains]
        for part in ("", *own):
            chosen = [p for name, p in named if (part_of(name) == part if part else part_of(name) not in own)]
            rate = {"lr": stage.learning_rates[part]} if part else {}
            decays = [p for p in chosen if p.ndim >= 2], [p for p in chosen if p.ndim < 2]
            groups.append({"params": decays[0], "weight_decay": stage.weight_decay, **rate})
            groups.append({"params": decays[1], "weight_decay": 0.0, **rate})
        return [group for group in groups if group["params"]] if own else groups
