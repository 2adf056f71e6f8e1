"""Guesses for volumes, DICOM and slides: by endings, magic bytes, headers and what file names share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from components.data.guess import IS_LABEL, MOST_LABELS, Folder, Guess
from components.data.reading import UNREADABLE
from components.data.row_mapping import SPLITS

VOLUMES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd")
CUT: dict[str, Any] = {"planes": {"axial": 2}, "windows": ["full range"], "min_content": 0.05}
MOST_HEADERS = 100
KINDS = {"1.2.840.10008.5.1.4.1.1.481.3": "RTSTRUCT", "1.2.840.10008.5.1.4.1.1.66.4": "SEG"}
MAGIC_AT, MAGIC = 128, b"DICM"


def guess_dicom(folder: Folder) -> Guess | None:
    """DICOM files by their ending or, where they have none, by their magic bytes; the kind by their Modality."""
    files = folder.ending(".dcm", ".ima", ".dicom")
    bare = [file for file in folder.files if not re.search(r"\.[A-Za-z]\w*$", PurePosixPath(file).name)]
    files = files or [file for file in bare[:MOST_HEADERS] if _is_dicom(folder.root / file)]
    if not files:
        return None
    kinds = {file: kind for file in _first_and_last(files) if (kind := _kind(folder.root / file))}
    ending = PurePosixPath(files[0]).suffix if files[0] not in bare else ""
    because, by_tag = (
        f"DICOM files of {', '.join(sorted(set(kinds.values()))) or 'no modality'}",
        {"rule": "dicom"},
    )
    if contours := [file for file, kind in kinds.items() if kind == "RTSTRUCT"]:
        near = [file for file in files if PurePosixPath(file).parent == PurePosixPath(contours[0]).parent]
        match = "folder" if len(near) > len(set(near) & set(contours)) else "reference"
        options = {"series": f"**/*{ending}", "match": match, **CUT}
        return Guess("dicom_rtstruct", options, because, patient=by_tag)
    reader = "dicom_seg" if "SEG" in kinds.values() else "dicom_series"
    return Guess(reader, {"files": f"**/*{ending}", **CUT}, because, patient=by_tag)


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as handle:
            return handle.read(MAGIC_AT + len(MAGIC))[MAGIC_AT:] == MAGIC
    except OSError:
        return False


def _first_and_last(files: Sequence[str]) -> list[str]:
    """Return a few files of each folder: contours and segmentations are named before or after the slices."""
    folders: dict[PurePosixPath, list[str]] = {}
    for file in files:
        folders.setdefault(PurePosixPath(file).parent, []).append(file)
    chosen = [file for inside in folders.values() for file in dict.fromkeys((*inside[:2], *inside[-2:]))]
    return chosen[:MOST_HEADERS]


def _kind(path: Path) -> str:
    """Return a file's Modality, or what its SOP class says of contours and segmentations."""
    from pydicom import dcmread

    try:
        tags = dcmread(path, stop_before_pixels=True, force=True)
        return KINDS.get(str(tags.get("SOPClassUID", "")), "") or str(tags.get("Modality", "") or "")
    except UNREADABLE:
        return ""


def guess_volumes(folder: Folder) -> Guess | None:
    """Volumes and the label volume of each, by what their names share."""
    files = folder.ending(*VOLUMES)
    if not files:
        return None
    labels = [file for file in files if IS_LABEL.search(file)]
    images = [file for file in files if file not in labels]
    if not images:
        images, labels = files, []
    image, label, _ = pair_templates(images[0], labels)
    if not label:
        image = case_template(images)
    image, label = _any_split(image, files), _any_split(label, files)
    options: dict[str, Any] = {"images": [{"path": image}], **({"labels": label} if label else {})}
    codes = _codes_in(folder, labels) if label else ()
    return Guess("nifti_cases", {**options, **CUT}, f"volumes such as {images[0]}", codes)


def case_template(images: Sequence[str]) -> str:
    """Return the template of images without labels: the case is the folder where all bear one name."""
    path = PurePosixPath(images[0])
    if path.parent.name and len(images) > 1 and all(PurePosixPath(file).name == path.name for file in images):
        return (path.parent.parent / "{case}" / path.name).as_posix()
    return _with_case(images[0], path.name.split(".", maxsplit=1)[0])


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


def _any_split(template: str, files: Sequence[str]) -> str:
    """Let a folder of the template that is a split's stand for those of the other splits too."""
    there = {part for file in files for part in PurePosixPath(file).parts[:-1] if part.lower() in SPLITS}
    parts = ["{part}" if part in there and len(there) > 1 else part for part in PurePosixPath(template).parts]
    return "/".join(parts)


def _codes_in(folder: Folder, labels: Sequence[str]) -> tuple[str, ...]:
    """The codes of the first label volumes that can be read."""
    import numpy as np

    from components.data.volume_files import read_stored, whole_codes

    found: set[int] = set()
    for label in labels[:3]:
        try:
            found |= set(np.unique(whole_codes(read_stored(folder.root / label).voxels)).tolist())
        except UNREADABLE:
            continue
    return tuple(str(code) for code in sorted(found) if code)[:MOST_LABELS]


def guess_slides(folder: Folder) -> Guess | None:
    """Whole slides in tiles."""
    if folder.ending(".svs"):
        return Guess("slide_tiles", {"slides": "**/*.svs", "side": 224, "stride": 224}, "whole slides")
    return None
