"""How several processes share a stage: DDP, or FSDP2 with weights, gradients and optimiser state in pieces.

FSDP2 shards every block of the language model and of the vision encoder, and what remains as one group; the
vision tower itself stays whole, because a sharded tower loses its hidden states. Checkpoints are written
as whole tensors by the first process, so a stage can go on under another number of processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from lightning.pytorch.strategies import ModelParallelStrategy, Strategy
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from components.model.vlm import model_class
from components.settings import Cluster

FULL = StateDictOptions(full_state_dict=True, cpu_offload=True)
# every rank reads the same checkpoint, so each keeps its own piece of it and nothing is sent
LOADED = StateDictOptions(full_state_dict=True, strict=False)


def make_strategy(cluster: Cluster) -> str | Strategy:
    """Return what Lightning's trainer takes as its strategy."""
    if not cluster.in_pieces:
        return cluster.strategy
    return ShardedStrategy(data_parallel_size=cluster.devices * cluster.nodes, tensor_parallel_size=1)


class ShardedStrategy(ModelParallelStrategy):
    """FSDP2 whose checkpoints go the same way as everyone's: whole tensors through the checkpoint plugin."""

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Return whole weights on the first rank, nothing on the others; every rank must call it."""
        assert self.model is not None
        return get_model_state_dict(self.model, options=FULL)

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        """Return the whole optimiser state by parameter name on the first rank; every rank must call it."""
        assert self.model is not None
        plain = getattr(optimizer, "_optimizer", optimizer)
        return get_optimizer_state_dict(self.model, plain, options=FULL)

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        """Write on the first rank."""
        if self.is_global_zero:
            self.checkpoint_io.save_checkpoint(checkpoint, filepath)
        self.barrier()

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Read on every rank; lay weights and optimiser state over the pieces this rank holds."""
        assert self.model is not None
        checkpoint = self.checkpoint_io.load_checkpoint(checkpoint_path)
        set_model_state_dict(self.model, dict(checkpoint["state_dict"]), options=LOADED)
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            if state["state"]:
                set_optimizer_state_dict(self.model, optimizer, state, options=LOADED)
        return checkpoint


def shard(vlm: Any, mesh: Any, *, forward: str) -> None:
    """Shard a LLaVA over a one-dimensional mesh; its method `forward` is what unshards and reduces."""
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    for block in blocks_of(vlm):
        fully_shard(block, mesh=mesh)
    fully_shard(vlm, mesh=mesh)
    register_fsdp_forward_method(vlm, forward)


def gathered_model(vlm: Any) -> Any:
    """Return a sharded LLaVA as a whole one on the first rank (None elsewhere); every rank must call it."""
    weights = get_model_state_dict(vlm, options=FULL)
    if torch.distributed.get_rank():
        return None
    model = model_class(vlm.config)(vlm.config)
    model.load_state_dict(weights)
    model.generation_config = vlm.generation_config
    return model


def blocks_of(vlm: Any) -> list[nn.Module]:
    """Return the transformer blocks of the vision encoder and the language model: the longest module lists."""
    found: list[nn.Module] = []
    for part in (vlm.model.vision_tower, vlm.model.language_model):
        lists = [module for module in part.modules() if isinstance(module, nn.ModuleList)]
        found.extend(max(lists, key=len))
    return found


def over_ranks(trainer: Any, values: Sequence[float], operation: Literal["mean", "sum", "max"]) -> list[float]:
    """Reduce each value over the ranks, in one message; every rank must call it."""
    if trainer.world_size == 1:
        return list(values)
    sent = torch.tensor(values, dtype=torch.float64, device=trainer.strategy.root_device)
    return trainer.strategy.reduce(sent, reduce_op=operation).tolist()


def piece_of(tensor: torch.Tensor) -> tuple[torch.Tensor, bool]:
    """Return what this rank holds of a tensor, and whether the others hold other pieces of it."""
    local = getattr(tensor, "to_local", None)
    return (local(), True) if local is not None else (tensor, False)
