"""Fakes of picture sources: class folders, tables, masks, VOC, YOLO, COCO and frames, as a card's options ask."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from components.data.card import Card, FixedSplit
from components.data.paths import fields_of_path, fill
from components.data.readers import coco, folder_classes, label_table, mask_images, video_frames, voc_xml, yolo
from tests.fakes.formats_labels import voc_document, voc_object
from tests.fakes.planted import (
    HEIGHT,
    WIDTH,
    Names,
    Planted,
    box_of_cell,
    cell,
    fixed_splits,
    named,
    save_picture,
    shade,
)

MAX_CLASSES = 24


def path_of(card: Card, glob: str, names: Names, number: int, word: str = "") -> str:
    """A picture's path: the published name if there is one, else the glob with its wildcards named."""
    if "path" in names:
        prefix = _split_folders(card, number)
        path = named(names["path"], number, **{"class": word, "split": prefix})
        return PurePosixPath(path).with_suffix(PurePosixPath(glob).suffix).as_posix()
    path = glob.replace("**/", "").replace("*", f"x{number}")
    prefix = _split_folders(card, number)
    parts, wanted = path.split("/"), prefix.split("/") if prefix else []
    return "/".join([*wanted, *parts[len(wanted) :]])


def _split_folders(card: Card, number: int) -> str:
    """The folders of a published split, taken in turn."""
    globs = (
        [glob for glob in card.split.assign if glob.endswith("/*")] if isinstance(card.split, FixedSplit) else []
    )
    return globs[number % len(globs)].removesuffix("/*").replace("*", "x") if globs else ""


def term_labels(card: Card, words: Iterable[str]) -> frozenset[str]:
    """The canonical labels of source words, without those dropped."""
    return frozenset(term.label for word in words if (term := card.term(word)) and term.label)


def term_sides(card: Card, words: Iterable[str]) -> frozenset[tuple[str, str]]:
    """The (label, side) of source words, without those dropped."""
    found = (card.term(word) for word in words)
    return frozenset((term.label, term.side) for term in found if term and term.label)


def boxes_of(card: Card, words: Iterable[str]) -> frozenset[Any]:
    """(label, box) of words that were drawn in the cells in this order."""
    found = ((card.term(word), place) for place, word in enumerate(words))
    return frozenset((term.label, box_of_cell(place)) for term, place in found if term and term.label)


def build_class_folders(root: Path, card: Card, names: Names) -> Planted:
    """Write one picture a class."""
    options = folder_classes.Options.model_validate(card.options)
    words, paths = list(card.label_map)[:MAX_CLASSES], []
    for number in range(1, max(len(words), len(options.images)) + 1):
        word = words[number % len(words)]
        path = path_of(card, options.images[number % len(options.images)], names, number, word)
        if "path" not in names:
            parts = path.split("/")
            parts[:-1] = _with_class(parts[:-1], word, options.class_depth)
            path = "/".join(parts)
        save_picture(root / path, shade(number))
        paths.append(path)
    splits = _write_lists(root, paths, options.split_files) or fixed_splits(card, paths)
    return Planted(labels=term_labels(card, words), splits=splits)


def _write_lists(root: Path, paths: list[str], files: Mapping[str, str]) -> frozenset[str]:
    """Share the pictures out among the lists of a published split, in turn; return the splits named."""
    for place, name in enumerate(files):
        listed = paths[place :: len(files)]
        (root / name).write_text("".join(f"{PurePosixPath(path).name} 0\n" for path in listed))
    return frozenset(files.values())


def _with_class(folders: list[str], word: str, depth: int | None) -> list[str]:
    assert depth is not None, "a class pattern needs a published name in card_names.yaml"
    return [word if place == depth % len(folders) else folder for place, folder in enumerate(folders)]


def build_table(root: Path, card: Card, names: Names) -> Planted:
    """Write the tables with a row a label, and the rows' pictures."""
    options = label_table.Options.model_validate(card.options)
    words = [word for word, term in card.label_map.items() if term][:MAX_CLASSES]
    tables: dict[str, list[dict[str, str]]] = {table: [] for table in options.tables}
    for number, word in enumerate(words, start=1):
        row = _table_row(card, options, number, word, words)
        row.update({column: named(text, number) for column, text in names.items()})
        tables[options.tables[number % len(options.tables)]].append(row)
        image = fill(options.image, row)
        path = image if options.find_by == "path" else _folder_of(options, number) + f"/{image}"
        save_picture(root / path, shade(number))
    for table, rows in tables.items():
        _write_rows(root / table, rows, options)
    return Planted(labels=term_labels(card, words))


