"""Outputs are complete or invisible: written aside, flushed to disk, then renamed into place."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def flush_to_disk(path: Path) -> None:
    """fsync one file or folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_tree(folder: Path) -> None:
    """fsync every file below a folder, then the folders."""
    for root, _, files in os.walk(folder):
        for name in files:
            flush_to_disk(Path(root) / name)
        flush_to_disk(Path(root))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.aside")
    with aside.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
    aside.replace(path)
    flush_to_disk(path.parent)


def write_json(path: Path, content: Any) -> None:
    """Write sorted, indented JSON with a final newline (the same content gives the same bytes)."""
    write_bytes(path, (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode())


def replace_folder(aside: Path, target: Path) -> None:
    """Flush `aside` and move it to `target`; what stood there goes only once the new one is durable."""
    flush_tree(aside)
    target.parent.mkdir(parents=True, exist_ok=True)
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    if target.exists():
        target.rename(old)
    aside.rename(target)
    flush_to_disk(target.parent)
    if old.exists():
        shutil.rmtree(old)


@contextmanager
def folder_aside(target: Path) -> Generator[Path]:
    """Yield an empty folder beside `target`; it becomes `target` if the block ends well, else it is removed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.aside")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        yield aside
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    replace_folder(aside, target)
