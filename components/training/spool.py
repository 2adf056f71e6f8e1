"""What the pack stage keeps on disk while it works, so that its memory does not grow with tokens and pixels.

Spools are nameless files of the folder that the stage writes into (the system's own for none): they are gone with
their process, and no part of its output. Memory holds some tens of bytes a row.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np

from components.model.chat import EncodedConversation
from components.model.packing import Segment


class ArraySpool:
    """Rows of arrays on disk, one array a given dtype and all of a row equally long, read back by number."""

    def __init__(self, folder: Path | None, dtypes: Sequence[Any]) -> None:
        self.dtypes = [np.dtype(dtype) for dtype in dtypes]
        self._file: BinaryIO = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (closed with the spool)
        self._starts, self._lengths, self._end = array("q"), array("q"), 0

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, number: int) -> list[np.ndarray]:
        length, width = self._lengths[number], sum(dtype.itemsize for dtype in self.dtypes)
        self._file.seek(self._starts[number])
        content, place, arrays = self._file.read(length * width), 0, []
        for dtype in self.dtypes:
            arrays.append(np.frombuffer(content, dtype, count=length, offset=place))
            place += length * dtype.itemsize
        return arrays

    def add(self, *rows: Sequence[Any] | np.ndarray) -> None:
        """Write a row behind the others."""
        content = b"".join(np.asarray(row, dtype).tobytes() for row, dtype in zip(rows, self.dtypes, strict=True))
        self._file.seek(self._end)
        self._file.write(content)
        self._starts.append(self._end)
        self._lengths.append(len(rows[0]))
        self._end += len(content)

    def close(self) -> None:
        """Let the disk have its room back."""
        self._file.close()


class ConversationSpool(Mapping[str, EncodedConversation]):
    """Encoded conversations by pair id, on disk."""

    def __init__(self, folder: Path) -> None:
        self._arrays = ArraySpool(folder, (np.int32, np.bool_))
        self._numbers: dict[str, int] = {}
        self._prefixes = array("i")

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __contains__(self, pair_id: object) -> bool:
        return pair_id in self._numbers

    def __getitem__(self, pair_id: str) -> EncodedConversation:
        number = self._numbers[pair_id]
        ids, supervised = self._arrays[number]
        return EncodedConversation(tuple(ids.tolist()), tuple(supervised.tolist()), self._prefixes[number])

    def add(self, pair_id: str, conversation: EncodedConversation) -> None:
        """Keep a conversation; one of the same pair takes the place of the one before."""
        self._numbers[pair_id] = len(self._arrays)
        self._prefixes.append(conversation.prefix_length)
        self._arrays.add(conversation.ids, conversation.supervised)


class SegmentSpool(Sequence[Segment]):
    """Segments by number, their tokens on disk."""

    def __init__(self, folder: Path | None) -> None:
        self._arrays = ArraySpool(folder, (np.int32, np.int32, np.int16, np.bool_))
        self._names: list[tuple[tuple[str, ...], tuple[int, ...]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._arrays.close()

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, number: Any) -> Any:
        pair_ids, images = self._names[number]
        return Segment(pair_ids, images, *self._arrays[number])

    def add(self, segment: Segment) -> None:
        """Keep a segment behind the others."""
        self._names.append((segment.pair_ids, segment.images))
        self._arrays.add(segment.ids, segment.positions, segment.branches, segment.supervised)


class PixelFile:
    """A `.npy` file of equally shaped arrays that is written a batch at a time: the bytes that `np.save` gives.

    Use as a context manager; the number of rows is put into the header at the end, which numpy leaves room for.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.num_rows = path, 0
        self._shape: tuple[int, ...] = ()
        self._dtype = np.dtype(np.uint8)

    def __enter__(self) -> Self:
        self._file = self.path.open("w+b")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._write_header()
        self._file.close()

    def add(self, rows: np.ndarray) -> None:
        """Write rows (N, ...) behind the others."""
        if self._file.tell() == 0:
            self._shape, self._dtype = rows.shape[1:], rows.dtype
            self._write_header()
        self._file.write(np.ascontiguousarray(rows).tobytes())
        self.num_rows += len(rows)

    def _write_header(self) -> None:
        self._file.seek(0)
        shape = (self.num_rows, *self._shape)
        described = {"descr": self._dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, described)
