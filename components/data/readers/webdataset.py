"""WebDataset shards: tar files whose members of one key (`000001.jpg`, `000001.json`, …) are one sample.

Shards are streamed, one sample in memory at a time. A sample's text is its `.txt` member or a column of its
`.json`; questions and conversations are columns of the `.json`; its class is the number in its `.cls`.
https://github.com/webdataset/webdataset
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import Field, model_validator

from components.data.card import Card
from components.data.faults import Refused
from components.data.picture_files import Member, decode_pixels, iterate_archives, load_member
from components.data.question_rows import QuestionColumns
from components.data.reading import ReadContext, Rejection, parse_options
from components.data.row_files import FileGroup, Row
from components.data.row_mapping import (
    ColumnMapping,
    state_row,
)
from components.data.said_rows import SaidColumns, say_row
from components.data.text_records import finish_image, finish_text
from components.records import Record
from components.settings import Words

VERSION = 1
PORTIONS = True
TEXT, CLASS = "_text", "_class"  # columns that a sample's own members become
MAX_TEXT = 16 << 20


class Options(ColumnMapping, QuestionColumns, SaidColumns):
    """The shards, the members that are read, and the columns of the JSON member."""

    shards: tuple[FileGroup, ...] = Field(min_length=1, description="the tar files, a group a split")
    images: Words = Field(
        default=("jpg", "jpeg", "png", "webp", "tif", "tiff", "bmp"), description="endings of the image member"
    )
    text_member: str = Field(default="", description='ending of the member that is the text, often "txt"')
    json_member: str = Field(default="json", description="ending of the member that holds the columns")
    class_member: str = Field(default="", description='ending of the member that is the class number, often "cls"')
    classes: Words = Field(default=(), description="names of the classes, from number 0; by the label_map")

    @model_validator(mode="after")
    def _classes_are_named(self) -> Options:
        if bool(self.class_member) != bool(self.classes):
            raise ValueError("`class_member` and `classes` go together")
        if self.text_member and self.text:
            raise ValueError("name either `text_member` or `text`, a column of the JSON member")
        return self


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield a record a sample, in the shards' order."""
    options = parse_options(Options, card)
    columns = _columns(options)
    for group in options.shards:
        members = iterate_archives(root, (group.file,), takes=context.takes)
        seen: set[tuple[str, str]] = set()
        for (shard, key), parts in groupby(members, key=_key_of):
            is_new = (shard, key) not in seen
            seen.add((shard, key))
            made = _try_sample(f"{shard}#{key}", parts, is_new, group, (options, columns), card, context)
            yield from context.of(shard, [made])


def _try_sample(
    where: str, parts: Iterator[Member | Rejection], is_new: bool, group: FileGroup,
    columns: tuple[Options, Options], card: Card, context: ReadContext,
) -> Record | Rejection:  # fmt: skip
    try:
        if not is_new:
            raise Refused("member_repeated")
        return _sample(where, _load(parts, columns[0]), group, *columns, card, context)
    except Refused as fault:
        return Rejection(where, fault.reason)


def _columns(options: Options) -> Options:
    """Return the options with the sample's own members as columns beside those of its JSON."""
    labels = (*options.labels, CLASS) if options.class_member else options.labels
    return options.model_copy(update={"labels": labels, "text": TEXT if options.text_member else options.text})


def _key_of(member: Member | Rejection) -> tuple[str, str]:
    """Return (shard, key): the member's path up to the first dot of its name."""
    if isinstance(member, Rejection):
        shard, _, name = member.where.partition("#")
        return shard, f"{name}"
    pure = PurePosixPath(member.name)
    return member.archive, pure.with_name(pure.name.partition(".")[0] or pure.name).as_posix()


def _load(parts: Iterator[Member | Rejection], options: Options) -> dict[str, bytes]:
    """Read the wanted members of one sample, by their endings in lower case."""
    texts = {name for name in (options.text_member, options.json_member, options.class_member) if name}
    held: dict[str, bytes] = {}
    for member in parts:
        if isinstance(member, Rejection):
            raise Refused(member.reason)
        ending = PurePosixPath(member.name).name.partition(".")[2].lower()
        if ending in texts and member.size > MAX_TEXT:
            raise Refused("file_too_large")
        if ending in held:
            raise Refused("member_repeated")
        if ending in texts or ending in options.images:
            held[ending] = load_member(member)
    return held


def _sample(
    where: str,
    held: dict[str, bytes],
    group: FileGroup,
    options: Options,
    columns: Options,
    card: Card,
    context: ReadContext,
) -> Record | Rejection:
    ending = next((name for name in options.images if name in held), "")
    if not ending and not options.may_be_text_only:
        return Rejection(where, "image_not_named")
    row = Row(where, _values(held, options), group)
    statement = state_row(row, columns, card)
    if isinstance(statement, Rejection):
        return statement
    shard, _, key = where.partition("#")
    path = f"{shard}/{key}.{ending}"
    said = say_row(replace(statement, images=(path,) if ending else ()), row, columns, columns)
    if isinstance(said, Rejection):
        return said
    if not ending:
        return finish_text(said, card, context)
    return finish_image(path, said, decode_pixels(held[ending], max_side=context.max_side), card, context)


def _values(held: dict[str, bytes], options: Options) -> dict[str, Any]:
    values = _object(held.get(options.json_member, b"{}"))
    if options.text_member:
        values[TEXT] = _decode(held.get(options.text_member, b""))
    if options.class_member:
        values[CLASS] = _class_name(_decode(held.get(options.class_member, b"")).strip(), options.classes)
    return values


def _class_name(number: str, classes: tuple[str, ...]) -> str:
    if not number.isdecimal() or int(number) >= len(classes):
        raise Refused("label_not_in_vocabulary")
    return classes[int(number)]


def _decode(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise Refused("text_not_unicode") from error


def _object(content: bytes) -> dict[str, Any]:
    try:
        values = json.loads(_decode(content))
    except (json.JSONDecodeError, RecursionError) as error:
        raise Refused("row_not_json") from error
    if not isinstance(values, dict):
        raise Refused("row_not_an_object")
    return values