def _folder_of(options: Any, number: int) -> str:
    """The folder of a row's picture, that of each glob in turn."""
    glob = options.images[number % len(options.images)]
    return glob.rpartition("/")[0].replace("**", "x").replace("*", "x")


def _table_row(card: Card, options: Any, number: int, word: str, words: list[str]) -> dict[str, str]:
    columns = re.findall(r"\{([^{}]+)\}", options.image)
    row = dict.fromkeys((name for name in columns), f"x{number}")
    if options.image.endswith("}"):
        row[columns[-1]] = f"x{number}.png"
    if options.label_column:
        row[options.label_column] = word
    row.update({name: str(int(name == word)) for name in options.label_columns})
    for column in options.value_columns:
        row[column] = word.removeprefix(f"{column}=") if word.startswith(f"{column}=") else ""
    if options.patient_column:
        row[options.patient_column] = f"person {number}"
    if options.split_column:
        row[options.split_column] = list(options.splits)[number % len(options.splits)]
    return row


def _write_rows(path: Path, rows: list[dict[str, str]], options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(options.header or rows[0]), delimiter=options.delimiter)
        if not options.header:
            writer.writeheader()
        writer.writerows(rows)


def build_masks(root: Path, card: Card, names: Names) -> Planted:
    """Write two pictures, each with every label of its layers (or run lengths) in a cell of its own."""
    options = mask_images.Options.model_validate(card.options)
    words, paths = _words_of(options, card), []
    rows: list[dict[str, str]] = []
    for number in range(1, max(2, len(options.images)) + 1):
        path = path_of(card, options.images[number % len(options.images)], names, number)
        save_picture(root / path, shade(number))
        fields = fields_of_path(path, options.pattern)
        for layer in options.layers:
            mask = root / fill(layer.masks, fields).replace("*", "1")
            save_picture(mask, _mask_of(layer, words))
        if options.runs:
            rows += _run_rows(options.runs, fields, words)
        paths.append(path)
    if options.runs:
        _write_rows(root / options.runs.file, rows, options.runs)
    return Planted(
        regions=term_sides(card, words),
        boxes=boxes_of(card, words),
        has_masks=True,
        splits=fixed_splits(card, paths),
    )


def _words_of(options: Any, card: Card) -> list[str]:
    words = [word for layer in options.layers for word in layer.words]
    return list(dict.fromkeys(words)) or list(card.label_map)


def _mask_of(layer: Any, words: list[str]) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    values = {word: value for value, word in layer.values.items()}
    for word in layer.words:
        top, left, bottom, right = cell(words.index(word))
        mask[top:bottom, left:right] = values.get(word, 1 if layer.holds == "objects" else 255)
    return mask


def _run_rows(runs: Any, fields: dict[str, str], words: list[str]) -> list[dict[str, str]]:
    key = fill(runs.matches, fields)
    assert runs.key == f"{{{runs.key.strip('{}')}}}", "one column is the key"
    return [
        {runs.key.strip("{}"): key, runs.label_column: word, runs.runs: _runs_of_cell(place, runs)}
        for place, word in enumerate(words)
    ]


def _runs_of_cell(place: int, runs: Any) -> str:
    top, left, bottom, right = cell(place)
    if runs.by_columns:
        starts = (column * HEIGHT + top for column in range(left, right))
        return " ".join(f"{start + runs.first} {bottom - top}" for start in starts)
    starts = (row * WIDTH + left for row in range(top, bottom))
    return " ".join(f"{start + runs.first} {right - left}" for start in starts)


def build_voc(root: Path, card: Card, names: Names) -> Planted:
    """Write two XML files with one object a label, and their pictures."""
    options = voc_xml.Options.model_validate(card.options)
    words, paths = list(card.label_map), []
    for number in (1, 2):
        where = path_of(card, options.annotations[0], names, number)
        picture = f"{PurePosixPath(where).stem}.jpg"
        path = fill(options.image, {**fields_of_path(where, options.pattern), "filename": picture})
        boxes = (_corners_from_one(place) for place, _ in enumerate(words))
        objects = "".join(voc_object(word, box) for word, box in zip(words, boxes, strict=True))
        (root / where).parent.mkdir(parents=True, exist_ok=True)
        (root / where).write_text(voc_document(picture, objects, WIDTH, HEIGHT))
        save_picture(root / path, shade(number))
        paths.append(path)
    return Planted(regions=term_sides(card, words), boxes=boxes_of(card, words), splits=fixed_splits(card, paths))


