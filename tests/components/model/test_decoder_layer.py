"""A layer written out computes what transformers' does, both ways, and leaves alone what it is not made for."""

from functools import partial

import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from components.model.decoder_layer import MOST_TOKENS, fits, written_out

FAMILIES = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),  # biases of query, key and value
    "mistral": (MistralConfig, MistralForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),  # norms of query and key: not of this form
}
SIZES = {
    "vocab_size": 99, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 6,
    "num_key_value_heads": 2, "head_dim": 8,
}  # fmt: skip
LENGTH = 20


def language_model(family, **changes):
    config, kind = FAMILIES[family]
    torch.manual_seed(0)
    model = kind(config(**SIZES | changes)).train()
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, float("norm" in name), 0.3)
    return model


def causal(length=LENGTH):
    seen = torch.ones(length, length).tril().bool()
    seen[12:, 3:9] = False  # two branches behind a prefix
    return torch.zeros(2, 1, length, length).masked_fill(~seen, torch.finfo(torch.float32).min)


def step(model, *, autocast=False, length=LENGTH, **how):
    """Return what the model gives, and the gradients of its input and of each parameter that learns."""
    model.zero_grad()
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(2, length, 48, generator=generator).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        hidden = model.model(inputs_embeds=inputs, attention_mask=causal(length), use_cache=False, **how)[0]
    (hidden.float() * torch.linspace(-1, 1, 48)).sum().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return {"hidden": hidden.detach().float(), "inputs": inputs.grad, **gradients}


def distance(one, other):
    return max(float((one[name] - other[name]).norm() / one[name].norm()) for name in one)


@pytest.mark.parametrize("learns", [True, False], ids=["learning", "frozen"])
@pytest.mark.parametrize("family", ["llama", "qwen2", "mistral"])
def test_a_layer_written_out_gives_the_same_values_and_gradients(family, learns):
    model = language_model(family).requires_grad_(learns)
    plain = step(model)
    with written_out(model.model) as count:
        ours = step(model)
    assert count == 2 and ours.keys() == plain.keys() and (len(plain) > 2) == learns
    assert distance(plain, ours) < 1e-5


@pytest.mark.parametrize("learns", [True, False], ids=["learning", "frozen"])
def test_under_autocast_it_is_no_further_from_the_exact_values_than_the_modules_are(learns):
    model = language_model("llama").requires_grad_(learns)
    exact, plain = step(model), step(model, autocast=True)
    with written_out(model.model):
        ours = step(model, autocast=True)
    assert distance(exact, ours) < 1.5 * distance(exact, plain) < 0.1


def test_a_part_that_learns_alone_gets_its_gradient_and_the_others_none():
    model = language_model("llama").requires_grad_(False)
    chosen = "model.layers.0.self_attn.v_proj.weight"
    model.get_parameter(chosen).requires_grad_()
    plain = step(model)
    with written_out(model.model):
        ours = step(model)
    assert set(ours) == {"hidden", "inputs", chosen} and distance(plain, ours) < 1e-5


def test_frozen_weights_that_learn_later_are_read_again():
    model = language_model("llama").requires_grad_(False)
    with written_out(model.model):
        before = step(model)
        model.requires_grad_(True)
        with torch.no_grad():
            model.model.layers[0].mlp.up_proj.weight.mul_(2)
        after = step(model)
    assert distance({"hidden": before["hidden"]}, {"hidden": after["hidden"]}) > 1e-3
    assert distance(step(model), after) < 1e-5


def test_activations_computed_again_give_the_same():
    model = language_model("llama")
    plain = step(model)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    with written_out(model.model):
        assert distance(plain, step(model)) < 1e-5


def test_layers_of_another_form_stay_as_they_are():
    other, dropping = language_model("qwen3"), language_model("llama", attention_dropout=0.1)
    half, biased = language_model("llama").bfloat16(), language_model("llama", attention_bias=True)
    for model in (other, dropping, half, biased):
        with written_out(model.model) as count:
            assert count == 0
            assert not any("forward" in vars(layer) for layer in model.model.layers)


def test_after_the_block_layers_compute_as_transformers_wrote_them():
    model = language_model("llama")
    with pytest.raises(ZeroDivisionError), written_out(model.model):
        assert not fits(model.model.layers[0])  # it is written out already
        raise ZeroDivisionError
    assert all(fits(layer) and "forward" not in vars(layer) for layer in model.model.layers)


def test_calls_it_is_not_made_for_go_the_plain_way(monkeypatch):
    model = language_model("llama").eval()
    ids = torch.arange(9).unsqueeze(0)
    plain, cached = model(input_ids=ids, use_cache=False).logits, partial(model, input_ids=ids, use_cache=True)
    cached_plain = cached().logits
    long = step(model, length=40)
    monkeypatch.setattr("components.model.decoder_layer.MOST_TOKENS", 32)
    monkeypatch.setattr("components.model.decoder_layer._AttentionHalf.apply", None)  # any use of it fails
    with written_out(model.model):
        assert torch.equal(model(input_ids=ids, use_cache=False).logits, plain)
        assert torch.equal(cached().logits, cached_plain)
        assert distance(long, step(model, length=40)) == 0.0
    assert MOST_TOKENS >= 256  # the default preset's rows
