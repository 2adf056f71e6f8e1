"""A large JSON object read piece by piece: the items of one long list are seen once each and then let go.

The other members are returned whole. Bytes are read as Latin-1 while looking for the ends of values, so that
a place in the text is a place in the file; what is kept is decoded as UTF-8.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

CHUNK_BYTES = 1 << 20
LONGEST_VALUE = 1 << 29  # bytes of one item or one other member
BLANKS = " \t\r\n"
OF_NUMBERS = "+-.eE0123456789"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
Take = Callable[[Any, int, int], None]


def scan_object(path: Path, member: str, take: Take) -> dict[str, Any]:
    """Call `take(item, start, stop)` for each item of the list `member`; return the object with None for it.

    `start` and `stop` are the item's place in bytes; text inside the item is not decoded yet. Raises ValueError
    (JSONDecodeError among them) for what is no JSON, TypeError when it is no object or `member` is no list.
    """
    with path.open("rb") as handle:
        return _Scanner(handle).read(member, take)


def read_item(handle: IO[bytes], start: int, stop: int) -> Any:
    """Read one item again, by its place, with its text decoded; raises ValueError."""
    handle.seek(start)
    return json.loads(handle.read(stop - start).decode("utf-8"))


def decoded(value: Any) -> Any:
    """Give text of an item that `take` was handed its UTF-8 reading; other values stay."""
    if not isinstance(value, str):
        return value
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value  # it was written with escapes


class _Scanner:
    """A window on the file: `text` from byte `base` on, read up to `place`."""

    def __init__(self, handle: IO[bytes]) -> None:
        self.handle, self.text, self.base, self.place = handle, "", 0, 0
        self.decoder = json.JSONDecoder()

    def read(self, member: str, take: Take) -> dict[str, Any]:
        start = self.handle.read(len(BYTE_ORDER_MARK))
        self.base, self.text = (len(start), "") if start == BYTE_ORDER_MARK else (0, start.decode("latin-1"))
        if self._next() != "{":
            self._value()
            raise TypeError("no JSON object")
        self.place += 1
        others: dict[str, Any] = {}
        is_more = self._next() != "}"
        while is_more:
            self._member(member, take, others)
            is_more = self._next() != "}"
            if is_more:
                self._expect(",")
        self._expect("}")
        if self._next():
            raise ValueError("text after the object")
        return others

    def _member(self, member: str, take: Take, others: dict[str, Any]) -> None:
        key, _, _ = self._value()
        if not isinstance(key, str):
            raise ValueError("a key is no text")
        self._expect(":")
        if key == member:
            self._list(take)
            others[key] = None
            return
        _, start, stop = self._value()
        others[key] = json.loads(self.text[start - self.base : stop - self.base].encode("latin-1").decode("utf-8"))

    def _list(self, take: Take) -> None:
        if self._next() != "[":
            raise TypeError("no JSON list")
        self.place += 1
        if self._next() == "]":
            self.place += 1
            return
        while True:
            take(*self._value())
            if self._next() == "]":
                self.place += 1
                return
            self._expect(",")

    def _value(self) -> tuple[Any, int, int]:
        """Read one value; return it with its first byte and the one after its last."""
        self._next()
        while True:
            try:
                value, end = self.decoder.raw_decode(self.text, self.place)
            except json.JSONDecodeError:
                if not self._more():
                    raise
                continue
            if not self.text[end:].strip(OF_NUMBERS) and self._more():
                continue  # a number may go on behind what is read
            start, self.place = self.base + self.place, end
            return value, start, self.base + end

    def _next(self) -> str:
        """Return the next character that is not blank, without taking it; "" at the end."""
        while True:
            while self.place < len(self.text) and self.text[self.place] in BLANKS:
                self.place += 1
            if self.place < len(self.text):
                return self.text[self.place]
            if not self._more():
                return ""

    def _expect(self, mark: str) -> None:
        if self._next() != mark:
            raise ValueError(f"{mark!r} expected at byte {self.base + self.place}")
        self.place += 1

    def _more(self) -> bool:
        """Forget what was read and add as much again as is left, at least a chunk; False at the end."""
        left = self.text[self.place :]
        if len(left) > LONGEST_VALUE:
            raise ValueError(f"a value of more than {LONGEST_VALUE} bytes")
        added = self.handle.read(max(CHUNK_BYTES, len(left)))
        if added:
            self.base, self.text, self.place = self.base + self.place, left + added.decode("latin-1"), 0
        return bool(added)
