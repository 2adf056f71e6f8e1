"""What a row says in words, for the formats whose rows may carry any of it: a text, a question, a conversation."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import Field

from components.data.dialogue import read_dialogue
from components.data.question_rows import QuestionColumns, read_question
from components.data.reading import Rejection
from components.data.row_files import Row, value_at
from components.data.row_mapping import Statement, add_words, plain_text
from components.records import PairKind
from components.settings import Frozen


class SaidColumns(Frozen):
    """The columns of a text and of a conversation."""

    text: str = Field(default="", description="column of the caption or report")
    text_kind: Literal["caption", "report"] = Field(default="caption", description="what the text is")
    conversations: str = Field(default="", description="column of turns in LLaVA's form")
    speaker: str = Field(default="from", description="a turn's key of who speaks")
    value: str = Field(default="value", description="a turn's key of the text")
    kind: PairKind = Field(default="vqa", description="kind of the conversations; text alone is always text_only")
    may_be_text_only: bool = Field(default=False, description="a row without an image is text alone, not a fault")

    def said_columns(self) -> tuple[str, ...]:
        """Return the columns that a row must have."""
        return tuple(name for name in (self.text, self.conversations) if name)


def say_row(statement: Statement, row: Row, said: SaidColumns, asked: QuestionColumns) -> Statement | Rejection:
    """Add a row's words to its statement, or say why it cannot be taken."""
    return add_words(statement, lambda plain: _say(plain, row, said, asked))


def _say(statement: Statement, row: Row, said: SaidColumns, asked: QuestionColumns) -> tuple[Statement, str]:
    full = statement
    if said.text:
        text = plain_text(value_at(row.values, said.text), fault="text_not_text")
        full = replace(full, text=text, text_kind=said.text_kind)
    if asked.question:
        full = replace(full, questions=(read_question(row, asked),))
    if said.conversations:
        turns = read_dialogue(
            value_at(row.values, said.conversations), kind=said.kind if statement.images else "text_only",
            num_images=len(statement.images), keys=(said.speaker, said.value),
        )  # fmt: skip
        full = replace(full, questions=(*full.questions, *turns))
    return full, full.text + "".join(question.question for question in full.questions[:1])
