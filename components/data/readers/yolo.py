"""YOLO: a text file a picture, a line an object: class, then a box (centre and size) or a polygon, in shares.

The class names come from the card, from `data.yaml` or from a list of names. Where nothing else is said, the
text file lies where YOLO looks for it: beside the picture, with the path's last folder `images` read `labels`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import yaml
from pydantic import Field, model_validator

from components.data.boxes import Sketch, annotation_fact, draw, kind_of, parse_numbers, to_corners, to_shares
from components.data.card import Card
from components.data.faults import Refused
from components.data.image import store
from components.data.outlines import fill_polygon
from components.data.paths import fields_of_path, find_all, locate
from components.data.pictures import PictureOptions, finish_pictures, open_picture
from components.data.reading import (
    UNREADABLE,
    Draft,
    ReadContext,
    Rejection,
    parse_options,
    reason_of,
    resolve_inside,
)
from components.errors import DataError
from components.records import Record
from components.settings import Words

VERSION = 1
PORTIONS = True


class Options(PictureOptions):
    """Where pictures, lines and class names lie."""

    images: Words = Field(min_length=1, description="globs of the pictures")
    lines: str = Field(
        default="", description="template of a picture's text file over its path; empty is YOLO's own place"
    )
    all_lines: Words = Field(
        default=(), description="globs of all text files; those whose picture is absent are refused"
    )
    names: Words = Field(default=(), description="class names, from class 0 on")
    names_file: str = Field(
        default="", description="instead: data.yaml with `names`, or a text file, a name a line"
    )
    without_lines: bool = Field(default=False, description="a picture without a text file shows no object")
    complete: bool = Field(default=True, description="every object of the named classes is annotated")

    @model_validator(mode="after")
    def _names_come_from_one_place(self) -> Options:
        if bool(self.names) == bool(self.names_file):
            raise ValueError("give either `names` or `names_file`")
        return self


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield every picture with its objects, then the text files without a picture."""
    options = parse_options(Options, card)
    names = options.names or read_names(root, options.names_file)
    drafts = _drafts(root, card, options, names, context)
    yield from finish_pictures(drafts, root, card, options, context)


def read_names(root: Path, name: str) -> tuple[str, ...]:
    """Read class names; DataError (`names_missing`, `names_unreadable`, `names_malformed`) when there are none."""
    path = resolve_inside(root, name)
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix not in (".yaml", ".yml"):
            return tuple(line.strip() for line in text.splitlines() if line.strip())
        named: Any = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["names"]
        return tuple(map(str, named if isinstance(named, list) else (named[n] for n in range(len(named)))))
    except FileNotFoundError as error:
        raise DataError("names_missing: no such file", where=name, fix="options: names_file") from error
    except OSError as error:
        raise DataError(f"names_unreadable: {error}", where=name, fix="options: names_file") from error
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise DataError(f"names_malformed: {error!r}", where=name, fix="options: names") from error


def _drafts(
    root: Path, card: Card, options: Options, names: Sequence[str], context: ReadContext
) -> Iterator[Draft | Rejection]:
    used: set[str] = set()
    for path, relative in find_all(root, options.images, options.skip):
        try:
            found = _lines_file(root, relative, options)
            used.update(found)
            if not context.takes(relative, found):
                continue
            lines = _lines_of(root, relative, found, options)
            pixels, window = open_picture(path, options.deep_window)
        except UNREADABLE as error:
            yield Rejection(relative, reason_of(error))
            continue
        size = pixels.shape[:2]
        sketches = _sketches(lines, names, size)
        complete = names if options.complete else ()
        drawn = draw(sketches, relative, card, size=size, max_side=context.max_side, complete=complete)
        yield from drawn.refused
        yield Draft(
            path=relative, pixels=store(pixels, context.max_side), window=window, regions=drawn.regions,
            regions_complete=bool(drawn.vocabulary), region_vocabulary=drawn.vocabulary,
            facts=annotation_fact(card, kind_of(drawn)),
        )  # fmt: skip
    texts = find_all(root, options.all_lines)
    yield from (Rejection(name, "file_missing") for _, name in texts if name not in used)


def _lines_file(root: Path, relative: str, options: Options) -> list[str]:
    """Return the path inside the source of a picture's text file; none when it is absent."""
    template = options.lines or usual_place(relative)
    found = locate(root, template, fields_of_path(relative, options.pattern)) if options.lines else []
    found = found or ([] if options.lines else locate(root, "{place}", {"place": template}))
    return [path.relative_to(root).as_posix() for path in found[:1]]


def _lines_of(root: Path, relative: str, found: Sequence[str], options: Options) -> list[list[str]]:
    """Return the words of each line of a picture's text file."""
    if not found:
        if options.without_lines:
            return []
        raise Refused("annotation_missing", relative)
    return [line.split() for line in (root / found[0]).read_text(encoding="utf-8-sig").splitlines()]


def usual_place(relative: str) -> str:
    """Return where YOLO looks for a picture's lines: the last folder `images` reads `labels`."""
    path = PurePosixPath(relative).with_suffix(".txt")
    parts = list(path.parts)
    places = [place for place, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return PurePosixPath(*parts).as_posix()


def _sketches(lines: Sequence[Sequence[str]], names: Sequence[str], size: tuple[int, int]) -> list[Sketch]:
    """Return an object a line; one that an earlier line said word for word is no second object."""
    said: dict[tuple[str, ...], Sketch] = {}
    sketches = []
    for number, words in enumerate(lines, start=1):
        if not words:
            continue
        first = said.get(tuple(words))
        repeated = first and Sketch(first.word, f"line/{number}", fault=first.fault or "annotation_repeated")
        sketches.append(repeated or said.setdefault(tuple(words), _sketch(words, number, names, size)))
    return sketches


def _sketch(words: Sequence[str], number: int, names: Sequence[str], size: tuple[int, int]) -> Sketch:
    name = f"line/{number}"
    if not words[0].isdecimal() or int(words[0]) >= len(names):
        return Sketch("", name, fault="class_not_named")
    word, (height, width) = names[int(words[0])], size
    try:
        shares = parse_numbers(words[1:])
        if len(shares) == 4:
            scaled = np.multiply(to_corners(shares, "centre and size"), (width, height, width, height)).tolist()
            return Sketch(word, name, box=to_shares(tuple(scaled), width, height))
        if len(shares) >= 6 and len(shares) % 2 == 0:
            corners = np.multiply(np.reshape(shares, (-1, 2)), (width, height))
            return Sketch(word, name, mask=fill_polygon(corners.reshape(-1).tolist(), height, width))
        return Sketch(word, name, fault="line_malformed")
    except Refused as error:
        return Sketch(word, name, fault=error.reason)
