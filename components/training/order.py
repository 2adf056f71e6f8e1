"""The order a stage reads its packs in: pass after pass as one stream without seams, dealt to the ranks in turn.

A stream has no end of an epoch inside: the optimiser step in which a pass runs out takes the rest of its packs
from the next one. Every step therefore reads `packs_per_step` packs whatever the number of devices and of packs,
each pass holds every pack once, and no rank is handed a pack twice to make the ranks even.
"""

from __future__ import annotations

from collections.abc import Iterator, Sized

import torch
from torchdata.stateful_dataloader.sampler import StatefulDistributedSampler


class PackOrder(StatefulDistributedSampler):
    """One rank's share of the stream: every `num_replicas`-th pack of it, from `start` packs on.

    Pack `i` of the stream is the `i % n`-th of pass `i // n`, whose order follows from (seed, pass) alone. An
    epoch of the trainer is `total` packs of the stream over all ranks, cut to whole rounds of the ranks.
    """

    def __init__(
        self, packs: Sized, *, num_replicas: int, rank: int, seed: int, total: int = 0, start: int = 0
    ) -> None:
        super().__init__(packs, num_replicas, rank, shuffle=True, seed=seed)  # ty: ignore[invalid-argument-type]
        self.num_packs = len(packs)
        self.num_samples = (total or self.num_packs) // num_replicas
        self.total_size = self.num_samples * num_replicas
        self.load_state_dict({self._YIELDED: start // num_replicas})

    def __iter__(self) -> Iterator[int]:
        """Yield the pack numbers that are still to come in this epoch."""
        self.yielded, self.next_yielded = self.next_yielded or 0, None
        current, order = -1, torch.empty(0)
        for number in range(self.yielded, self.num_samples):
            place = self.epoch * self.total_size + number * self.num_replicas + self.rank
            if place // self.num_packs != current:
                current = place // self.num_packs
                order = self._order_of(current)
            self.yielded += 1
            yield int(order[place % self.num_packs])

    def _order_of(self, number: int) -> torch.Tensor:
        generator = torch.Generator()
        generator.manual_seed(self.seed + number)
        return torch.randperm(self.num_packs, generator=generator)