def _corners_from_one(place: int) -> tuple[float, ...]:
    top, left, bottom, right = cell(place)
    return left + 1, top + 1, right, bottom


def build_yolo(root: Path, card: Card, names: Names) -> Planted:
    """Write two pictures with one line a class."""
    options = yolo.Options.model_validate(card.options)
    words, paths = list(options.names)[:20], []
    for number in (1, 2):
        path = path_of(card, options.images[0], names, number)
        save_picture(root / path, shade(number))
        beside = PurePosixPath(path.replace("images/", "labels/")).with_suffix(".txt").as_posix()
        lines = fill(options.lines, fields_of_path(path, options.pattern)) if options.lines else beside
        (root / lines).parent.mkdir(parents=True, exist_ok=True)
        (root / lines).write_text("".join(_yolo_line(place) for place, _ in enumerate(words)))
        paths.append(path)
    return Planted(regions=term_sides(card, words), boxes=boxes_of(card, words), splits=fixed_splits(card, paths))


def _yolo_line(place: int) -> str:
    left, top, right, bottom = box_of_cell(place)
    return f"{place} {(left + right) / 2} {(top + bottom) / 2} {right - left} {bottom - top}\n"


def build_coco(root: Path, card: Card, names: Names) -> Planted:
    """Write a JSON file a split with one picture that shows one object a category."""
    options = coco.Options.model_validate(card.options)
    words = list(card.label_map)
    globs = list(options.annotation_splits) or ["x_*"]
    for number, glob in enumerate(globs, start=1):
        where = options.annotations[0].replace("*", glob.removesuffix("_*"), 1).replace("*", "x")
        picture = f"x{number}.jpg"
        (root / where).parent.mkdir(parents=True, exist_ok=True)
        (root / where).write_text(json.dumps(_coco_file(picture, words)))
        fields = {**fields_of_path(where, options.pattern), "file_name": picture, "file_stem": f"x{number}"}
        save_picture(root / fill(options.image, fields).replace("*", f"x{number}"), shade(number))
    return Planted(
        regions=term_sides(card, words), boxes=boxes_of(card, words), has_masks=True,
        splits=frozenset(options.annotation_splits.values()),
    )  # fmt: skip


def _coco_file(picture: str, words: list[str]) -> dict[str, Any]:
    objects = []
    for place, _ in enumerate(words):
        top, left, bottom, right = cell(place)
        outline = [left, top, right, top, right, bottom, left, bottom]
        box = [left, top, right - left, bottom - top]
        objects.append({
            "id": place + 1, "image_id": 1, "category_id": place + 1, "bbox": box, "segmentation": [outline],
            "area": box[2] * box[3], "iscrowd": 0,
        })  # fmt: skip
    return {
        "images": [{"id": 1, "file_name": picture, "width": WIDTH, "height": HEIGHT}],
        "categories": [{"id": place + 1, "name": word} for place, word in enumerate(words)],
        "annotations": objects,
    }


def build_frames(root: Path, card: Card, names: Names) -> Planted:
    """Write a folder of two frames a class (or a video's table a class); the reader takes the first of each."""
    options = video_frames.Options.model_validate(card.options)
    words = list(card.label_map)
    if options.segments:
        _write_videos(root, options, words, names)
        return Planted(labels=term_labels(card, words))
    for number, word in enumerate(words, start=1):
        folders = options.frames[0].rpartition("/")[0].replace("*", f"x{number}").split("/")
        folders = _with_class(folders, word, options.class_depth)
        for frame in (1, 2):
            save_picture(root / "/".join([*folders, f"00000{frame}.png"]), shade(10 * number + frame))
    return Planted(labels=term_labels(card, words))


def _write_videos(root: Path, options: Any, words: list[str], names: Names) -> None:
    """Write a video of two frames a word, all of it in one stretch of its table."""
    segments = options.segments
    for number, word in enumerate(words, start=1):
        name = named(names["name"], number)
        for frame in (1, 2):
            save_picture(root / options.frames[0].replace("*", f"{name}_00000{frame}").replace(
                f"{name}_00000{frame}/", f"{name}/"), shade(10 * number + frame))  # fmt: skip
        row = {segments.start: "0", segments.label_column: word}
        folder = options.frames[0].rpartition("/")[0].replace("*", name)
        _write_rows(root / fill(segments.file, fields_of_path(folder)), [row], segments)
