"""Four-bit weights under adapters: what is missing is named, and the stage ends in a plain checkpoint."""

import importlib.util

import pytest
import torch

from components.errors import ConfigError
from components.model.vlm import compose_vlm
from components.settings import Adapter
from components.training import adapters
from components.training.module import StageModule
from tests.components.training.test_module import stage
from tests.fakes.models import tiny_language, tiny_model

QLORA = Adapter(rank=2, alpha=4.0, layers=("q_proj", "down_proj"), four_bit=True)
ROW = stage(trains=("projector", "language"), adapters={"language": QLORA})


@pytest.fixture(params=["llama", "qwen2"])  # qwen2's projections have biases
def wide(request):
    """NF4 rounds blocks of 64 values: a width that holds whole blocks."""
    language = tiny_language(family=request.param, hidden_size=64, intermediate_size=128)
    return compose_vlm(tiny_model(language=language), "unused", seed=2)


@pytest.mark.parametrize(
    ("found", "cuda", "missing"),
    [(None, True, "bitsandbytes, which is not installed"), (1, False, "a CUDA device")],
)
def test_what_is_missing_is_named_before_anything_is_laid(found, cuda, missing, vlm, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    names = [name for name, _ in vlm.named_parameters()]
    with pytest.raises(ConfigError, match=missing) as error:
        adapters.add_adapters(vlm, {"language": QLORA})
    assert "four_bit" in error.value.where and "false" in error.value.fix
    assert [name for name, _ in vlm.named_parameters()] == names


def test_an_adapter_rests_on_full_weights_unless_asked():
    assert Adapter(rank=2, alpha=4.0, layers=("q_proj",)).four_bit is False


def test_sharded_four_bit_weights_are_refused(vlm, monkeypatch):
    monkeypatch.setattr(StageModule, "device_mesh", property(lambda _: {"data_parallel": None}))
    module = StageModule(vlm, stage(), name="t", steps=1, log=lambda *_: None)
    module.stage = ROW
    with pytest.raises(ConfigError, match="cannot be sharded"):
        module.configure_model()


def test_a_four_bit_part_learns_through_its_adapters_and_ends_plain(wide, monkeypatch):
    """The real code path, on the CPU, where bitsandbytes is installed: rounding, gradient, merge."""
    four_bit = pytest.importorskip("bitsandbytes").nn
    monkeypatch.setattr(adapters, "check_four_bit", lambda: None)
    names = [name for name, _ in wide.named_parameters()]
    plain = {name: value.clone() for name, value in wide.state_dict().items()}
    module = StageModule(wide, ROW, name="t", steps=1, log=lambda *_: None).to("cpu")
    kinds = {name: type(layer) for name, layer in wide.named_modules()}
    assert kinds["model.language_model.layers.0.self_attn.o_proj"] is four_bit.Linear4bit
    assert kinds["lm_head"] is torch.nn.Linear and module.learning
    ids = torch.arange(12).unsqueeze(0) + 5
    wide(input_ids=ids, labels=ids).loss.backward()
    learnt = {name for name, parameter in module.named_parameters() if parameter.grad is not None}
    assert learnt == {name for name in module.learning if "projector" not in name}
    with torch.no_grad():
        for name, parameter in wide.named_parameters():
            if ".lora_B" in name:
                parameter.fill_(0.1)
        adapted = wide.eval()(input_ids=ids).logits
        adapters.merge_adapters(wide)
        merged = wide(input_ids=ids).logits
    assert [name for name, _ in wide.named_parameters()] == names
    assert torch.allclose(adapted, merged, atol=0.05)  # the adapted layers computed in bfloat16
    rounded = wide.state_dict()["model.language_model.layers.0.self_attn.o_proj.weight"]
    before = plain["model.language_model.layers.0.self_attn.o_proj.weight"]
    assert not torch.equal(rounded, before) and torch.allclose(rounded, before, atol=0.02)
