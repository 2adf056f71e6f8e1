"""A look at a folder of unknown files: which reader would read it, and with which options.

The guess rests on endings, names and the first files of each kind, never on all of them; it is written into a
card's skeleton for a person to judge. A file that cannot be read says nothing. Refused: a folder in which nothing
is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path, PurePosixPath

from components.data.guess import Folder, Guess, split_rule
from components.data.guess_pictures import guess_coco, guess_medmnist, guess_pictures, guess_voc, guess_yolo
from components.data.guess_rows import guess_labels, guess_parquet, guess_rows, guess_shards
from components.data.guess_scans import guess_dicom, guess_slides, guess_volumes
from components.errors import DataError, DatasetMissing

MOST_FILES = 20_000
GUESSES: tuple[Callable[[Folder], Guess | None], ...] = (
    guess_dicom, guess_volumes, guess_parquet, guess_medmnist, guess_slides, guess_shards, guess_coco, guess_rows,
    guess_voc, guess_yolo, guess_labels, guess_pictures,
)  # fmt: skip


def look_at(root: Path) -> Guess:
    """Guess how a folder is read, and by which of its folders it is split.

    Raises:
        DatasetMissing: there is no such folder, it is a file, or it is empty.
        DataError: nothing in it is known.
    """
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "is not there"
        raise DatasetMissing(f"the folder {what}", where=str(root), fix="name the folder that holds the data set")
    paths = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    folder = Folder(root, tuple(sorted(islice(paths, MOST_FILES))))
    if not folder.files:
        raise DatasetMissing("no files to look at", where=str(root), fix="name the folder that holds the data set")
    for guess in GUESSES:
        found = guess(folder)
        if found is not None:
            return replace(found, split=split_rule(folder.files))
    endings = Counter(PurePosixPath(file).suffix for file in folder.files).most_common(3)
    seen = ", ".join(f"{count} x {ending or 'no ending'}" for ending, count in endings)
    raise DataError(f"no reader is known for these files: {seen}", where=str(root), fix="docs/sources.md, readers")
