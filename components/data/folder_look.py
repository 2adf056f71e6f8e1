"""A look at a folder of unknown files: which reader would read it, and with which options.

The guess rests on endings, names and the first file of each kind, never on all of them; it is written into a
card's skeleton for a person to judge. Refused: a folder in which nothing is known.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from components.errors import DataError, DatasetMissing

MOST_FILES = 20_000
MOST_LABELS = 200
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp")
VOLUMES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd")
IS_LABEL = re.compile(r"label|seg|mask|gt|annot|ground", re.IGNORECASE)
YOLO_LINE = re.compile(r"\d+( [\d.]+){4,}")
CUT: dict[str, Any] = {"planes": {"axial": 2}, "windows": ["full range"], "min_content": 0.05}


@dataclass(frozen=True, slots=True)
class Guess:
    """A reader, its options, the source labels that were seen, and what the guess rests on."""

    reader: str
    options: dict[str, Any]
    because: str
    labels: tuple[str, ...] = ()
    patient: dict[str, str] = field(default_factory=lambda: {"rule": "file"})


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder and the paths of its first files inside it, in name order."""

    root: Path
    files: tuple[str, ...]

    def ending(self, *endings: str) -> list[str]:
        """The files with one of these endings, whatever their case."""
        return [file for file in self.files if file.lower().endswith(endings)]


def look_at(root: Path) -> Guess:
    """Guess how a folder is read.

    Raises:
        DatasetMissing: there is no such folder, or it is empty.
        DataError: nothing in it is known.
    """
    paths = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    folder = Folder(root, tuple(sorted(islice(paths, MOST_FILES))))
    if not folder.files:
        raise DatasetMissing("no files to look at", where=str(root), fix="name the folder that holds the data set")
    for guess in GUESSES:
        found = guess(folder)
        if found is not None:
            return found
    endings = Counter(PurePosixPath(file).suffix for file in folder.files).most_common(3)
    seen = ", ".join(f"{count} x {ending or 'no ending'}" for ending, count in endings)
    raise DataError(f"no reader is known for these files: {seen}", where=str(root), fix="docs/sources.md, readers")


def _dicom(folder: Folder) -> Guess | None:
    files = folder.ending(".dcm", ".ima")
    if not files:
        return None
    from pydicom import dcmread

    kinds = {
        str(dcmread(folder.root / file, stop_before_pixels=True, force=True).get("Modality"))
        for file in files[:40]
    }
    reader = "dicom_rtstruct" if "RTSTRUCT" in kinds else "dicom_seg" if "SEG" in kinds else "dicom_series"
    options = {"files": "**/*" + PurePosixPath(files[0]).suffix, **CUT}
    return Guess(reader, options, f"DICOM files of {', '.join(sorted(kinds))}", patient={"rule": "dicom"})


def _volumes(folder: Folder) -> Guess | None:
    files = folder.ending(*VOLUMES)
    if not files:
        return None
    labels = [file for file in files if IS_LABEL.search(file)]
    images = [file for file in files if file not in labels]
    if not images:
        images, labels = files, []
    image, label, file = pair_templates(images[0], labels)
    options: dict[str, Any] = {"images": [{"path": image}], **({"labels": label} if label else {})}
    codes = _codes_in(folder, file) if file else ()
    return Guess("nifti_cases", {**options, **CUT}, f"volumes such as {images[0]}", codes)


def pair_templates(image: str, labels: Sequence[str]) -> tuple[str, str, str]:
    """Return the path templates of an image and of its label file, and that file; "" when none belongs to it."""
    path = PurePosixPath(image)
    stem = path.name.split(".", maxsplit=1)[0]
    for case in (stem, re.sub(r"_0000$", "", stem), *(stem[: cut.start()] for cut in re.finditer(r"[_-]", stem))):
        matching = [file for file in labels if re.search(rf"(^|[/_-]){re.escape(case)}([._-]|$)", file)]
        if case and matching:
            return _with_case(image, case), _with_case(matching[0], case), matching[0]
    beside = [file for file in labels if PurePosixPath(file).parent == path.parent]
    if beside and path.parent.name:
        label = beside[0]
        return image.replace(path.parent.name, "{case}", 1), label.replace(path.parent.name, "{case}", 1), label
    return (image, beside[0], beside[0]) if beside else (_with_case(image, stem), "", "")


def _with_case(file: str, case: str) -> str:
    folder, slash, name = file.rpartition("/")
    return folder.replace(case, "{case}") + slash + name.replace(case, "{case}", 1)


def _codes_in(folder: Folder, label: str) -> tuple[str, ...]:
    import numpy as np

    from components.data.volume_files import read_stored, whole_codes

    codes = np.unique(whole_codes(read_stored(folder.root / label).voxels))
    return tuple(str(code) for code in codes.tolist() if code)[:MOST_LABELS]


def _one_file_a_set(folder: Folder) -> Guess | None:
    if files := folder.ending(".parquet"):
        options = {"files": [{"file": f"**/{PurePosixPath(files[0]).name}"}], "text": "FILL IN: a column"}
        return Guess("hf_parquet", options, f"Parquet files such as {files[0]}")
    if files := folder.ending(".npz"):
        return Guess("medmnist", {"files": files[:1], "label_names": ["FILL IN: name of class 0"]}, files[0])
    if files := folder.ending(".svs"):
        return Guess("slide_tiles", {"slides": "**/*.svs", "side": 224, "stride": 224}, "whole slides")
    return None


