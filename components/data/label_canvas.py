"""Masks that may overlap laid into one volume of codes: a smaller structure lies over a larger one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from components.data.volume_records import NamedCodes
from components.data.volumes import Volume


@dataclass(frozen=True, slots=True)
class LabelCanvas:
    """Masks laid over each other: code of each voxel, voxels and label of each code (0 is background)."""

    volume: Volume | None
    sizes: tuple[int, ...]
    labels: tuple[str, ...]

    @classmethod
    def empty(cls) -> LabelCanvas:
        """Return a canvas on which nothing lies."""
        return cls(None, (0,), ("",))

    def with_mask(self, mask: Volume, label: str) -> LabelCanvas:
        """Lay a mask (voxels above 0) on top; this canvas's codes are written over and belong to the new one.

        Where it meets another the smaller of the two stays visible, whatever their order.
        """
        inside = mask.voxels > 0
        code, size = len(self.sizes), int(np.count_nonzero(inside))
        if self.volume is None:
            codes = np.where(inside, np.uint16(code), np.uint16(0))
        else:
            codes = self.volume.voxels
            taken = codes[inside]
            wins = (taken == 0) | (np.asarray(self.sizes)[taken] > size)
            codes[inside] = np.where(wins, np.uint16(code), taken)
        return LabelCanvas(Volume(codes, mask.affine), (*self.sizes, size), (*self.labels, label))

    def codes(self) -> NamedCodes | None:
        """The codes and their names; None when no mask was read."""
        if self.volume is None:
            return None
        return NamedCodes(self.volume, {code: label for code, label in enumerate(self.labels) if code})
