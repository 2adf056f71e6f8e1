"""Tables of questions and answers about images: JSON, JSONL, CSV or delimited text, columns by the card's mapping.

Serves VQA-RAD, SLAKE, PMC-VQA v1 and v2, PathVQA, OmniMedVQA and VQA-Med. All questions of one image become
one record's `questions`. A number is taken as its digits; any other answer that is not text is refused, and so
is a gold answer that is none of its options. Options are stored without the letters that some tables put before
them; the answer of a closed question is the option's text.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from components.data.card import Card
from components.data.reading import ReadContext, Rejection, parse_options
from components.data.row_files import Row, iterate_tables, value_at
from components.data.row_mapping import RowFault, RowMapping, Statement, plain_text, state_row, with_language
from components.data.text_records import join_images
from components.records import NOT_STATED, Record, SourceQuestion

VERSION = 1
LETTERED = re.compile(r"^\(?([A-H])\s*[:.)]\s*(?=\S)")
PLACEHOLDER = "<image>"


class Options(RowMapping):
    """The mapping of a table of questions."""

    image: str = Field(min_length=1, description='path of the image, columns in braces: "imgs/{img_name}"')
    question: str = Field(min_length=1, description="column of the question")
    answer: str = Field(min_length=1, description="column of the gold answer")
    answer_is: Literal["text", "letter"] = Field(
        default="text", description="letter: the answer column names an option by A, B, ... in the options' order"
    )
    options: tuple[str, ...] = Field(
        default=(),
        description="columns of the options in their order (empty ones are left out), or one list column",
    )
    question_type: str = Field(default="", description="column of the question's type")
    question_types: dict[str, str] = Field(
        default_factory=dict,
        description="the column's words -> type, to mend spellings; others stay, in lower case",
    )


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield a record an image with all its questions."""
    options = parse_options(Options, card)
    needed = (*options.columns(), options.question, options.answer, *options.options, options.question_type)
    rows = iterate_tables(root, options.tables, needed=tuple(name for name in needed if name))
    statements = (row if isinstance(row, Rejection) else _state(row, options, card) for row in rows)
    yield from join_images(statements, root, card, context, archives=options.archives)


def _state(row: Row, options: Options, card: Card) -> Statement | Rejection:
    statement = state_row(row, options, card)
    if isinstance(statement, Rejection):
        return statement
    try:
        question = read_question(row, options)
    except RowFault as fault:
        return Rejection(row.where, fault.reason)
    return with_language(replace(statement, questions=(question,)), question.question)


def read_question(row: Row, options: Options) -> SourceQuestion:
    """Read a row's question; RowFault names what is wrong with it."""
    asked = plain_text(value_at(row.values, options.question), fault="question_not_text")
    asked = asked.replace(PLACEHOLDER, "").strip()
    if not asked:
        raise RowFault("question_empty")
    answer = plain_text(value_at(row.values, options.answer), fault="answer_not_text")
    if not answer:
        raise RowFault("answer_empty")
    kind = (
        plain_text(value_at(row.values, options.question_type), fault="column_not_text")
        if (options.question_type)
        else ""
    )
    choices = _choices(row, options)
    gold = _gold(answer, choices, options) if options.options else answer
    return SourceQuestion(asked, gold, choices, options.question_types.get(kind, kind.lower()) or NOT_STATED)


def _choices(row: Row, options: Options) -> tuple[str, ...]:
    values = [value_at(row.values, column) for column in options.options]
    if len(values) == 1:
        values = _list_of(values[0])
    texts = [plain_text(value, fault="option_not_text") for value in values]
    texts = [_without_letter(text, place) for place, text in enumerate(texts)]
    while texts and not texts[-1]:
        texts.pop()
    kept = tuple(text for text in texts if text)
    if options.answer_is == "letter" and len(kept) != len(texts):
        raise RowFault("options_with_a_gap")
    if options.options and len({_plain(text) for text in kept}) != len(kept):
        raise RowFault("options_repeated")
    return kept


def _list_of(value: Any) -> list[Any]:
    """Return the list that a column holds, as it is or written out as text (JSON or Python)."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            value = _literal(value)
    if isinstance(value, dict):
        return list(value.values())
    if value in (None, ""):
        return []
    if not isinstance(value, list):
        raise RowFault("option_not_text")
    return value


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise RowFault("option_not_text") from error


def _without_letter(text: str, place: int) -> str:
    """Cut " A: " from the front of an option, when the letter is that of its place."""
    match = LETTERED.match(text)
    return text[match.end() :] if match and ord(match[1]) - ord("A") == place else text


def _gold(answer: str, choices: tuple[str, ...], options: Options) -> str:
    """Return the option that the answer names, in the option's own spelling."""
    if not choices:
        if options.answer_is == "letter":
            raise RowFault("answer_not_among_options")
        return answer
    if options.answer_is == "letter":
        letter = answer.strip("(). :").upper()
        place = ord(letter) - ord("A") if len(letter) == 1 else -1
        if not 0 <= place < len(choices):
            raise RowFault("answer_not_among_options")
        return choices[place]
    stripped = {_plain(answer), *(_plain(_without_letter(answer, place)) for place in range(len(choices)))}
    found = [choice for choice in choices if _plain(choice) in stripped]
    if len(found) != 1:
        raise RowFault("answer_not_among_options")
    return found[0]


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
