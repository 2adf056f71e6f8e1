"""Answers by the model: options ranked by likelihood, texts generated greedily, each image encoded once.

An option's score is the log-probability of its tokens and the end mark together, which is how likely the model
is to give exactly that answer (lm-evaluation-harness calls the choice by it `acc`). The mean per token would
favour options of several tokens: once the first is given, the rest of a word costs next to nothing. The model is
held in bfloat16 (measured 27 % faster than autocast over float32 weights on 2 CPU cores); log-probabilities
are taken in float32.

B rows, L tokens, T image tokens an image, D hidden size.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from components.evaluation.branches import ClosedPrompt, Tree, make_trees
from components.evaluation.items import Answer
from components.model.chat import TURN_END

if TYPE_CHECKING:
    from PIL.Image import Image

    from components.model.vlm import VLM

Features = Mapping[str, torch.Tensor]
Advance = Callable[[int], None]
IMAGES_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to the model: its images' ids, the prompt's text, and its options if it is closed."""

    images: tuple[str, ...]
    prompt: str
    options: tuple[str, ...] = ()


@contextmanager
def inference(device: str = "cpu") -> Generator[None]:
    """No gradients, bfloat16 matrix products on the device ("cpu", "cuda", "cuda:1") that the model lies on."""
    with torch.no_grad(), torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
        yield


def encode_images(vlm: VLM, images: Iterable[tuple[str, Image]], *, advance: Advance) -> dict[str, torch.Tensor]:
    """Encode and project each image once: {id: (T, D)}, T times its squares where pictures are cut."""
    found: dict[str, torch.Tensor] = {}
    waiting: list[tuple[str, Image]] = []

    def flush() -> None:
        if waiting:
            features = vlm.encode_each([image for _, image in waiting])
            found.update({name: one.to(torch.bfloat16) for (name, _), one in zip(waiting, features, strict=True)})
            advance(len(waiting))
            waiting.clear()

    for pair in images:
        waiting.append(pair)
        if len(waiting) == IMAGES_AT_ONCE:
            flush()
    flush()
    return found


def answer_closed(
    vlm: VLM, asks: Sequence[Ask], features: Features, *, batch_size: int, advance: Advance
) -> list[Answer]:
    """Choose each question's likeliest option; confidence is its share among the options (0-1)."""
    scores = score_options(vlm, asks, features, batch_size=batch_size, advance=advance)
    return [_choose(ask, row) for ask, row in zip(asks, scores, strict=True)]


def _choose(ask: Ask, scores: np.ndarray) -> Answer:
    best = int(np.argmax(scores))
    weights = np.exp(scores - scores.max())
    shares = tuple(float(share) for share in weights / weights.sum())
    return Answer(ask.options[best], choice=best, confidence=shares[best], shares=shares)


def score_options(
    vlm: VLM, asks: Sequence[Ask], features: Features, *, batch_size: int, advance: Advance
) -> list[np.ndarray]:
    """Return for each question the log-probability of each option, end mark included."""
    prompts = [closed_prompt(vlm, number, ask, features) for number, ask in enumerate(asks)]
    sums = [np.zeros(len(ask.options)) for ask in asks]
    trees = make_trees(prompts)
    for start in range(0, len(trees), batch_size):
        batch = trees[start : start + batch_size]
        for tree, logprobs in zip(batch, _tree_logprobs(vlm, batch, features), strict=True):
            for target, value in zip(tree.targets, logprobs, strict=True):
                sums[target.number][target.option] += value
        advance(len({target.number for tree in batch for target in tree.targets}))
    return sums


def measure_references(vlm: VLM, asks: Sequence[Ask], features: Features, *, batch_size: int) -> list[Answer]:
    """Measure how likely each question's one option (the reference) is; nothing is chosen or generated."""
    prompts = [closed_prompt(vlm, number, ask, features) for number, ask in enumerate(asks)]
    sums, trees = np.zeros(len(asks)), make_trees(prompts)
    for start in range(0, len(trees), batch_size):
        batch = trees[start : start + batch_size]
        for tree, logprobs in zip(batch, _tree_logprobs(vlm, batch, features), strict=True):
            for target, value in zip(tree.targets, logprobs, strict=True):
                sums[target.number] += value
    lengths = [len(prompt.options[0]) for prompt in prompts]
    return [
        Answer("", log_probability=float(total / length), num_tokens=length)
        for total, length in zip(sums, lengths, strict=True)
    ]


def prompt_of(vlm: VLM, ask: Ask, features: Features) -> list[int]:
    """Tokenise a question, with as many image tokens as its images' features."""
    return vlm.prompt_ids(ask.prompt, len(ask.images), tokens=[len(features[name]) for name in ask.images])


