"""Small pictures in an Arrow column, gathered as they are asked for: the column is never copied."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

Rows = np.ndarray[Any, np.dtype[np.int64]]
PictureRows = np.ndarray[Any, np.dtype[np.uint8]]  # (N, bytes)


class PictureSource(Protocol):
    """What gives (N, bytes) pictures by place: a `Pictures` or a numpy array."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def __getitem__(self, places: Any) -> Any:
        """Return the pictures at a slice or an array of places."""
        ...


class Pictures:
    """Some rows of a column of bytes. All pictures asked for are equally long; other rows may be empty."""

    def __init__(self, column: Any, rows: Rows) -> None:
        parts = [part for part in getattr(column, "chunks", [column]) if len(part)]
        self.rows = rows
        self._starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
        self._offsets = [_offsets(part) for part in parts]
        longest = [int(np.diff(offsets).max(initial=0)) for offsets in self._offsets]
        self.width = max(longest, default=0)
        self._contents = [_content(part) for part in parts]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, places: Any) -> PictureRows:
        rows = self.rows[places]
        found = np.empty((len(rows), self.width), dtype=np.uint8)
        chunks = np.searchsorted(self._starts, rows, "right") - 1
        for chunk in np.unique(chunks):
            chosen = np.flatnonzero(chunks == chunk)
            offsets = self._offsets[chunk]
            firsts = offsets[rows[chosen] - self._starts[chunk]] - offsets[0]
            content = self._contents[chunk][offsets[0] : offsets[-1]]
            found[chosen] = content.reshape(-1, self.width)[firsts // self.width]
        return found

    def only(self, places: Any) -> Pictures:
        """Return the pictures at some places, over the same column."""
        chosen = object.__new__(Pictures)
        chosen.__dict__ = {**self.__dict__, "rows": self.rows[places]}
        return chosen


def _offsets(part: Any) -> np.ndarray[Any, np.dtype[np.int32]]:
    return np.frombuffer(part.buffers()[1], dtype=np.int32)[part.offset : part.offset + len(part) + 1]


def _content(part: Any) -> PictureRows:
    buffer = part.buffers()[2]
    return np.frombuffer(buffer, dtype=np.uint8) if buffer is not None else np.empty(0, dtype=np.uint8)
