"""Guesses for labelled pictures: COCO, Pascal VOC, YOLO, MedMNIST, masks and folders of classes."""

from __future__ import annotations

import fnmatch
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from components.data.guess import IS_LABEL, MOST_LABELS, PICTURES, Folder, Guess, globs_of, place_from, split_named
from components.data.json_stream import scan_object
from components.data.paths import fields_of_path, fill
from components.data.reading import UNREADABLE

MOST_FILES = 50
WHOLE_BYTES = 64 << 20
YOLO_LINE = re.compile(r"\d+( [\d.]+){4,}")
NAME_FILES = ("classes.txt", "obj.names", "names.txt", "data.yaml", "dataset.yaml", "data.yml")


def guess_coco(folder: Folder) -> Guess | None:
    """COCO's JSON files, all of them, and where their pictures lie."""
    files = {file: raw for file in folder.ending(".json")[:MOST_FILES] if (raw := _coco(folder.root / file))}
    if not files:
        return None
    categories = [item for raw in files.values() for item in raw["categories"] if isinstance(item, dict)]
    names = tuple(dict.fromkeys(str(item["name"]) for item in categories if "name" in item))[:MOST_LABELS]
    splits = {file: split for file in files if (split := split_named(PurePosixPath(file).stem))}
    options = {
        "annotations": list(files), **_coco_image(files, folder.ending(*PICTURES)),
        **({"annotation_splits": splits} if splits else {}),
    }  # fmt: skip
    return Guess("coco", options, ", ".join(files), names)


def _coco(path: Path) -> dict[str, Any]:
    """Return a COCO file's object, of a large one without its annotations; {} for any other file."""
    try:
        if path.stat().st_size > WHOLE_BYTES:
            raw = scan_object(path, "annotations", lambda *_: None)
        else:
            raw = json.loads(path.read_text(encoding="utf-8-sig"))
    except (*UNREADABLE, TypeError):
        return {}
    is_coco = isinstance(raw, dict) and {"images", "annotations", "categories"} <= raw.keys()
    return raw if is_coco and isinstance(raw["categories"], list) and isinstance(raw["images"], list) else {}


def _coco_image(files: Mapping[str, dict[str, Any]], pictures: Sequence[str]) -> dict[str, str]:
    """Return the template under which the first picture of every file is found, or ask for it."""
    shown = {file: str(raw["images"][0].get("file_name", "")) for file, raw in files.items() if raw["images"]}
    for template in _coco_templates(list(shown.values())[:1], pictures) if shown else ():
        paths = [
            PurePosixPath(fill(template, {**fields_of_path(file), "file_name": name})).as_posix()
            for file, name in shown.items()
        ]
        if all(len(fnmatch.filter(pictures, path)) == 1 for path in paths):
            return {"image": template}
    return {"image": "FILL IN: {folder}/{file_name}"}


def _coco_templates(names: Sequence[str], pictures: Sequence[str]) -> list[str]:
    found = ["{folder}/{file_name}", "{folder}/{stem}/{file_name}", "{parent}/{stem}/{file_name}"]
    # A name that only one picture bears is found whatever its split's folder is called.
    are_unique = len({PurePosixPath(file).name for file in pictures}) == len(pictures)
    for name in names:
        for place in [p[: -len(name)] for p in pictures if name and (p == name or p.endswith(f"/{name}"))][:20]:
            parts = [part for part in PurePosixPath(place).parts if split_named(part)] if are_unique else []
            found += [f"{place}{{file_name}}", *(f"{place.replace(part, '*')}{{file_name}}" for part in parts)]
    return found


def guess_voc(folder: Folder) -> Guess | None:
    """Pascal VOC's XML files."""
    files = folder.ending(".xml")
    texts = {
        file: text for file in files[:MOST_FILES] if "<bndbox" in (text := _head(folder.root / file, 1 << 20))
    }
    first = next((file for file, text in texts.items() if "<annotation" in text), "")
    if not first:
        return None
    names = {
        name for text in texts.values() for name in re.findall(r"<object>.*?<name>([^<]+)</name>", text, re.S)
    }
    pictures = folder.ending(*PICTURES)
    shown = [file for file in pictures if PurePosixPath(file).stem == PurePosixPath(first).stem]
    image = "FILL IN: {parent}/JPEGImages/{filename}"
    if shown:
        image = f"{place_from(first, shown[0])}/{{stem}}{PurePosixPath(shown[0]).suffix}"
    options = {"annotations": globs_of(files), "image": image}
    return Guess("voc_xml", options, f"Pascal VOC files such as {first}", tuple(sorted(names))[:MOST_LABELS])


