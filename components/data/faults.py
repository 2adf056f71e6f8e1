"""The one exception by which a file, a row or an object is refused under a name that is counted."""

from __future__ import annotations


class Refused(OSError):
    """A file, row or object is refused; `reason` is snake_case and ends up in `rejected.jsonl`.

    It is an OSError so that every reader which already stands unreadable files stands it too.
    """

    def __init__(self, reason: str, told: str = "") -> None:
        self.reason = reason
        super().__init__(f"{reason}: {told}" if told else reason)
