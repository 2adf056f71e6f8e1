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
from components.data.question_rows import QuestionColumns, read_question
from components.data.reading import ReadContext, Rejection, parse_options
from components.data.row_files import Row
from components.data.row_mapping import RowMapping, Statement
from components.data.text_records import join_rows
from components.records import Record

VERSION = 1
PORTIONS = True


class Options(RowMapping, QuestionColumns):
    """The mapping of a table of questions."""

    image: str = Field(min_length=1, description='path of the image, columns in braces: "imgs/{img_name}"')
    question: str = Field(min_length=1, description="column of the question")
    answer: str = Field(min_length=1, description="column of the gold answer")


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield a record an image with all its questions."""
    options = parse_options(Options, card)

    def say(row: Row, statement: Statement) -> tuple[Statement, str]:
        question = read_question(row, options)
        return replace(statement, questions=(question,)), question.question

    needed = (*options.columns(), *options.question_columns())
    yield from join_rows(root, options, card, context, say=say, needed=needed)
