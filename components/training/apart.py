"""Losses by kind of pair and by source, over every rank's supervised tokens since they were last taken."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from components.tracking.tables import iterate_rows
from components.training.datamodule import IGNORE, Batch


class SourceOfPair(Protocol):
    """What tells a pair's source: a dict, or `PairSources`."""

    def get(self, pair_id: str, /) -> str | None:
        """Return the source, or None."""
        ...


class PairSources:
    """Pair id -> source in ten bytes a pair, since every rank holds millions: hashes in order beside numbers."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self.names: list[str] = []
        rows = np.fromiter(self._numbered(pairs), dtype=[("pair", np.uint64), ("source", np.int16)])
        rows = rows[np.argsort(rows["pair"])]
        self._pairs, self._sources = rows["pair"].copy(), rows["source"].copy()

    def __len__(self) -> int:
        return len(self._pairs)

    def get(self, pair_id: str, /) -> str | None:
        """Return a pair's source, or None for one that is not known."""
        wanted = np.uint64(_hash(pair_id))
        place = int(np.searchsorted(self._pairs, wanted))
        is_known = place < len(self._pairs) and self._pairs[place] == wanted
        return self.names[self._sources[place]] if is_known else None

    def _numbered(self, pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[int, int]]:
        numbers: dict[str, int] = {}
        for pair_id, source in pairs:
            if source not in numbers:
                numbers[source] = len(numbers)
                self.names.append(source)
            yield _hash(pair_id), numbers[source]


def _hash(pair_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(pair_id.encode(), digest_size=8).digest())


def sources_of_pairs(curated: Path) -> PairSources:
    """Return pair id -> source, where the curated pairs are on this disk."""
    rows = iterate_rows(curated, ["pair_id", "source"]) if curated.is_dir() else iter(())
    return PairSources((row["pair_id"], row["source"]) for row in rows)


class LossesApart:
    """Sums of loss by kind of pair and by source, until they are taken."""

    def __init__(self, sources: SourceOfPair) -> None:
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

    def take(self, world_size: int = 1) -> dict[str, float]:
        """Return the mean losses over all ranks since the last call, by metric name; every rank must call it."""
        parts: list[Any] = [dict(self._sums)]
        if world_size > 1:
            parts = [None] * world_size
            torch.distributed.all_gather_object(parts, dict(self._sums))
        self._sums.clear()
        return _means(parts)

    def _names(self, batch: Batch, number: int) -> list[str]:
        names = [f"loss_kind/{batch.kinds[number]}"] if number < len(batch.kinds) else []
        source = self.sources.get(batch.pair_ids[number])
        return [*names, f"loss_source/{source}"] if source else names


def _means(parts: Iterable[Mapping[str, tuple[float, float]]]) -> dict[str, float]:
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for part in parts:
        for name, (total, size) in part.items():
            sums[name][0] += total
            sums[name][1] += size
    return {name: total / size for name, (total, size) in sorted(sums.items()) if size}
