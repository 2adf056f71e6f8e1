"""Turns of a published conversation become source questions in order, or a reason to refuse it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.data.faults import Refused
from components.data.row_mapping import (
    plain_text,
)
from components.records import CONTINUES, SourceQuestion

PLACEHOLDER = "<image>"
SPEAKERS = {
    "human": "human", "user": "human", "gpt": "gpt", "assistant": "gpt", "model": "gpt", "system": "system",
}  # fmt: skip


def read_dialogue(
    turns: Any, *, kind: str, num_images: int, keys: tuple[str, str] = ("from", "value"), drop_system: bool = False
) -> tuple[SourceQuestion, ...]:
    """Return one question a pair of turns; the first has the type `kind`, the others CONTINUES.

    `<image>` at the ends of the first turn is cut (pairs put it back); inside that turn it stays. Its number
    must be that of the images, or none.

    Raises Refused: `conversation_not_a_list`, `turn_not_text`, `turn_empty`, `turn_speaker_unknown`,
    `system_turn`, `turns_do_not_alternate`, `placeholder_count_differs`, `placeholder_after_first_turn`.
    """
    if not isinstance(turns, list) or not turns:
        raise Refused("conversation_not_a_list")
    spoken = [_turn(turn, keys) for turn in turns]
    if spoken[0][0] == "system":
        if not drop_system:
            raise Refused("system_turn")
        spoken = spoken[1:]
    if [speaker for speaker, _ in spoken] != ["human", "gpt"] * (len(spoken) // 2) or not spoken:
        raise Refused("turns_do_not_alternate")
    texts = [_without_placeholders(spoken[0][1], num_images), *(text for _, text in spoken[1:])]
    _check_placeholders([text for _, text in spoken], num_images)
    if not all(texts):
        raise Refused("turn_empty")
    pairs = zip(texts[::2], texts[1::2], strict=True)
    return tuple(SourceQuestion(q, a, (), CONTINUES if at else kind) for at, (q, a) in enumerate(pairs))


def _turn(turn: Any, keys: tuple[str, str]) -> tuple[str, str]:
    if not isinstance(turn, Mapping):
        raise Refused("turn_not_text")
    speaker = SPEAKERS.get(str(turn.get(keys[0])).lower(), "")
    if not speaker:
        raise Refused("turn_speaker_unknown")
    value = turn.get(keys[1])
    if value is not None and not isinstance(value, str):
        raise Refused("turn_not_text")
    return speaker, plain_text(value, fault="turn_not_text")


def _check_placeholders(texts: Sequence[str], num_images: int) -> None:
    counts = [text.count(PLACEHOLDER) for text in texts]
    if sum(counts) not in (0, num_images):
        raise Refused("placeholder_count_differs")
    if any(counts[1:]):
        raise Refused("placeholder_after_first_turn")


def _without_placeholders(text: str, num_images: int) -> str:
    """Cut the placeholders before or after a text; where one stands inside it, all stay."""
    bare = text
    while bare.startswith(PLACEHOLDER) or bare.endswith(PLACEHOLDER):
        bare = bare.removeprefix(PLACEHOLDER).removesuffix(PLACEHOLDER).strip()
    return text if PLACEHOLDER in bare and num_images else bare
