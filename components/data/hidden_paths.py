"""Where a person may stand in a path, the path is hidden: its patient's part becomes a keyed hash.

A path is shown as it is only when its source's people are public: the card says `identities: public`, or its
terms let anybody pass the files on. Every other card, also one that says nothing, is protected. Of a protected
path there stays what the card's patient rule vouches for: around the group of a `pattern` the rest; otherwise the
suffix alone. A hidden path is unique, and all paths of a patient whom a rule finds in them hold the same hash.
What it stood for is kept on this disk alone, in `var/private/<source>.jsonl` (`PrivateNames`).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TextIO

from components.data.card import Card
from components.data.deidentify import keyed_hash
from components.data.terms import allows

SUFFIXES = frozenset((
    "avi", "bmp", "csv", "dcm", "dicom", "gif", "gz", "h5", "hdr", "ima", "img", "jpeg", "jpg", "json", "jsonl",
    "mat", "mha", "mhd", "mkv", "mp4", "nii", "npy", "npz", "nrrd", "ome", "parquet", "png", "raw", "seg",
    "svs", "tar", "tif", "tiff", "tsv", "txt", "webp", "wmv", "xlsx", "xml", "yaml", "zip",
))  # fmt: skip
# Words by which readers name a part of a file; all else in a part (a row's own id, a label) may be somebody's.
PART_WORDS = frozenset((
    "annotation", "axial", "category", "coronal", "frame", "image", "level", "page", "phase", "question", "row",
    "sagittal", "series", "set", "slice", "test", "tile", "time", "train", "turn", "val",
))  # fmt: skip
PLACE = re.compile(r"\d{1,6}(?:-\d{1,6})*")
SHORTEST_WORD = 3


def has_public_people(card: Card) -> bool:
    """Tell whether whoever stands in a source's paths is published there by the source itself."""
    return card.identities == "public" or allows(card, "may_be_redistributed")


def hide_path(path: str, card: Card, secret: bytes) -> str:
    """Return a path inside a source as it may be written anywhere; a public source's path is returned as it is."""
    if has_public_people(card):
        return path
    namespace, rule = card.patient.namespace or card.name, card.patient.rule
    if rule == "pattern" and (match := re.search(card.patient.pattern, path)) and match[1]:
        return _without_words(path, match[1], keyed_hash(secret, namespace, match[1]))
    pure = PurePosixPath(path)
    suffix = _suffix(pure.name)
    if rule == "file":
        return keyed_hash(secret, namespace, path) + suffix
    name = keyed_hash(secret, namespace, "name in a path", pure.name) + suffix
    if rule == "folder":
        return f"{keyed_hash(secret, namespace, pure.parent.as_posix())}/{name}"
    return "/".join([*(keyed_hash(secret, namespace, "name in a path", part) for part in pure.parts[:-1]), name])


def hide_where(where: str, card: Card, secret: bytes) -> str:
    """Return the place of a rejection ("path#part") as it may be written anywhere."""
    path, mark, part = where.partition("#")
    return hide_path(path, card, secret) + mark + hide_part(part, card, secret)


def hide_part(part: str, card: Card, secret: bytes) -> str:
    """Return a part of a file with all but plain places ("row/12", "frame/0003") hidden."""
    if has_public_people(card):
        return part
    namespace = card.patient.namespace or card.name

    def shown(word: str, before: str) -> str:
        plain = word in PART_WORDS or (before in PART_WORDS and PLACE.fullmatch(word))
        return word if plain else keyed_hash(secret, namespace, "name in a path", word)

    words = re.split(r"([/ ])", part)
    marks = [*words[1::2], ""]
    told = (
        shown(word, before) if word else "" for word, before in zip(words[::2], ["", *words[::2]], strict=False)
    )
    return "".join(word + mark for word, mark in zip(told, marks, strict=True))


def hide_message(message: str, root: Path, card: Card, secret: bytes) -> str:
    """Return an error's text without the names of the source's files and folders that stand in it.

    Looks at every path below the root, so it is for the one error that ends a source.
    """
    if has_public_people(card):
        return message
    paths = sorted((path.relative_to(root).as_posix() for path in root.rglob("*")), key=len, reverse=True)
    for path in paths:
        if path in message:
            message = message.replace(path, hide_path(path, card, secret))
    for name in {part for path in paths for part in PurePosixPath(path).parts if len(part) > SHORTEST_WORD}:
        if name in message:
            message = message.replace(name, keyed_hash(secret, card.name, "name in a path", name) + _suffix(name))
    return message


def _suffix(name: str) -> str:
    """Return the known suffixes of a name (".nii.gz"); an unknown one may be a name's end."""
    kept: list[str] = []
    for suffix in reversed(PurePosixPath(name).suffixes):
        if suffix[1:].lower() not in SUFFIXES:
            break
        kept.insert(0, suffix)
    return "".join(kept)


def _without_words(path: str, patient: str, token: str) -> str:
    """Replace the patient wherever it stands in the path, then each of its words that stands there by itself."""
    hidden = path.replace(patient, token)
    words = {word for word in re.split(r"[^A-Za-z0-9]+", patient) if len(word) >= SHORTEST_WORD}
    for word in sorted(words, key=lambda word: (-len(word), word)):
        pieces = re.split(rf"({re.escape(token)})", hidden)
        hidden = "".join(
            p if p == token else re.sub(re.escape(word), token, p, flags=re.IGNORECASE) for p in pieces
        )
    return hidden


@dataclass
class PrivateNames:
    """Writes what hidden paths stand for, one JSON line each, readable by the owner of this disk alone.

    It is no output: nothing reads it but `gmai source names`, and it is never logged.
    """

    file: TextIO | None = None
    last: str = ""

    def note(self, hidden: str, stated: str) -> None:
        """Write one line, unless the path is public or was the last one."""
        if self.file is not None and hidden not in (stated, self.last):
            self.last = hidden
            self.file.write(json.dumps({"hidden": hidden, "stated": stated}, ensure_ascii=False) + "\n")


@dataclass
class HeldNames(PrivateNames):
    """Holds what would be written, until it is known to which part of the source it belongs."""

    held: list[tuple[str, str]] = field(default_factory=list)

    def note(self, hidden: str, stated: str) -> None:
        """Hold one line, unless the path is public or was the last one."""
        if hidden not in (stated, self.last):
            self.last = hidden
            self.held.append((hidden, stated))

    def take(self) -> list[tuple[str, str]]:
        """Return what is held, and hold nothing."""
        taken, self.held = self.held, []
        return taken


def open_private(folder: Path, source: str) -> TextIO:
    """Open a source's file of private names afresh; only its owner may read it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{source}.jsonl"
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8")


def find_names(folder: Path, source: str, wanted: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield (hidden, stated) of a source where the hidden path holds one of the wanted texts; all for none."""
    texts = tuple(wanted)
    for path in files_of(folder, source):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if not texts or any(text in row["hidden"] for text in texts):
                yield row["hidden"], row["stated"]


def files_of(folder: Path, source: str) -> list[Path]:
    """List the files of a source's private names: one, or one a portion."""
    return [path for path in (folder / f"{source}.jsonl",) if path.is_file()] + sorted(
        folder.glob(f"{source}.*.jsonl")
    )
