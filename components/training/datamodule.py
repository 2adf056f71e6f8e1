"""Packs and images as training reads them: memory-mapped, in an order that (seed, epoch, index) alone decide.

B packs in a micro-batch, L tokens of its longest pack, N its images, S image side.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as lightning
import numpy as np
import torch
from torch.utils.data import Dataset
from torchdata.stateful_dataloader import StatefulDataLoader

from components.errors import DataError
from components.model.packing import Pack, targets, visible
from components.model.vision import normalised
from components.training.order import PackOrder
from components.training.stored_packs import EvenShare, PackDataset

IGNORE = -100


class Batch(NamedTuple):
    """One micro-batch: ids, positions, labels (B, L); visible (B, 1, L, L) bool; pixels (N, 3, S, S).

    `places` are each token's segment and branch (B, L); they stand for `visible` where attention reads no mask.
    `pairs` (B, L) numbers the conversation a token belongs to, over the whole micro-batch (-1: shared or
    padding); `pair_ids` and `kinds` are by that number. `sizes` are the packs' tokens, without padding.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    labels: torch.Tensor
    visible: torch.Tensor | None
    pixels: torch.Tensor | None
    images: torch.Tensor
    pack_ids: tuple[str, ...]
    pairs: torch.Tensor | None = None
    pair_ids: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    places: tuple[torch.Tensor, torch.Tensor] | None = None
    sizes: tuple[int, ...] = ()


def pairs_of_tokens(pack: Pack) -> np.ndarray:
    """Return for each token the number of its conversation in the pack's order, -1 in shared prefixes: (L,)."""
    segments = pack.segments.astype(np.int64)
    count = int(segments.max()) + 1 if len(segments) else 0
    branches = np.array([pack.branches[segments == segment].max() for segment in range(count)], np.int64)
    before = np.concatenate([[0], np.cumsum(branches)[:-1]]) if count else np.zeros(0, np.int64)
    numbers = before[segments] + pack.branches - 1
    return np.where(pack.branches > 0, numbers, -1)


def masks_of(packs: Sequence[Pack], length: int) -> torch.Tensor:
    """Return which token sees which: (B, 1, L, L) bool.

    A padded token sees itself alone, so that no row of the mask is empty (softmax of nothing is NaN).
    """
    mask = np.broadcast_to(np.eye(length, dtype=bool), (len(packs), length, length)).copy()
    for row, pack in enumerate(packs):
        mask[row, : len(pack), : len(pack)] = visible(pack.segments, pack.branches)
    return torch.from_numpy(mask).unsqueeze(1)