def _json(folder: Folder) -> Guess | None:
    for file in folder.ending(".json", ".jsonl")[:20]:
        row = _first_row(folder.root / file)
        if {"images", "annotations", "categories"} <= row.keys():
            names = tuple(str(item["name"]) for item in row["categories"])
            return Guess("coco", {"annotations": [file], "image": "FILL IN: {folder}/{file_name}"}, file, names)
        table = {"tables": [{"file": file}]}
        if "conversations" in row:
            return Guess("conversations", {**table, "image": "{image}"}, f"conversations in {file}")
        if {"question", "answer"} <= row.keys():
            options = {**table, "image": "FILL IN: {column}", "question": "question", "answer": "answer"}
            return Guess("vqa", options, f"questions in {file}: columns {', '.join(row)}")
        if "caption" in row:
            return Guess(
                "captions", {**table, "image": "FILL IN: {column}", "text": "caption"}, f"captions in {file}"
            )
    return None


def _first_row(path: Path) -> dict[str, Any]:
    """The first object of a JSON list or JSONL file, or the object that a file is; {} when it is neither."""
    try:
        with path.open(encoding="utf-8") as handle:
            loaded = json.loads(handle.readline() if path.suffix == ".jsonl" else handle.read())
    except ValueError:
        return {}
    first = loaded[0] if isinstance(loaded, list) and loaded else loaded
    return first if isinstance(first, dict) else {}


def _boxes(folder: Folder) -> Guess | None:
    for file in folder.ending(".xml")[:3]:
        text = (folder.root / file).read_text(errors="replace")
        if "<annotation" in text and "<bndbox" in text:
            names = tuple(sorted(set(re.findall(r"<name>([^<]+)</name>", text))))
            options = {"annotations": [_glob_of(file)], "image": "FILL IN: {parent}/JPEGImages/{filename}"}
            return Guess("voc_xml", options, f"Pascal VOC files such as {file}", names)
    stems = {PurePosixPath(file).stem for file in folder.ending(*PICTURES)}
    for file in folder.ending(".txt")[:50]:
        line = (folder.root / file).read_text(errors="replace").partition("\n")[0].strip()
        if PurePosixPath(file).stem in stems and YOLO_LINE.fullmatch(line):
            options = {"images": [_glob_of(folder.ending(*PICTURES)[0])], "names": ["FILL IN: name of class 0"]}
            return Guess("yolo", options, f"YOLO lines such as {file}")
    return None


def _tables(folder: Folder) -> Guess | None:
    pictures = {PurePosixPath(file).name: file for file in folder.ending(*PICTURES)}
    stems = {PurePosixPath(file).stem: file for file in pictures.values()}
    for file in folder.ending(".csv", ".tsv")[:20] if pictures else ():
        delimiter = "\t" if file.lower().endswith(".tsv") else ","
        with (folder.root / file).open(newline="", encoding="utf-8-sig", errors="replace") as handle:
            row = next(csv.DictReader(handle, delimiter=delimiter), None) or {}
        for column, cell in row.items():
            shown = pictures.get(str(cell)) or stems.get(str(cell))
            if shown:
                image = f"{PurePosixPath(shown).parent.as_posix()}/{PurePosixPath(shown).name}".replace(
                    str(cell), f"{{{column}}}"
                )
                options = {
                    "tables": [file],
                    "delimiter": delimiter,
                    "image": image,
                    "label_column": "FILL IN: a column",
                }
                others = ", ".join(str(name) for name in row if name != column)
                return Guess("label_table", options, f"{file}, whose other columns are: {others}")
    return None


def _pictures(folder: Folder) -> Guess | None:
    pictures = folder.ending(*PICTURES)
    if not pictures:
        return None
    masks = [file for file in pictures if IS_LABEL.search(file)]
    images = [file for file in pictures if file not in masks]
    if masks and images:
        template = masks[0].replace(PurePosixPath(images[0]).stem, "{stem}")
        layers = [
            {
                "masks": template if "{stem}" in template else "FILL IN: masks/{stem}.png",
                "label": "FILL IN: a label",
            }
        ]
        return Guess(
            "mask_images", {"images": [_glob_of(images[0])], "layers": layers}, f"masks such as {masks[0]}"
        )
    labels = tuple(sorted({PurePosixPath(file).parent.name for file in pictures} - {""}))[:MOST_LABELS]
    depth = len(PurePosixPath(pictures[0]).parts) - 1
    glob = "/".join(["*"] * depth + ["*" + PurePosixPath(pictures[0]).suffix])
    return Guess(
        "folder_classes", {"images": [glob], "class_depth": -1}, f"{len(labels)} folders of pictures", labels
    )


def _glob_of(file: str) -> str:
    path = PurePosixPath(file)
    return (path.parent / f"*{path.suffix}").as_posix()


GUESSES: tuple[Callable[[Folder], Guess | None], ...] = (
    _dicom, _volumes, _one_file_a_set, _json, _boxes, _tables, _pictures,
)  # fmt: skip
