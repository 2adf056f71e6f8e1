"""Packed scores equal scores computed one option at a time; batches change nothing; images are read."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from components.evaluation.engine import (
    Ask,
    answer_closed,
    encode_images,
    generate_texts,
    inference,
    score_options,
)
from components.model.chat import TURN_END

ASKS = [
    Ask(("a",), "<image>\nWhich plane?", ("axial", "coronal", "sagittal")),
    Ask(("a",), "<image>\nIs there a lung?", ("yes", "no")),
    Ask(("b",), "<image>\nIs there a lung?", ("no", "yes")),
    Ask(("a", "b"), "<image>\n<image>\nThe same?", ("yes", "no")),
]


def picture(shade: int) -> Image.Image:
    noise = np.random.default_rng(shade).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    return Image.fromarray(noise)


@pytest.fixture(scope="module")
def features(vlm):
    with torch.no_grad():
        encoded = vlm.encode_images([picture(1), picture(2)])
    return {"a": encoded[0], "b": encoded[1]}


def alone(vlm, ask: Ask, option: str, features) -> float:
    """The mean log-probability of an option by a plain forward pass over prompt and option."""
    prompt = vlm.prompt_ids(ask.prompt, len(ask.images))
    answer = vlm.tokenizer.encode(option + TURN_END, add_special_tokens=False)
    ids = torch.tensor([[*prompt, *answer]])
    embeddings = vlm.embed(ids, torch.stack([features[name] for name in ask.images]))
    logits = vlm.model(inputs_embeds=embeddings).logits[0, len(prompt) - 1 : -1]
    return float(logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None]).sum())


@torch.no_grad()
@pytest.mark.parametrize("batch_size", [1, 3])
def test_packed_scores_equal_scores_alone(vlm, features, batch_size: int) -> None:
    steps: list[int] = []
    found = score_options(vlm, ASKS, features, batch_size=batch_size, advance=steps.append)
    for ask, scores in zip(ASKS, found, strict=True):
        # the mask is written in bfloat16's smallest number, so float32 agrees to rounding
        assert scores == pytest.approx([alone(vlm, ask, option, features) for option in ask.options], abs=2e-5)
    assert sum(steps) == len(ASKS)


@torch.no_grad()
def test_the_likeliest_option_is_chosen(vlm, features) -> None:
    scores = score_options(vlm, ASKS, features, batch_size=4, advance=lambda _: None)
    answers = answer_closed(vlm, ASKS, features, batch_size=4, advance=lambda _: None)
    for ask, row, answer in zip(ASKS, scores, answers, strict=True):
        assert answer.choice == int(np.argmax(row)) and answer.text == ask.options[answer.choice]
        assert 1 / len(ask.options) <= answer.confidence <= 1.0


@torch.no_grad()
def test_another_image_gives_other_scores(vlm, features) -> None:
    swapped = {"a": features["b"], "b": features["a"]}
    own, other = (
        score_options(vlm, ASKS[:1], part, batch_size=1, advance=lambda _: None) for part in (features, swapped)
    )
    assert np.abs(own[0] - other[0]).max() > 1e-6


@torch.no_grad()
def test_batched_generation_equals_one_at_a_time(vlm, features) -> None:
    asks = [Ask(("a",), "<image>\nDescribe."), Ask(("b",), "<image>\nDescribe the image in many words.")]
    together = generate_texts(vlm, asks, features, max_new_tokens=6, batch_size=2, advance=lambda _: None)
    for ask, answer in zip(asks, together, strict=True):
        single = generate_texts(vlm, [ask], features, max_new_tokens=6, batch_size=1, advance=lambda _: None)
        assert single == [answer]
    assert together[0].text == vlm.answer(picture(1), asks[0].prompt, max_new_tokens=6)


def test_images_are_encoded_once_in_batches(vlm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.evaluation.engine.IMAGES_AT_ONCE", 2)
    steps: list[int] = []
    with inference():
        found = encode_images(
            vlm, ((name, picture(index)) for index, name in enumerate("abc")), advance=steps.append
        )
    assert steps == [2, 1] and list(found) == ["a", "b", "c"]
    assert found["a"].shape == (vlm.image_tokens, vlm.model.config.text_config.hidden_size)
    assert not found["a"].requires_grad