def places_of(packs: Sequence[Pack], length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each token's segment and branch, (B, L) each; a padded token is a segment of its own, below 0."""
    segments = np.broadcast_to(-1 - np.arange(length), (len(packs), length)).copy()
    branches = np.zeros((len(packs), length), np.int64)
    for row, pack in enumerate(packs):
        segments[row, : len(pack)], branches[row, : len(pack)] = pack.segments, pack.branches
    return torch.from_numpy(segments), torch.from_numpy(branches)


def deaf_to_requests(_worker: int) -> None:
    """Let a loading process outlive the signals that ask its trainer for a checkpoint.

    Schedulers signal a whole process group; a loading process that obeyed would fail the very step that the
    checkpoint is to be taken after. It ends with its trainer, whose death it watches for.
    """
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


class Collator:
    """Pad packs to the longest, build the visibility mask, and look the images up."""

    def __init__(
        self,
        pixels: np.ndarray,
        image_processor: Any,
        *,
        pad_id: int,
        multiple: int = 1,
        masked: bool = True,
    ) -> None:
        self.pixels, self.image_processor, self.pad_id = pixels, image_processor, pad_id
        self.multiple, self.masked = multiple, masked

    def __call__(self, items: list[tuple[str, Pack]]) -> Batch:
        """Join packs into one micro-batch."""
        packs = [pack for _, pack in items]
        length = -(-max(len(pack) for pack in packs) // self.multiple) * self.multiple
        shape = (len(packs), length)
        ids = np.full(shape, self.pad_id, np.int64)
        positions = np.zeros(shape, np.int64)
        labels, pairs = np.full(shape, IGNORE, np.int64), np.full(shape, -1, np.int64)
        pair_ids: list[str] = []
        for row, pack in enumerate(packs):
            size = len(pack)
            ids[row, :size], positions[row, :size] = pack.ids, pack.positions
            labels[row, :size] = targets(pack, ignore=IGNORE)
            numbers = pairs_of_tokens(pack)
            pairs[row, :size] = np.where(numbers >= 0, numbers + len(pair_ids), -1)
            pair_ids.extend(pack.pair_ids)
        images = np.asarray([image for pack in packs for image in pack.images], np.int64)
        return Batch(
            ids=torch.from_numpy(ids),
            positions=torch.from_numpy(positions),
            labels=torch.from_numpy(labels),
            visible=masks_of(packs, length) if self.masked else None,
            pixels=normalised(self.image_processor, self.pixels[images]) if len(images) else None,
            images=torch.from_numpy(images),
            pack_ids=tuple(pack_id for pack_id, _ in items),
            pairs=torch.from_numpy(pairs),
            pair_ids=tuple(pair_ids),
            kinds=tuple(kind for pack in packs for kind in pack.kinds),
            sizes=tuple(len(pack) for pack in packs),
            places=None if self.masked else places_of(packs, length),
        )


class PackDataModule(lightning.LightningDataModule):
    """Loaders over one mixture's packs; ranks read disjoint packs.

    An epoch of the trainer is `total` packs of the stage's stream (`order.py`), over all ranks; 0 is one pass.
    `start` of them are done: the order is a function of (seed, pass, index), so any number of ranks and workers
    can go on from there. Without `masked` a batch says where tokens lie, and not which see which. Validation reads
    the first `validation_packs` over all ranks, each once; 0 is all.
    """

    def __init__(
        self,
        packs: Path,
        *,
        mixture: str,
        image_processor: Any,
        pad_id: int,
        micro_batch: int,
        workers: int,
        seed: int,
        start: int = 0,
        total: int = 0,
        multiple: int = 1,
        masked: bool = True,
        validation_packs: int = 0,
    ) -> None:
        super().__init__()
        self.train_packs = PackDataset(packs / mixture / "train")
        self.validation_folder = packs / mixture / "validation"
        if len(self.train_packs) == 0:
            raise DataError("no training pack in this mixture", where=str(packs / mixture), fix="dvc repro pack")
        pixels = np.load(packs / "images" / "pixels.npy", mmap_mode="r")
        self.collator = Collator(pixels, image_processor, pad_id=pad_id, multiple=multiple, masked=masked)
        self.micro_batch, self.workers, self.seed = micro_batch, workers, seed
        self.start, self.total, self.validation_packs = start, total, validation_packs

    def train_dataloader(self) -> StatefulDataLoader:
        """Return the shuffled training loader of this rank."""
        world, rank = self._ranks()
        order = PackOrder(
            self.train_packs, num_replicas=world, rank=rank, seed=self.seed, total=self.total, start=self.start
        )
        return self._loader(self.train_packs, order)

    def val_dataloader(self) -> StatefulDataLoader:
        """Return the validation loader of this rank, in stored order; every rank has as many micro-batches."""
        packs = PackDataset(self.validation_folder)
        world, rank = self._ranks()
        count = self.validation_packs or len(packs)
        return self._loader(EvenShare(packs, count=count, rank=rank, ranks=world))

    def _ranks(self) -> tuple[int, int]:
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)

    def _loader(self, packs: Dataset[tuple[str, Pack]], sampler: PackOrder | None = None) -> StatefulDataLoader:
        return StatefulDataLoader(
            packs, batch_size=self.micro_batch, sampler=sampler, num_workers=self.workers,
            collate_fn=self.collator, worker_init_fn=deaf_to_requests,
        )  # fmt: skip