def _head(path: Path, size: int = 4096) -> str:
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as handle:
            return handle.read(size)
    except OSError:
        return ""


def guess_yolo(folder: Folder) -> Guess | None:
    """YOLO's lines, and the file that names their classes."""
    stems = {PurePosixPath(file).stem: file for file in folder.ending(*PICTURES)}
    for file in folder.ending(".txt")[:MOST_FILES]:
        line = _head(folder.root / file).partition("\n")[0].strip()
        picture = stems.get(PurePosixPath(file).stem, "")
        if picture and YOLO_LINE.fullmatch(line):
            return _yolo(folder, picture, file)
    return None


def _yolo(folder: Folder, picture: str, file: str) -> Guess:
    from components.data.readers.yolo import read_names, usual_place
    from components.errors import DataError

    named = [one for one in folder.files if PurePosixPath(one).name.lower() in NAME_FILES]
    options: dict[str, Any] = {"images": globs_of(folder.ending(*PICTURES))}
    names: tuple[str, ...] = ()
    try:
        names = read_names(folder.root, named[0]) if named else ()
    except DataError:
        named = []
    options |= {"names_file": named[0]} if named else {"names": ["FILL IN: name of class 0"]}
    if usual_place(picture) != file:
        options["lines"] = f"{place_from(picture, file)}/{{stem}}.txt"
    return Guess("yolo", options, f"YOLO lines such as {file}", names[:MOST_LABELS])


def guess_medmnist(folder: Folder) -> Guess | None:
    """MedMNIST's archives, by the names of their arrays."""
    files = [file for file in folder.ending(".npz") if _is_medmnist(folder.root / file)]
    if not files:
        return None
    return Guess("medmnist", {"files": files, "label_names": ["FILL IN: name of class 0"]}, files[0])


def _is_medmnist(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(re.fullmatch(r"\w+_images\.npy", name) for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def guess_pictures(folder: Folder) -> Guess | None:
    """Pictures with mask pictures, else pictures in a folder a class."""
    pictures = folder.ending(*PICTURES)
    masks = [file for file in pictures if IS_LABEL.search(file)]
    images = [file for file in pictures if file not in set(masks)]
    if masks and images:
        return _masks(images, masks)
    if not pictures:
        return None
    paths = [PurePosixPath(file) for file in pictures]
    labels = tuple(sorted({path.parent.name for path in paths} - {""}))[:MOST_LABELS]
    globs = sorted({"/".join(["*"] * (len(path.parts) - 1) + [f"*{path.suffix}"]) for path in paths})
    told = f"{len(labels)} folders of pictures"
    return Guess("folder_classes", {"images": globs, "class_depth": -1}, told, labels)


def _masks(images: Sequence[str], masks: Sequence[str]) -> Guess:
    stems = {PurePosixPath(file).stem: file for file in images}
    template, image = "FILL IN: masks/{stem}.png", images[0]
    for mask in masks[:MOST_FILES]:
        name = PurePosixPath(mask).name
        stem = max((stem for stem in stems if name.startswith(stem)), key=len, default="")
        if stem:
            image = stems[stem]
            template = f"{place_from(image, mask)}/{name.replace(stem, '{stem}', 1)}"
            break
    options: dict[str, Any] = {
        "images": globs_of(images), "layers": [{"masks": template, "label": "FILL IN: a label"}],
    }  # fmt: skip
    if {PurePosixPath(file).parent for file in images} & {PurePosixPath(file).parent for file in masks}:
        options["skip"] = [f"*{template.rpartition('{stem}')[2]}"]
    return Guess("mask_images", options, f"masks such as {masks[0]}")
