"""The items of a JSON file one by one, in memory bounded by the longest item and not by the file.

Read are a list of items, an object of lists (`{"train": [...], "test": [...]}`) and an object of objects
(`{"id": {...}}`). Strict JSON only: a trailing comma or a cut end is a fault of the file, told with its line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NoReturn, TextIO

from components.errors import DataError

CHUNK = 1 << 18  # characters read at a time
MAX_ITEM = 16 << 20  # characters of one item
SPACES = " \t\r\n"


def iterate_json(handle: TextIO, relative: str, *, section: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (number or "key/number", item); of an object of objects, (key, item) with the key in "_key".

    Raises:
        DataError: the text is not JSON, names no such section, or is one bare value.
    """
    scanner = _Scanner(handle, relative)
    opening = scanner.peek()
    if opening == "[":
        yield from _numbered(scanner, "")
    elif opening == "{":
        yield from _sections(scanner, section)
    else:
        scanner.fail("neither a list nor an object")
    if scanner.peek():
        scanner.fail("text after the end")


def _numbered(scanner: _Scanner, prefix: str) -> Iterator[tuple[str, Any]]:
    for number, _ in enumerate(scanner.items("[", "]"), start=1):
        yield f"{prefix}{number}", scanner.value()


def _sections(scanner: _Scanner, wanted: str) -> Iterator[tuple[str, Any]]:
    found = False
    for _ in scanner.items("{", "}"):
        key = scanner.value()
        if not isinstance(key, str):
            scanner.fail("a key that is not text")
        scanner.take(":")
        if wanted and key != wanted:
            scanner.skip()
            continue
        found = True
        if scanner.peek() == "[":
            yield from _numbered(scanner, f"{key}/")
        else:
            value = scanner.value()
            yield key, {"_key": key, **value} if isinstance(value, dict) else value
    if wanted and not found:
        raise DataError(f"no section {wanted!r}", where=scanner.relative, fix="mend `section` in the card")


class _Scanner:
    """A window on the text that grows only while one item is not complete."""

    def __init__(self, handle: TextIO, relative: str) -> None:
        self.handle, self.relative = handle, relative
        self.text, self.at, self.line, self.at_end = "", 0, 1, False
        self.decoder = json.JSONDecoder()

    def fail(self, what: str, *, at: int | None = None) -> NoReturn:
        """Raise DataError with the line that was reached."""
        line = self.line + self.text.count("\n", 0, self.at if at is None else at)
        raise DataError(
            f"json_malformed: not JSON: {what}",
            where=f"{self.relative}, line {line}",
            fix="fetch or mend the file",
        )

    def peek(self) -> str:
        """Return the next character that is not a space, "" at the end."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in SPACES:
                self.at += 1
            if self.at < len(self.text) or not self._grow():
                return self.text[self.at : self.at + 1]

    def take(self, wanted: str) -> None:
        """Pass one character."""
        found = self.peek()
        if found != wanted:
            self.fail(f"{wanted!r} expected, {found or 'the end'!r} found")
        self.at += 1

    def items(self, opening: str, closing: str) -> Iterator[None]:
        """Stand before each item of a list or object in turn; the caller reads it."""
        self.take(opening)
        if self.peek() == closing:
            self.at += 1
            return
        while True:
            if self.peek() == closing:
                self.fail("a comma before the closing bracket")
            yield
            if self.peek() == closing:
                self.at += 1
                return
            self.take(",")

    def value(self) -> Any:
        """Read one value, taking in more text while it is not complete."""
        self.peek()
        self._drop_read()
        while True:
            try:
                value, end = self.decoder.raw_decode(self.text, self.at)
            except (json.JSONDecodeError, RecursionError) as error:
                self._grow_or_fail(error)
                continue
            if len(self.text) - end <= len("e+") and self._grow():
                continue  # a number at the window's edge may go on
            self.at = end
            return value

    def skip(self) -> None:
        """Pass one value; a list is passed item by item."""
        if self.peek() != "[":
            self.value()
            return
        for _ in self.items("[", "]"):
            self.value()

    def _grow_or_fail(self, error: json.JSONDecodeError | RecursionError) -> None:
        if isinstance(error, RecursionError):
            self.fail("nested too deeply")
        if len(self.text) - self.at > MAX_ITEM or not self._grow():
            self.fail(error.msg, at=error.pos)

    def _grow(self) -> bool:
        more = "" if self.at_end else self.handle.read(max(CHUNK, len(self.text)))
        self.at_end = not more
        self.text += more
        return bool(more)

    def _drop_read(self) -> None:
        if self.at > CHUNK:
            self.line += self.text.count("\n", 0, self.at)
            self.text, self.at = self.text[self.at :], 0
