"""Content hashes of files, folders and settings; names and bytes count, times and owners do not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CHUNK_BYTES = 1 << 20
IGNORED_PARTS = {"__pycache__", ".DS_Store"}


def digest_bytes(content: bytes) -> str:
    """Return the sha256 of some bytes."""
    return hashlib.sha256(content).hexdigest()


def digest_file(path: Path) -> str:
    """Return the sha256 of a file, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def files_below(folder: Path) -> list[Path]:
    """List the files below a folder in name order, without caches."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in found if not IGNORED_PARTS.intersection(path.parts))


def digest_tree(path: Path) -> str:
    """Return the sha256 over (relative name, file hash) of a folder, or of the file itself.

    Raises FileNotFoundError when nothing is there.
    """
    if path.is_file():
        return digest_file(path)
    if not path.is_dir():
        raise FileNotFoundError(path)
    rows = [[file.relative_to(path).as_posix(), digest_file(file)] for file in files_below(path)]
    return digest_json(rows)


def digest_json(content: Mapping[str, Any] | Sequence[Any] | str | float | None) -> str:
    """Return the sha256 of a value written as sorted, compact JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return digest_bytes(text.encode())
