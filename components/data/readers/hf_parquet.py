"""Hugging Face Parquet files that carry the image bytes: captions, questions, conversations or classes by column.

Rows of one image (told by its bytes) become one record. The files are read twice, in row groups: once for what
the rows say, once for the images, so that memory stays that of a few rows. Class numbers take their names from
the files' metadata, and the names their canonical terms from the card's label_map.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from glob import escape
from hashlib import blake2b
from pathlib import Path

from pydantic import Field, model_validator

from components.data.card import Card
from components.data.faults import Refused
from components.data.parquet_rows import iterate_parquet
from components.data.question_rows import QuestionColumns
from components.data.reading import ReadContext, Rejection, WholeOnly, find_files, parse_options
from components.data.row_files import FileGroup, Row
from components.data.row_mapping import (
    ColumnMapping,
    Statement,
    state_row,
)
from components.data.row_store import RowStore, file_of
from components.data.said_rows import SaidColumns, say_row
from components.data.text_records import finish_gathered, gather, tell_image
from components.records import Record
from components.settings import Words

VERSION = 1
PORTIONS = True


class Options(ColumnMapping, QuestionColumns, SaidColumns):
    """The files and the columns that are read; at least one of text, question, conversations and labels."""

    files: tuple[FileGroup, ...] = Field(min_length=1, description="the Parquet files, a group a split")
    image: Words = Field(
        default=("image",),
        description="columns of images; several images of a row belong together. Empty: text alone",
    )

    @model_validator(mode="after")
    def _says_something(self) -> Options:
        if not (self.text or self.question or self.conversations or self.labels):
            raise ValueError("name a column of `text`, `question`, `conversations` or `labels`")
        return self


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield a record an image, then a record a set of images, then a record a text-only row."""
    options = parse_options(Options, card)
    if context.is_whole:
        yield from _read_files(root, options, card, context)
        return
    if context.is_listing:
        _check_apart(root, options)
    for group in options.files:
        for path in find_files(root, group.file):
            file = path.relative_to(root).as_posix()
            if context.takes(file):
                own = options.model_copy(update={"files": (group.model_copy(update={"file": escape(file)}),)})
                yield from context.of(file, _read_files(root, own, card, context))


def _check_apart(root: Path, options: Options) -> None:
    """Raise WholeOnly when an image is in two files: what their rows say of it is one record."""
    first: dict[str, str] = {}
    for row, pictures in iterate_parquet(root, options.files, (), options.image) if options.image else ():
        for _, content in pictures if isinstance(pictures, list) else ():
            file = file_of(row.where)
            if first.setdefault(key_of(content), file) != file:
                raise WholeOnly


def _read_files(root: Path, options: Options, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    columns = (*options.columns(), *options.question_columns(), *options.said_columns())
    with RowStore() as store:
        for row, pictures in iterate_parquet(root, options.files, columns, options.image):
            yield from gather(_state(row, pictures, options, card), store)
        store.index()
        for row, pictures in iterate_parquet(root, options.files, (), options.image) if options.image else ():
            for name, content in pictures if isinstance(pictures, list) else ():
                yield from _picture(row, name, content, store, card, context)
        yield from finish_gathered(store, card, context)


def _picture(
    row: Row, name: str, content: bytes, store: RowStore, card: Card, context: ReadContext
) -> Iterator[Record | Rejection]:
    key = key_of(content)
    if store.is_marked(key):
        return
    statements = store.of(key)
    if statements:
        file = file_of(row.where)
        path, part = (f"{file}/{name}", key) if name else (f"{file}/{key}", "")
        yield from tell_image(
            key, statements, lambda: content, store, card=card, context=context, path=path, part=part
        )


def key_of(content: bytes) -> str:
    """Return the name that an image has by its bytes."""
    return blake2b(content, digest_size=10).hexdigest()


def _state(
    row: Row, pictures: list[tuple[str, bytes]] | Refused, options: Options, card: Card
) -> Statement | Rejection:
    if isinstance(pictures, Refused):
        return Rejection(row.where, pictures.reason)
    if options.image and not pictures and not options.may_be_text_only:
        return Rejection(row.where, "image_not_named")
    statement = state_row(row, options, card)
    if isinstance(statement, Rejection):
        return statement
    named = replace(statement, images=tuple(key_of(content) for _, content in pictures))
    return say_row(named, row, options, options)
