"""The forecast against torch's own counter and against the memory a run really takes."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from components.model.vlm import compose_vlm, train_only
from components.settings import Speed
from components.training.datamodule import IGNORE, Batch
from components.training.forecast import PackFacts, memory_bytes, pack_flops, shape_of, trainable
from components.training.module import StageModule
from tests.components.training.test_module import stage
from tests.fakes.models import SHUFFLED, family_name, tiny_language, tiny_model, tiny_vision

ROOT = Path(__file__).parents[3]
STAGES = [("projector",), ("projector", "vision"), ("projector", "vision", "language")]
MODELS = [
    tiny_model(),
    tiny_model(vision=tiny_vision(family="clip", feature_layer=-2, layers=3), language=tiny_language(layers=3)),
    tiny_model(vision=tiny_vision(family="dinov2"), language=tiny_language(family="qwen2", tie_embeddings=False)),
    *SHUFFLED,
]


def batch_of(vlm, facts, *, micro_batch=1):
    size = vlm.config.vision_config.image_size
    length, images = int(facts.tokens), int(facts.images)
    ids = torch.full((micro_batch, length), 5)
    ids[:, : images * vlm.config.image_seq_length] = vlm.config.image_token_index
    labels = torch.full((micro_batch, length), IGNORE)
    labels[:, -int(facts.supervised) :] = 7
    return Batch(
        ids=ids, positions=torch.arange(length).expand(micro_batch, length), labels=labels,
        visible=torch.ones(micro_batch, 1, length, length, dtype=torch.bool).tril(),
        pixels=torch.rand(images * micro_batch, 3, size, size), images=torch.arange(images * micro_batch),
        pack_ids=("p",) * micro_batch,
    )  # fmt: skip


def loss_of(vlm, trains, batch):
    module = StageModule(vlm, stage(trains=trains), name="t", steps=1, log=lambda *_: None)
    return module.losses_of(batch)[0].mean()


@pytest.mark.parametrize("model", MODELS, ids=family_name)
@pytest.mark.parametrize("trains", STAGES, ids=len)
def test_operations_are_those_torch_counts(model, trains):
    vlm, facts = (
        compose_vlm(model, "unused", seed=0).train(),
        PackFacts(packs=1, tokens=90, supervised=21, images=3),
    )
    vlm.set_attn_implementation("eager")  # the counter does not know the CPU's fused attention
    with FlopCounterMode(display=False) as counter:
        loss_of(vlm, trains, batch_of(vlm, facts)).backward()
    forecast = pack_flops(shape_of(vlm), facts, trains=trains)
    assert forecast == pytest.approx(counter.get_total_flops(), rel=0.03)


@pytest.mark.parametrize("trains", STAGES, ids=len)
def test_operations_computed_again_are_those_torch_counts(trains):
    vlm, facts = compose_vlm(MODELS[1], "unused", seed=0).train(), PackFacts(1, tokens=90, supervised=21, images=3)
    vlm.set_attn_implementation("eager")
    speed = Speed(activation_checkpointing=True)
    module = StageModule(vlm, stage(trains=trains), name="t", steps=1, log=lambda *_: None, speed=speed)
    with FlopCounterMode(display=False) as counter:
        module.losses_of(batch_of(vlm, facts))[0].mean().backward()
    shape = shape_of(vlm)
    once, again = (pack_flops(shape, facts, trains=trains, again=choice) for choice in (False, True))
    assert again == pytest.approx(counter.get_total_flops(), rel=0.03) and again > 1.2 * once


@pytest.mark.parametrize("trains", STAGES, ids=len)
@pytest.mark.parametrize("model", MODELS, ids=family_name)
def test_what_learns_is_what_gets_a_gradient(model, trains):
    vlm, facts = compose_vlm(model, "unused", seed=0).train(), PackFacts(1, tokens=90, supervised=21, images=3)
    loss_of(vlm, trains, batch_of(vlm, facts)).backward()
    found = sum(p.numel() for p in vlm.parameters() if p.grad is not None)
    assert trainable(shape_of(vlm), trains) == found


def test_a_pooling_head_and_what_lies_behind_the_projected_layer_do_not_learn():
    """A pretrained SigLIP 2 has a pooling head, and LLaVA may project any layer of it."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration, SiglipVisionConfig

    vlm = compose_vlm(tiny_model(vision=tiny_vision(layers=3, feature_layer=-2)), "unused", seed=0)
    values = vlm.config.to_dict()
    vision = SiglipVisionConfig(**{**values.pop("vision_config"), "vision_use_head": True})
    headed = LlavaForConditionalGeneration(LlavaConfig(**values, vision_config=vision)).train()
    assert any(".head." in name for name, _ in headed.named_parameters())
    loss_of(headed, STAGES[1], batch_of(headed, PackFacts(1, tokens=90, supervised=21, images=3))).backward()
    found = sum(p.numel() for p in headed.parameters() if p.grad is not None)
    shape = shape_of(headed)
    assert trainable(shape, STAGES[1]) == found < shape.parts["vision"] + shape.parts["projector"]


LARGER = tiny_model(
    language=tiny_language(hidden_size=256, layers=8, intermediate_size=1024, vocabulary=30000),
    vision=tiny_vision(hidden_size=128, layers=6, intermediate_size=512),
)
FACTS = PackFacts(packs=1, tokens=700, supervised=200, images=60)


@pytest.mark.slow
def test_memory_is_what_a_run_takes():
    """Measured in a fresh process a stage: the growth of its peak over two AdamW steps."""
    shape = shape_of(compose_vlm(LARGER, "unused", seed=0))
    for number, trains in enumerate(STAGES):
        command = [sys.executable, __file__, str(number)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        measured = float(done.stdout.splitlines()[-1])
        forecast = memory_bytes(shape, FACTS, trains=trains, micro_batch=2, precision="32-true")
        assert forecast == pytest.approx(measured, rel=0.35), trains


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def measured_growth(model, trains, facts) -> int:
    start = resident()
    vlm = compose_vlm(model, "unused", seed=0).train()
    train_only(vlm, trains)
    optimizer = torch.optim.AdamW([p for p in vlm.parameters() if p.requires_grad], lr=1e-5)
    batch = batch_of(vlm, facts, micro_batch=2)
    for _ in range(2):
        loss_of(vlm, trains, batch).backward()
        optimizer.step()
        optimizer.zero_grad()
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024
    return peak - start


if __name__ == "__main__":
    print(measured_growth(LARGER, STAGES[int(sys.argv[1])], FACTS))
