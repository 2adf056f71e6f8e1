"""What a look at a folder starts from and ends with: its first files, and the guess how they are read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from components.data.row_mapping import SPLITS

MOST_LABELS = 200
MOST_GLOBS = 12
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp")
IS_LABEL = re.compile(r"label|seg|mask|(^|[/_.-])gt|annot|ground|truth|lesion", re.IGNORECASE)
WORDS = re.compile(r"[A-Za-z]+")


@dataclass(frozen=True, slots=True)
class Guess:
    """A reader, its options, the source labels that were seen, and what the guess rests on."""

    reader: str
    options: dict[str, Any]
    because: str
    labels: tuple[str, ...] = ()
    patient: dict[str, str] = field(default_factory=lambda: {"rule": "file"})
    split: dict[str, Any] = field(default_factory=lambda: {"rule": "fixed", "default": "train"})


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder and the paths of its first files inside it, in name order."""

    root: Path
    files: tuple[str, ...]

    def ending(self, *endings: str) -> list[str]:
        """The files with one of these endings, whatever their case."""
        return [file for file in self.files if file.lower().endswith(endings)]


def split_named(words: str) -> str:
    """Return the split that a file's or folder's name says ("train2017", "val_images"), or ""."""
    found = [SPLITS[word.lower()] for word in WORDS.findall(words) if word.lower() in SPLITS]
    return found[0] if found else ""


def split_rule(files: Iterable[str]) -> dict[str, Any]:
    """Return the card's split rule by the folders that bear a split's name, such as `test/*: test`."""
    assign: dict[str, str] = {}
    for file in files:
        for place, name in enumerate(PurePosixPath(file).parts[:-1]):
            split = SPLITS.get(name.lower(), "train")
            if split != "train":
                assign[f"{'*/' if place else ''}{name}/*"] = split
    return {"rule": "fixed", "default": "train", **({"assign": dict(sorted(assign.items()))} if assign else {})}


def globs_of(files: Iterable[str]) -> list[str]:
    """Return globs that match these files: a folder and ending each or, where they are many, an ending each."""
    paths = [PurePosixPath(file) for file in files]
    near = sorted({(path.parent / f"*{path.suffix}").as_posix() for path in paths})
    return near if len(near) <= MOST_GLOBS else sorted({f"**/*{path.suffix}" for path in paths})


def place_from(path: str, other: str) -> str:
    """Say where `other` lies as seen from `path`: `{folder}`, `{parent}/name`, or its folder as it is."""
    here, there = PurePosixPath(path).parent, PurePosixPath(other).parent
    if here == there:
        return "{folder}"
    if here.parent == there.parent and here.parent.as_posix() != ".":
        return f"{{parent}}/{there.name}"
    return there.as_posix()
