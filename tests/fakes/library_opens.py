"""Whether the plain library of a format notices by itself that a file is not what it should be."""

from __future__ import annotations

import csv
import json
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree


def is_noticed(path: Path) -> bool:
    """Tell whether opening and reading the file as everybody would raises anything."""
    if not path.is_file():
        return True
    opens = OPENS.get(path.suffix.lower())
    if opens is None:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            opens(path)
        except Exception:  # noqa: BLE001 - whatever a library raises, it has noticed
            return True
    return False


def _picture(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as picture:
        picture.load()


def _volume(path: Path) -> None:
    import nibabel
    import numpy as np

    np.asarray(nibabel.load(path).dataobj)  # ty: ignore[unresolved-attribute]


def _dicom(path: Path) -> None:
    import pydicom

    data = pydicom.dcmread(path)
    if "PixelData" in data:
        _ = data.pixel_array


def _table(path: Path) -> None:
    with path.open(newline="", encoding="utf-8") as handle:
        list(csv.DictReader(handle))


def _rows(path: Path) -> None:
    for line in path.read_text(encoding="utf-8").splitlines():
        json.loads(line)


def _members(path: Path) -> None:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            archive.testzip()
        return
    with tarfile.open(path) as archive:
        archive.getmembers()


OPENS: dict[str, Callable[[Path], object]] = {
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif"), _picture),
    **dict.fromkeys((".nii", ".gz"), _volume), **dict.fromkeys((".csv", ".tsv"), _table),
    **dict.fromkeys((".zip", ".tar"), _members), ".dcm": _dicom, ".jsonl": _rows,
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    ".xml": ElementTree.parse, ".txt": lambda path: path.read_text(encoding="utf-8"),
}  # fmt: skip
