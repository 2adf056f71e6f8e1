"""A language model's reply: its JSON is found, validated and given plain names, or refused with a reason."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from components.data.report_text import join_sections, one_line
from components.pairs.prompts import FREE_QUESTIONS, REGION_START

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]
MARKERS = ("<image>", "<|im_start|>", "<|im_end|>", "<box>", "<ref>")


class ReplyRefused(ValueError):
    """A reply that cannot become a pair; `reason` is snake_case. `is_final`: asking again would not help."""

    def __init__(self, reason: str, *, is_final: bool = False) -> None:
        self.reason, self.is_final = reason, is_final
        super().__init__(reason)


class CaptionReply(BaseModel):
    """What "caption" and "region_caption" ask for."""

    model_config = ConfigDict(frozen=True, strict=True)
    caption: Text


class QuestionReply(BaseModel):
    """One question and its answer."""

    model_config = ConfigDict(frozen=True, strict=True)
    question: Text
    answer: Text


class QuestionsReply(BaseModel):
    """What "instruct" asks for."""

    model_config = ConfigDict(frozen=True)
    pairs: list[QuestionReply] = Field(min_length=1, max_length=20)


class ChoiceReply(QuestionReply):
    """One closed question; the answer is one of the options."""

    options: list[Text] = Field(min_length=2, max_length=6)

    @model_validator(mode="after")
    def _answers_with_an_option(self) -> ChoiceReply:
        if self.answer not in self.options or len(set(self.options)) < len(self.options):
            raise ValueError("the answer is not one of the options, or an option stands there twice")
        return self


class ChoicesReply(BaseModel):
    """What "percept" asks for."""

    model_config = ConfigDict(frozen=True)
    pairs: list[ChoiceReply] = Field(min_length=1, max_length=20)


class ReportReply(BaseModel):
    """What "report" asks for."""

    model_config = ConfigDict(frozen=True, strict=True)
    findings: Text
    impression: Text


@dataclass(frozen=True, slots=True)
class Row:
    """One pair that a reply holds; a caption's and a report's question is "". `further` are (question, answer)."""

    question: str
    answer: str
    options: tuple[str, ...] = ()
    further: tuple[tuple[str, str], ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """All that the model wrote."""
        return (self.question, self.answer, *self.options, *(part for pair in self.further for part in pair))


def read_reply(kind: str, text: str, language: str) -> list[Row]:
    """Return the rows of a reply.

    Raises:
        ReplyRefused: `reply_not_json`, `reply_schema_invalid`, `reply_holds_markup`, or
            `region_not_begun_as_asked` (Table 2: a region caption begins "This region").
    """
    content = find_json(text)
    try:
        rows = _rows(kind, content, language)
    except ValidationError as error:
        raise ReplyRefused("reply_schema_invalid") from error
    if any(marker in part for row in rows for part in row.texts for marker in MARKERS):
        raise ReplyRefused("reply_holds_markup")
    if kind == "region_caption" and not rows[0].answer.startswith(REGION_START[language]):
        raise ReplyRefused("region_not_begun_as_asked")
    return rows


def _rows(kind: str, content: Any, language: str) -> list[Row]:
    if kind == "percept":
        closed = ChoicesReply.model_validate(_listed(content)).pairs
        return [Row(row.question, row.answer, tuple(row.options)) for row in closed]
    if kind == "report":
        report = ReportReply.model_validate(content)
        sections = {"findings": one_line(report.findings), "impression": one_line(report.impression)}
        return [Row("", join_sections(sections, language=language))]
    if kind not in FREE_QUESTIONS:
        return [Row("", CaptionReply.model_validate(content).caption)]
    pairs = [(row.question, row.answer) for row in QuestionsReply.model_validate(_listed(content)).pairs]
    if kind == "text_only":
        return [Row(*pairs[0], further=tuple(pairs[1:]))]
    return [Row(*pair) for pair in pairs]


def find_json(text: str) -> Any:
    """Return the first JSON object or list of a text (models put fences and greetings around it).

    Raises:
        ReplyRefused: there is none.
    """
    decoder = json.JSONDecoder()
    for place, letter in enumerate(text):
        if letter not in "{[":
            continue
        try:
            return decoder.raw_decode(text, place)[0]
        except json.JSONDecodeError:
            continue
        except RecursionError as error:
            raise ReplyRefused("reply_not_json") from error
    raise ReplyRefused("reply_not_json")


def _listed(content: Any) -> Any:
    """The paper's form is a bare list of objects: take it too."""
    return {"pairs": content} if isinstance(content, Sequence) and not isinstance(content, str) else content
