"""Tables of images and their captions (or reports): JSON, JSONL or CSV, columns by the card's mapping.

Serves ROCO, MedICaT, PubMedVision's original captions and MedPix-like tables. Images lie as files or in zip and
tar archives. The text is kept word for word.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from components.data.card import Card
from components.data.faults import Refused
from components.data.reading import ReadContext, Rejection, parse_options
from components.data.row_files import Row, iterate_tables, value_at
from components.data.row_mapping import (
    RowMapping,
    Statement,
    plain_text,
    state_row,
    with_language,
)
from components.data.text_records import join_images
from components.records import Record

VERSION = 1


class Options(RowMapping):
    """The mapping of a table of captions."""

    image: str = Field(
        min_length=1, description='path of the image, columns in braces: "figures/{pdf_hash}_{fig_uri}"'
    )
    text: str = Field(min_length=1, description="column of the caption")
    text_kind: Literal["caption", "report"] = Field(default="caption", description="what the text is")


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield a record an image with its caption."""
    options = parse_options(Options, card)
    rows = iterate_tables(root, options.tables, needed=(*options.columns(), options.text))
    statements = (row if isinstance(row, Rejection) else _state(row, options, card) for row in rows)
    yield from join_images(statements, root, card, context, archives=options.archives)


def _state(row: Row, options: Options, card: Card) -> Statement | Rejection:
    statement = state_row(row, options, card)
    if isinstance(statement, Rejection):
        return statement
    try:
        text = plain_text(value_at(row.values, options.text), fault="text_not_text")
    except Refused as fault:
        return Rejection(row.where, fault.reason)
    if not text:
        return Rejection(row.where, "text_empty")
    return with_language(replace(statement, text=text, text_kind=options.text_kind), text)
