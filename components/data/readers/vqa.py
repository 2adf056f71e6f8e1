"""Tables of questions and answers about images: JSON, JSONL, CSV or delimited text, columns by the card's mapping.

Serves VQA-RAD, SLAKE, PMC-VQA v1 and v2, PathVQA, OmniMedVQA and VQA-Med. All questions of one image become
one record's `questions`. A number is taken as its digits; any other answer that is not text is refused, and so
is a gold answer that is none of its options. Options are stored without the letters that some tables put before
them; the answer of a closed question is the option's text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pydantic import Field

from components.data.card import Card
from components.data.faults import Refused
from components.data.question_rows import QuestionColumns, read_question
from components.data.reading import ReadContext, Rejection, parse_options
from components.data.row_files import Row, iterate_tables
from components.data.row_mapping import (
    RowMapping,
    Statement,
    state_row,
    with_language,
)
from components.data.text_records import join_images
from components.records import Record

VERSION = 1


class Options(RowMapping, QuestionColumns):
    """The mapping of a table of questions."""

    image: str = Field(min_length=1, description='path of the image, columns in braces: "imgs/{img_name}"')
    question: str = Field(min_length=1, description="column of the question")
    answer: str = Field(min_length=1, description="column of the gold answer")


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield a record an image with all its questions."""
    options = parse_options(Options, card)
    needed = (*options.columns(), *options.question_columns())
    rows = iterate_tables(root, options.tables, needed=needed)
    statements = (row if isinstance(row, Rejection) else _state(row, options, card) for row in rows)
    yield from join_images(statements, root, card, context, archives=options.archives)


def _state(row: Row, options: Options, card: Card) -> Statement | Rejection:
    statement = state_row(row, options, card)
    if isinstance(statement, Rejection):
        return statement
    try:
        question = read_question(row, options)
    except Refused as fault:
        return Rejection(row.where, fault.reason)
    return with_language(replace(statement, questions=(question,)), question.question)
