"""Replies on disk, by (prompt hash, model, seed): a run that was cut off resumes, and a repeat asks nothing.

Each reply is one small JSON file, written aside and renamed. It names whose image it is about, so that the replies
about a withdrawn patient or source can be removed. A file that cannot be read is asked for again.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from pydantic import BaseModel, ConfigDict, ValidationError

from components.data.tombstones import Withdrawn
from components.pairs.endpoint import Reply, TextModel
from components.pairs.prompts import Prompt
from components.records import Record, stable_id
from components.tracking.commit import write_bytes, write_json
from components.tracking.digest import digest_json

FORGOTTEN = "forgotten"  # the digest of the withdrawals that the folder was swept for


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    prompt_hash: str
    model: str
    seed: int
    text: str
    prompt_tokens: int
    reply_tokens: int
    patient_key: str = ""
    source: str = ""


@dataclass
class Usage:
    """What the replies cost, the same whether they were asked for now or taken from the disk.

    `asked` and `remembered` tell these two apart; they depend on what is on the disk, so they go to the run
    and never to the manifest.
    """

    prompt_tokens: int = 0
    reply_tokens: int = 0
    asked: int = 0
    remembered: int = 0

    def cost(self, *, prompt_price: float, reply_price: float) -> float:
        """Return money, at prices for a million tokens."""
        return round((self.prompt_tokens * prompt_price + self.reply_tokens * reply_price) / 1e6, 6)


@dataclass
class RememberingModel:
    """A text model whose replies are kept in `folder`; safe to call from several threads."""

    model: TextModel
    folder: Path
    usage: Usage = field(default_factory=Usage)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        # One lock a reply, while somebody waits for it: the same prompt at once is asked and written once.
        self._busy: WeakValueDictionary[Path, Any] = WeakValueDictionary()

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    @property
    def is_third_party(self) -> bool:
        """Whether a prompt leaves this machine."""
        return self.model.is_third_party

    def complete(self, prompt: Prompt, *, seed: int, record: Record | None = None) -> Reply:
        """Return the remembered reply, or ask and remember whose record it is about."""
        path = self._path(prompt, seed)
        with self._lock:
            mine = self._busy.setdefault(path, threading.Lock())
        with mine:
            reply = _load(path)
            was_remembered = reply is not None
            if reply is None:
                reply = self.model.complete(prompt, seed=seed)
                self._keep(path, prompt, seed, reply, record)
        self._count(reply, was_remembered=was_remembered)
        return reply

    def _keep(self, path: Path, prompt: Prompt, seed: int, reply: Reply, record: Record | None) -> None:
        stored = _Stored(
            prompt_hash=prompt.hash, model=self.name, seed=seed, text=reply.text,
            prompt_tokens=reply.prompt_tokens, reply_tokens=reply.reply_tokens,
            patient_key=record.patient_key if record else "", source=record.source if record else "",
        )  # fmt: skip
        write_json(path, stored.model_dump())

    def _path(self, prompt: Prompt, seed: int) -> Path:
        key = stable_id(prompt.hash, self.name, seed)
        return self.folder / key[:2] / f"{key}.json"

    def _count(self, reply: Reply, *, was_remembered: bool) -> None:
        with self._lock:
            self.usage.prompt_tokens += reply.prompt_tokens
            self.usage.reply_tokens += reply.reply_tokens
            self.usage.asked += not was_remembered
            self.usage.remembered += was_remembered


def _load(path: Path) -> Reply | None:
    stored = _stored(path)
    return Reply(stored.text, stored.prompt_tokens, stored.reply_tokens) if stored else None


def _stored(path: Path) -> _Stored | None:
    try:
        return _Stored.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def forget_replies(folder: Path, withdrawn: Withdrawn) -> int:
    """Remove the replies about withdrawn patients and sources, once for each list of them; return how many.

    A reply that does not say whose it is (written by an earlier version, or torn) goes too: it may be theirs.
    """
    digest = digest_json(withdrawn.model_dump(mode="json"))
    marker = folder / FORGOTTEN
    if not (withdrawn.patients or withdrawn.sources) or not folder.is_dir():
        return 0
    if marker.is_file() and marker.read_text() == digest:
        return 0
    gone = [path for path in folder.glob("??/*.json") if _is_theirs(_stored(path), withdrawn)]
    for path in gone:
        path.unlink()
    write_bytes(marker, digest.encode())
    return len(gone)


def _is_theirs(stored: _Stored | None, withdrawn: Withdrawn) -> bool:
    if stored is None or not stored.source:
        return True
    return stored.patient_key in withdrawn.patients or stored.source in withdrawn.sources
