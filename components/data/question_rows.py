"""A row's question, answer and options, as the readers of question tables share them."""

from __future__ import annotations

import ast
import json
import re
from typing import Any, Literal

from pydantic import Field

from components.data.faults import Refused
from components.data.row_files import Row, value_at
from components.data.row_mapping import (
    plain_text,
)
from components.records import NOT_STATED, SourceQuestion
from components.settings import Frozen, Words

LETTERED = re.compile(r"^\(?([A-H])\s*[:.)]\s*(?=\S)")
PLACEHOLDER = "<image>"


class QuestionColumns(Frozen):
    """The columns of a question."""

    question: str = Field(default="", description="column of the question")
    answer: str = Field(default="", description="column of the gold answer")
    answer_is: Literal["text", "letter"] = Field(
        default="text", description="letter: the answer column names an option by A, B, ... in the options' order"
    )
    options: Words = Field(
        default=(),
        description="columns of the options in their order (empty ones are left out), or one list column",
    )
    question_type: str = Field(default="", description="column of the question's type")
    question_types: dict[str, str] = Field(
        default_factory=dict,
        description="the column's words -> type, to mend spellings; others stay, in lower case",
    )

    def question_columns(self) -> tuple[str, ...]:
        """Return the columns that a row must have."""
        return tuple(name for name in (self.question, self.answer, *self.options, self.question_type) if name)


def read_question(row: Row, columns: QuestionColumns) -> SourceQuestion:
    """Read a row's question; Refused names what is wrong with it."""
    asked = plain_text(value_at(row.values, columns.question), fault="question_not_text")
    asked = asked.replace(PLACEHOLDER, "").strip()
    if not asked:
        raise Refused("question_empty")
    answer = plain_text(value_at(row.values, columns.answer), fault="answer_not_text")
    if not answer:
        raise Refused("answer_empty")
    kind = (
        plain_text(value_at(row.values, columns.question_type), fault="column_not_text")
        if (columns.question_type)
        else ""
    )
    choices = _choices(row, columns)
    gold = _gold(answer, choices, columns) if columns.options else answer
    return SourceQuestion(asked, gold, choices, columns.question_types.get(kind, kind.lower()) or NOT_STATED)


def _choices(row: Row, columns: QuestionColumns) -> tuple[str, ...]:
    values = [value_at(row.values, column) for column in columns.options]
    if len(values) == 1:
        values = _list_of(values[0])
    texts = [plain_text(value, fault="option_not_text") for value in values]
    texts = [_without_letter(text, place) for place, text in enumerate(texts)]
    while texts and not texts[-1]:
        texts.pop()
    kept = tuple(text for text in texts if text)
    if columns.answer_is == "letter" and len(kept) != len(texts):
        raise Refused("options_with_a_gap")
    if columns.options and len({_plain(text) for text in kept}) != len(kept):
        raise Refused("options_repeated")
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
        raise Refused("option_not_text")
    return value


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise Refused("option_not_text") from error


def _without_letter(text: str, place: int) -> str:
    """Cut " A: " from the front of an option, when the letter is that of its place."""
    match = LETTERED.match(text)
    return text[match.end() :] if match and ord(match[1]) - ord("A") == place else text


def _gold(answer: str, choices: tuple[str, ...], columns: QuestionColumns) -> str:
    """Return the option that the answer names, in the option's own spelling."""
    if not choices:
        if columns.answer_is == "letter":
            raise Refused("answer_not_among_options")
        return answer
    if columns.answer_is == "letter":
        letter = answer.strip("(). :").upper()
        place = ord(letter) - ord("A") if len(letter) == 1 else -1
        if not 0 <= place < len(choices):
            raise Refused("answer_not_among_options")
        return choices[place]
    stripped = {_plain(answer), *(_plain(_without_letter(answer, place)) for place in range(len(choices)))}
    found = [choice for choice in choices if _plain(choice) in stripped]
    if len(found) != 1:
        raise Refused("answer_not_among_options")
    return found[0]


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
