"""Attention by matrix products against transformers' own, in every part of the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from components.model.attention import NAME, attend, matrix_products
from components.model.vlm import compose_vlm, load_vlm, make_processor, save_vlm, vision_features
from tests.fakes.models import tiny_language, tiny_model, tiny_vision

NOWHERE = Path("unused")
FAMILIES = [
    tiny_model(),
    tiny_model(vision=tiny_vision(family="clip", feature_layer=-2)),
    tiny_model(vision=tiny_vision(family="dinov2", feature_layer=-1), language=tiny_language(family="qwen2")),
]


class Module:
    """What an attention function reads of its module."""

    def __init__(self, groups: int) -> None:
        self.num_key_value_groups, self.is_causal, self.training = groups, False, False


def drawn(heads: int, shared: int, length: int = 7, width: int = 8) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(heads)
    shapes = ((2, heads, length, width), (2, shared, length, width), (2, shared, length, width))
    return tuple(torch.randn(*shape, generator=generator).requires_grad_() for shape in shapes)


@pytest.mark.parametrize(("heads", "shared"), [(4, 4), (6, 2), (3, 1)])
@pytest.mark.parametrize("masked", [False, True])
def test_values_and_gradients_are_those_of_the_fused_kernel(heads, shared, masked):
    mask = torch.zeros(2, 1, 7, 7).masked_fill(~torch.tril(torch.ones(7, 7, dtype=torch.bool)), -torch.inf)
    found = []
    for function in (matrix_products, sdpa_attention_forward):
        tensors = drawn(heads, shared)
        output, _ = function(Module(heads // shared), *tensors, mask if masked else None, scaling=0.3)
        output.square().sum().backward()
        found.append([output, *(tensor.grad for tensor in tensors)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("model", FAMILIES, ids=lambda m: f"{m.vision.family}-{m.language.family}")
def test_the_whole_model_gives_the_same_features_and_logits(model, tmp_path):
    vlm = compose_vlm(model, NOWHERE, seed=3).eval()
    side = vlm.config.vision_config.image_size
    pixels = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    ids = torch.arange(4, 20).reshape(2, 8)

    def run() -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            return vision_features(vlm, pixels), vlm(input_ids=ids).logits

    before = run()
    attend(vlm, NAME)
    assert vlm.model.vision_tower.config._attn_implementation == NAME
    assert vlm.model.language_model.config._attn_implementation == NAME
    for ours, theirs in zip(run(), before, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    save_vlm(vlm, make_processor(model, NOWHERE), tmp_path / "saved")
    assert load_vlm(tmp_path / "saved").model.config._attn_implementation != NAME


def test_another_choice_leaves_the_model_alone(model_settings):
    vlm = compose_vlm(model_settings, NOWHERE, seed=3)
    before = vlm.model.language_model.config._attn_implementation
    attend(vlm, "fused")
    assert vlm.model.language_model.config._attn_implementation == before


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_gradients_are_the_slopes_of_the_values(dropout):
    mask = torch.zeros(1, 1, 7, 7).masked_fill(~torch.tril(torch.ones(7, 7, dtype=torch.bool)), -torch.inf)
    module = Module(2)
    module.training = True

    def attend_once(*tensors: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(0)  # the same places are dropped each time
        return matrix_products(module, *tensors, mask, dropout=dropout)[0]

    doubles = tuple(tensor.detach().double().requires_grad_() for tensor in drawn(4, 2))
    assert torch.autograd.gradcheck(attend_once, doubles)
    module.training = False
    whole = attend_once(*doubles)
    module.training = True
    assert torch.equal(whole, attend_once(*doubles)) == (dropout == 0.0)


def test_under_autocast_it_is_as_near_to_the_exact_values_as_the_fused_kernel():
    tensors = drawn(6, 2, length=64, width=32)
    mask = torch.zeros(2, 1, 64, 64).masked_fill(~torch.tril(torch.ones(64, 64, dtype=torch.bool)), -torch.inf)

    def run(function: Any, autocast: bool) -> list[torch.Tensor]:
        for tensor in tensors:
            tensor.grad = None
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            output, _ = function(Module(3), *tensors, mask, scaling=0.2)
        output.float().square().sum().backward()
        return [output.float(), *(tensor.grad for tensor in tensors)]

    exact = run(sdpa_attention_forward, False)
    ours, theirs = run(matrix_products, True), run(sdpa_attention_forward, True)
    for one, other, true in zip(ours, theirs, exact, strict=True):
        assert (one - true).norm() < max(2 * (other - true).norm(), 0.01 * true.norm())
