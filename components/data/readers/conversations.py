"""Conversations in LLaVA's form, JSON or JSONL: about an image, about several, or text alone.

Serves LLaVA-Med, PubMedVision, HuatuoGPT-Vision's data and text-only dialogues. All conversations of one image
become one record, each as source questions in order. The text is kept word for word, `<image>` at its ends cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field

from components.data.card import Card
from components.data.dialogue import read_dialogue
from components.data.reading import ReadContext, Rejection, parse_options
from components.data.row_files import Row, iterate_tables, value_at
from components.data.row_mapping import COLUMN, RowMapping, Statement, add_words, state_row
from components.data.text_records import join_images
from components.records import PairKind, Record
from components.settings import Words

VERSION = 1
PORTIONS = True


class Options(RowMapping):
    """The mapping of a table of conversations."""

    image: str = Field(
        default="{image}",
        description="path of the image, or of several; a row whose column is empty is text alone",
    )
    conversations: Words = Field(
        default=("conversations", "conversatons"), description="columns of turns, the first that a row has"
    )
    speaker: str = Field(
        default="from", description="a turn's key of who speaks: human, user, gpt, assistant, model"
    )
    value: str = Field(default="value", description="a turn's key of the text")
    kind: PairKind = Field(default="vqa", description="kind of the pairs; text alone is always text_only")
    drop_system: bool = Field(
        default=False, description="leave out a system turn at the start; false refuses the row"
    )


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield a record an image (or set of images) with its conversations, then a record a text-only row."""
    options = parse_options(Options, card)
    rows = iterate_tables(root, options.tables, needed=())
    statements = (row if isinstance(row, Rejection) else _state(row, options, card) for row in rows)
    yield from join_images(statements, root, card, context, archives=options.archives)


def _state(row: Row, options: Options, card: Card) -> Statement | Rejection:
    """Read one row; a row that names no image is text alone."""
    columns = COLUMN.findall(options.image)
    has_image = not columns or any(_is_named(value_at(row.values, column)) for column in columns)

    def say(statement: Statement) -> tuple[Statement, str]:
        questions = read_dialogue(
            _turns(row, options), kind=options.kind if statement.images else "text_only",
            num_images=len(statement.images), keys=(options.speaker, options.value),
            drop_system=options.drop_system,
        )  # fmt: skip
        return replace(statement, questions=questions), questions[0].question + questions[0].answer

    return add_words(state_row(row, options if has_image else options.model_copy(update={"image": ""}), card), say)


def _turns(row: Row, options: Options) -> Any:
    found = (value_at(row.values, name) for name in options.conversations)
    return next((turns for turns in found if turns is not None), None)


def _is_named(value: Any) -> bool:
    return value not in (None, "", [])
