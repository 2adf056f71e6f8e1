"""A language model's reply: its JSON is found, validated and given plain names, or refused with a reason."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from components.pairs.prompts import REGION_START

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


def read_reply(kind: str, text: str, language: str) -> list[tuple[str, str]]:
    """Return (question, answer) rows of a reply; a caption's question is "".

    Raises:
        ReplyRefused: `reply_not_json`, `reply_schema_invalid`, `reply_holds_markup`, or
            `region_not_begun_as_asked` (Table 2: a region caption begins "This region").
    """
    content = find_json(text)
    try:
        if kind == "instruct":
            rows = [(row.question, row.answer) for row in QuestionsReply.model_validate(_listed(content)).pairs]
        else:
            rows = [("", CaptionReply.model_validate(content).caption)]
    except ValidationError as error:
        raise ReplyRefused("reply_schema_invalid") from error
    if any(marker in part for row in rows for part in row for marker in MARKERS):
        raise ReplyRefused("reply_holds_markup")
    if kind == "region_caption" and not rows[0][1].startswith(REGION_START[language]):
        raise ReplyRefused("region_not_begun_as_asked")
    return rows


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
