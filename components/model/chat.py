"""Conversations to token ids: which tokens are shared by one image's questions, and which are supervised.

Loss falls on assistant text and its end mark only; user text, marks and separators are not supervised
(GMAI-VL's code does the same: arXiv 2411.14522 and uni-medical/GMAI-VL@9f81a15, label -100). Templates are
ChatML and InternLM2's; both write a turn as start mark, role, newline, text, end mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from components.errors import ConfigError
from components.model.language import IMAGE_TOKEN, TURN_END, TURN_START
from components.records import Turn

ROLES = {"human": "user", "gpt": "assistant"}
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for item in message['content'] if item['type'] == 'image' %}<image>\n{% endfor %}"
    "{% for item in message['content'] if item['type'] == 'text' %}{{ item['text'] }}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEMPLATES = {"chatml": CHAT_TEMPLATE, "internlm2": CHAT_TEMPLATE}  # one writing under both names


def chat_template(name: str) -> str:
    """Return the Jinja template of a family of chat marks; ConfigError for a name that is not one."""
    if name not in TEMPLATES:
        raise ConfigError(
            f"no chat template {name!r}", where="conf/model", fix=f"choose one of {', '.join(TEMPLATES)}"
        )
    return TEMPLATES[name]


@dataclass(frozen=True, slots=True)
class EncodedConversation:
    """Token ids of one conversation; `supervised[i]` says whether token i is predicted with loss.

    `prefix_length` is the number of tokens up to and including the last image token: what conversations
    about the same images have in common.
    """

    ids: tuple[int, ...]
    supervised: tuple[bool, ...]
    prefix_length: int


def _pieces(turns: Sequence[Turn]) -> list[tuple[str, bool]]:
    pieces: list[tuple[str, bool]] = []
    for turn in turns:
        pieces.append((f"{TURN_START}{ROLES[turn.speaker]}\n", False))
        pieces.append((turn.value + TURN_END, turn.speaker == "gpt"))
        pieces.append(("\n", False))
    return pieces


def _opening(tokenizer: Any) -> list[int]:
    """Return what a tokenizer itself sets before a text, such as InternLM2's `<s>`.

    Plain transformers lets it, so training does: a checkpoint is asked what it was trained on.
    """
    framed = tokenizer.encode(TURN_START)
    return framed[: framed.index(tokenizer.encode(TURN_START, add_special_tokens=False)[0])]


def encode_conversation(
    tokenizer: Any, turns: Sequence[Turn], *, image_tokens: int | Sequence[int]
) -> EncodedConversation:
    """Encode turns; each `<image>` becomes `image_tokens` copies of the image token, or its own number of them.

    Raises:
        ValueError: there are not as many numbers as there are `<image>`.
    """
    image_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
    given = repeat(image_tokens) if isinstance(image_tokens, int) else iter(image_tokens)
    ids = _opening(tokenizer)
    supervised = [False] * len(ids)
    for text, is_target in _pieces(turns):
        for token in tokenizer.encode(text, add_special_tokens=False):
            copies = next(given, 0) if token == image_id else 1
            if not copies:
                raise ValueError("more <image> in the text than images")
            ids.extend([token] * copies)
            supervised.extend([is_target] * copies)
    if not isinstance(image_tokens, int) and next(given, None) is not None:
        raise ValueError("more images than <image> in the text")
    last_image = max((i for i, token in enumerate(ids) if token == image_id), default=-1)
    return EncodedConversation(tuple(ids), tuple(supervised), last_image + 1)


def encode_prompt(tokenizer: Any, question: str, *, image_tokens: int | Sequence[int]) -> list[int]:
    """Encode one user turn and the opening of the assistant's, ready to be answered."""
    encoded = encode_conversation(tokenizer, [Turn("human", question)], image_tokens=image_tokens)
    opening = tokenizer.encode(f"{TURN_START}assistant\n", add_special_tokens=False)
    return [*encoded.ids, *opening]
