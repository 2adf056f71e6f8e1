"""A frozen tower's features, computed once an image and kept on disk.

The key is the image's stored pixels and all that features follow from (`recipe`): the tower's weights, the
preprocessing, the layer and the tokens taken of it, the precision and the way of attending. A change of any
begins another folder. Features are kept in float32, which holds what autocast computes without loss.

N images, T image tokens, D the tower's hidden size.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from components.tracking.digest import digest_bytes, digest_json


class FeatureCache:
    """Features by image, in one growing file a process; images are known by the hash of their pixels."""

    def __init__(self, root: Path, pixels: np.ndarray, *, recipe: Mapping[str, Any], rank: int = 0) -> None:
        self.folder = root / digest_json(dict(recipe))[:16] / f"rank-{rank}"
        self.pixels = pixels
        self.computed = 0
        self._places: dict[str, int] = {}
        self._hashes: dict[int, str] = {}
        self._shape: tuple[int, ...] = ()
        self._dtype = torch.float32
        self._open()

    def features(self, rows: Sequence[int], compute: Callable[[list[int]], torch.Tensor]) -> torch.Tensor:
        """Return (N, T, D) for rows of the image store; `compute` is asked, once, for those not yet known.

        `compute` gets positions in `rows` and returns their features in that order.
        """
        wanted = [self._hash(row) for row in rows]
        first = {name: place for place, name in reversed(list(enumerate(wanted))) if name not in self._places}
        missing = sorted(first.values())
        if missing:
            self._append([wanted[place] for place in missing], compute(missing))
        stored = np.memmap(self.folder / "features.bin", np.float32, "r", shape=(len(self._places), *self._shape))
        return torch.from_numpy(stored[[self._places[name] for name in wanted]]).to(self._dtype)

    def lacks(self, rows: Sequence[int]) -> bool:
        """Say whether any of these rows' features is not known yet."""
        return any(self._hash(row) not in self._places for row in rows)

    def _hash(self, row: int) -> str:
        if row not in self._hashes:
            self._hashes[row] = digest_bytes(np.ascontiguousarray(self.pixels[row]).tobytes())
        return self._hashes[row]

    def _append(self, names: Sequence[str], features: torch.Tensor) -> None:
        self._shape, self._dtype = tuple(features.shape[1:]), features.dtype
        self.computed += len(names)
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "features.bin").open("r+b" if self._places else "wb") as handle:
            handle.seek(len(self._places) * int(np.prod(self._shape)) * 4)
            handle.write(features.detach().float().cpu().numpy().tobytes())
        for name in names:
            self._places[name] = len(self._places)
        # The index is written after the features: what a kill leaves unlisted is written over.
        with (self.folder / "index.jsonl").open("a") as handle:
            kind = str(self._dtype).removeprefix("torch.")
            handle.write(json.dumps({"names": list(names), "shape": self._shape, "dtype": kind}) + "\n")

    def _open(self) -> None:
        file = self.folder / "index.jsonl"
        lines = file.read_text().splitlines(keepends=True) if file.is_file() else []
        whole = [line for line in lines if line.endswith("\n")]
        if len(whole) < len(lines):
            file.write_text("".join(whole))
        for line in whole:
            row = json.loads(line)
            self._shape, self._dtype = tuple(row["shape"]), getattr(torch, row["dtype"])
            for name in row["names"]:
                self._places[name] = len(self._places)
