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
from components.data.reading import ReadContext, Rejection, parse_options
from components.data.row_files import Row, value_at
from components.data.row_mapping import RowMapping, Statement, plain_text
from components.data.text_records import join_rows
from components.records import Record

VERSION = 1
PORTIONS = True


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

    def say(row: Row, statement: Statement) -> tuple[Statement, str]:
        text = plain_text(value_at(row.values, options.text), fault="text_not_text")
        return replace(statement, text=text, text_kind=options.text_kind), text

    needed = (*options.columns(), options.text)
    yield from join_rows(root, options, card, context, say=say, needed=needed)
