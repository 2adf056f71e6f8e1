"""Answers on disk while a run goes on, so that a killed run goes on where it stopped.

One file a (model's weights, protocol fingerprint), and one beside it for each further process that answers; one
line a finished block of questions. A block is whole or absent: a line cut off by a kill is not read, and its
questions are asked again. The files go when the run has ended well; nothing of them is an output.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from copy import copy
from dataclasses import asdict
from pathlib import Path
from typing import Any

from components.evaluation.items import Answer
from components.tracking.digest import digest_json

FOLDER = Path("var/answers")
Key = tuple[str, str]  # system, item id


class AnswerJournal:
    """What a run has answered so far; `add` returns once the block is on disk."""

    def __init__(self, model_digest: str, fingerprint: str, *, folder: Path = FOLDER) -> None:
        self.path = folder / f"{digest_json([model_digest, fingerprint])[:32]}.jsonl"
        self.answers: dict[Key, Answer] = self._read()
        self.gather()

    def _read(self) -> dict[Key, Answer]:
        if not self.path.is_file():
            return {}
        found, whole = _whole_lines(self.path)
        if whole < self.path.stat().st_size:
            os.truncate(self.path, whole)  # what is added next must start on a line of its own
        return found

    def _parts(self) -> list[Path]:
        return sorted(self.path.parent.glob(f"{self.path.stem}.*.jsonl"))

    def gather(self) -> None:
        """Read what other processes have answered for this run, this one's or a killed one's."""
        for path in self._parts():
            self.answers |= _whole_lines(path)[0]

    def part(self, name: str) -> AnswerJournal:
        """Return a journal of the same run that writes into a file of its own; a name is used by one process."""
        found = copy(self)
        found.path = self.path.with_name(f"{self.path.stem}.{name}.jsonl")
        found.answers = dict(self.answers)
        return found

    def add(self, answers: Mapping[Key, Answer]) -> None:
        """Keep one finished block."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rows = [[system, item_id, asdict(answer)] for (system, item_id), answer in answers.items()]
        with self.path.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(rows, ensure_ascii=False) + "\n")
            handle.flush()
            os.fsync(handle.fileno())
        self.answers |= answers

    def remove(self) -> None:
        """Forget the run: it has ended well."""
        for path in (self.path, *self._parts()):
            path.unlink(missing_ok=True)


def _whole_lines(path: Path) -> tuple[dict[Key, Answer], int]:
    """Return the answers of a file's whole lines, and the bytes that these take."""
    found: dict[Key, Answer] = {}
    whole = 0
    for line in path.read_bytes().splitlines(keepends=True):
        rows = _rows(line)
        if rows is None:
            break
        found |= rows
        whole += len(line)
    return found, whole


def _rows(line: bytes) -> dict[Key, Answer] | None:
    """Return a line's answers; None for a line that a kill cut off."""
    if not line.endswith(b"\n"):
        return None
    try:
        rows = json.loads(line)
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None
    return {(system, item_id): _answer(fields) for system, item_id, fields in rows}


def _answer(fields: dict[str, Any]) -> Answer:
    values: dict[str, Any] = {**fields, "shares": tuple(fields["shares"])}
    return Answer(**values)