def closed_prompt(vlm: VLM, number: int, ask: Ask, features: Features) -> ClosedPrompt:
    """Tokenise a question and its options as training did: an answer is its text and the end mark."""
    options = tuple(
        tuple(vlm.tokenizer.encode(option + TURN_END, add_special_tokens=False)) for option in ask.options
    )
    prompt = tuple(prompt_of(vlm, ask, features))
    image_token = vlm.model.config.image_token_index
    head = max((place + 1 for place, token in enumerate(prompt) if token == image_token), default=0)
    return ClosedPrompt(number, ask.images, prompt, options, head)


def _tree_logprobs(vlm: VLM, trees: Sequence[Tree], features: Features) -> list[list[float]]:
    hidden_BLD = _hidden_states(vlm, trees, features)
    rows = [row for row, tree in enumerate(trees) for _ in tree.targets]
    places = [target.place for tree in trees for target in tree.targets]
    tokens = torch.tensor([target.token for tree in trees for target in tree.targets])
    logits = vlm.model.lm_head(hidden_BLD[rows, places]).float()
    chosen = logits.log_softmax(-1).gather(1, tokens[:, None].to(logits.device))[:, 0].tolist()
    ends = np.cumsum([len(tree.targets) for tree in trees])
    return [chosen[end - len(tree.targets) : end] for tree, end in zip(trees, ends, strict=True)]


def _hidden_states(vlm: VLM, trees: Sequence[Tree], features: Features) -> torch.Tensor:
    longest, device = max(len(tree) for tree in trees), vlm.model.device
    ids = torch.full((len(trees), longest), vlm.tokenizer.pad_token_id or 0)
    positions = torch.zeros((len(trees), longest), dtype=torch.long)
    visible = torch.eye(longest, dtype=torch.bool).repeat(len(trees), 1, 1)  # a row of padding sees itself
    for row, tree in enumerate(trees):
        ids[row, : len(tree)] = torch.tensor(tree.ids)
        positions[row, : len(tree)] = torch.tensor(tree.positions)
        visible[row, : len(tree), : len(tree)] = torch.from_numpy(tree.visible())
    embeddings = vlm.embed(ids.to(device), _stack(features, [tree.images for tree in trees], device))
    bias = torch.zeros(visible.shape, dtype=torch.bfloat16).masked_fill(~visible, torch.finfo(torch.bfloat16).min)
    return vlm.model.model.language_model(
        inputs_embeds=embeddings,
        attention_mask=bias[:, None].to(device, embeddings.dtype),
        position_ids=positions.to(device),
        use_cache=False,
    ).last_hidden_state


def _stack(features: Features, images: Sequence[tuple[str, ...]], device: torch.device) -> torch.Tensor | None:
    chosen = [features[name] for row in images for name in row]
    return torch.cat(chosen).to(device) if chosen else None


def generate_texts(
    vlm: VLM, asks: Sequence[Ask], features: Features, *, max_new_tokens: int, batch_size: int, advance: Advance
) -> list[Answer]:
    """Answer in words, greedily, prompts of like length together."""
    prompts = [prompt_of(vlm, ask, features) for ask in asks]
    order = sorted(range(len(asks)), key=lambda index: -len(prompts[index]))
    answers: dict[int, Answer] = {}
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        images = [asks[index].images for index in chosen]
        texts = _generate(vlm, [prompts[index] for index in chosen], images, features, max_new_tokens)
        answers.update({index: Answer(text) for index, text in zip(chosen, texts, strict=True)})
        advance(len(chosen))
    return [answers[index] for index in range(len(asks))]


def _generate(
    vlm: VLM,
    prompts: Sequence[Sequence[int]],
    images: Sequence[tuple[str, ...]],
    features: Features,
    max_new_tokens: int,
) -> list[str]:
    longest, device, tokenizer = max(map(len, prompts)), vlm.model.device, vlm.tokenizer
    end = tokenizer.convert_tokens_to_ids(TURN_END)
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else end
    ids = torch.full((len(prompts), longest), padding)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)  # left, so that every row ends where it goes on
        mask[row, longest - len(prompt) :] = 1
    output = vlm.model.generate(
        inputs_embeds=vlm.embed(ids.to(device), _stack(features, images, device)),
        attention_mask=mask.to(device),
        max_new_tokens=max_new_tokens,
        do_sample=False,
        eos_token_id=end,
        pad_token_id=padding,
    )
    return [tokenizer.decode(row, skip_special_tokens=True).strip() for row in output]
