"""A toy DVC project of three stages, listed in the wrong order so that only the graph can tell the right one."""

from __future__ import annotations

from pathlib import Path

import pytest

TOY = """\
stages:
  third:
    cmd: cat b.txt c.txt > d.txt
    deps: [b.txt, c.txt]
    outs: [d.txt]
  second:
    cmd: {second}
    deps: [b.txt]
    outs: [c.txt]
  first:
    cmd: cp a.txt b.txt
    deps: [a.txt]
    outs: [b.txt]
"""


def write_toy(folder: Path, second: str = "cp b.txt c.txt") -> Path:
    """Make (or change) the toy project; `second` is the command of its middle stage."""
    from dvc.repo import Repo

    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / ".dvc").exists():
        Repo.init(str(folder), no_scm=True).close()
        (folder / "a.txt").write_text("one\n")
    (folder / "dvc.yaml").write_text(TOY.format(second=second))
    return folder


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return write_toy(tmp_path / "toy")
