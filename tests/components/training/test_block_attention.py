"""Kernels that skip what is not seen, against the dense path: losses and gradients, on a CPU.

torch refuses FlexAttention's backward pass on a CPU; the uncompiled kernel has one all the same, so the refusal is
taken away here. flash-attn has no CPU kernel: a plain one stands in its place behind transformers' own call of it.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from components.errors import ConfigError
from components.model import block_attention
from components.model.block_attention import (
    KERNELS,
    attend_densely,
    attend_in_blocks,
    block_mask,
    check_kernel,
    documents,
)
from components.model.packing import make_segments, pack_segments
from components.model.vision import num_image_tokens
from components.model.vlm import compose_vlm
from components.settings import Speed
from components.training.datamodule import Collator, masks_of, places_of
from components.training.launch import run_train
from components.training.module import StageModule, pack_losses
from drills.kill_training import STAGE, make_packs, tiny_settings
from tests.components.training.conftest import conversations
from tests.components.training.test_module import stage
from tests.fakes.models import family_name, tiny_language, tiny_model

NOWHERE = Path("unused")
LANGUAGES = [
    tiny_model(language=tiny_language(family=family, tie_embeddings=tied))
    for family, tied in (
        ("llama", True), ("llama", False), ("qwen2", True), ("qwen3", False), ("internlm3", False),
        ("smollm3", True),
    )
]  # fmt: skip
ALL = ("projector", "vision", "language")


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def uncompiled(monkeypatch):
    from torch.nn.attention import flex_attention as flex
    from transformers.integrations import flex_attention as theirs

    monkeypatch.setattr(flex, "_validate_device", lambda *_: None)

    def eager(*tensors, training, **options):
        assert options["block_mask"] is not None
        return flex.flex_attention(*tensors, **options)

    monkeypatch.setattr(theirs, "compile_friendly_flex_attention", eager)


def packs_of(model, processor, *, shared: bool):
    """Two packs of unequal length: three images with four questions each behind one encoding, or one each."""
    rows = conversations(processor, image_tokens=num_image_tokens(model.vision))
    segments = []
    for image in range(3):
        named = [
            (f"{image}-{number}", row) for number, row in enumerate(rows if shared else rows[image : image + 1])
        ]
        segments += list(make_segments(named, [image], max_length=900))
    return [*pack_segments(segments[:2], max_length=1800), *pack_segments(segments[2:], max_length=1800)]


def run(model, processor, packs, how: str, **speed) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), dtype=np.uint8)
    collate = Collator(pixels, processor.image_processor, pad_id=0, masked=how not in KERNELS)
    batch = collate([(str(number), pack) for number, pack in enumerate(packs)])
    assert (batch.visible is None) == (how in KERNELS) == (batch.places is not None)
    vlm = compose_vlm(model, NOWHERE, seed=2)
    row, chosen = stage(trains=ALL), Speed(attention=how, **speed)
    module = StageModule(vlm, row, name="t", steps=1, log=lambda *_: None, speed=chosen)
    losses = pack_losses(vlm, batch, image_features=module.image_features(batch))
    losses.mean().backward()
    return losses.detach(), {n: p.grad for n, p in vlm.named_parameters() if p.grad is not None}


def assert_same(ours, theirs):
    torch.testing.assert_close(ours[0], theirs[0], rtol=0, atol=1e-5)
    assert ours[1].keys() == theirs[1].keys() and len(ours[1]) > 20
    for name, gradient in theirs[1].items():
        torch.testing.assert_close(ours[1][name], gradient, rtol=0, atol=1e-5, msg=name)


@pytest.mark.parametrize("model", LANGUAGES, ids=family_name)
def test_flex_attention_has_the_losses_and_gradients_of_the_dense_path(model, processor, uncompiled):
    packs = packs_of(model, processor, shared=True)
    assert max(int(pack.branches.max()) for pack in packs) == 4 and len(packs[0]) != len(packs[1])
    assert_same(run(model, processor, packs, "flex"), run(model, processor, packs, "fused"))


def test_activations_computed_again_do_not_change_flex_attention(processor, uncompiled):
    packs = packs_of(LANGUAGES[0], processor, shared=True)
    again = run(LANGUAGES[0], processor, packs, "flex", activation_checkpointing=True)
    assert_same(again, run(LANGUAGES[0], processor, packs, "fused"))


@pytest.mark.slow
def test_compiled_flex_attention_has_the_losses_of_the_dense_path(processor):
    model = LANGUAGES[0]
    vlm, packs = compose_vlm(model, NOWHERE, seed=2).eval(), packs_of(model, processor, shared=True)
    pixels = np.zeros((3, 32, 32, 3), np.uint8)
    found = []
    for how in ("fused", "flex"):
        batch = Collator(pixels, processor.image_processor, pad_id=0, masked=how != "flex")([("p", packs[0])])
        attend_in_blocks(vlm, how)
        module = StageModule(vlm, stage(), name="t", steps=1, log=lambda *_: None, speed=Speed(attention=how))
        with torch.no_grad():
            found.append(pack_losses(vlm, batch, image_features=module.image_features(batch)))
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-5)


class Drawn:
    """What the layout of a pack is read from."""

    def __init__(self, branches_of_segments) -> None:
        rows = [(s, b, n) for s, branches in enumerate(branches_of_segments) for b, n in enumerate(branches)]
        self.segments = np.concatenate([np.full(n, s, np.int16) for s, _, n in rows])
        self.branches = np.concatenate([np.full(n, b, np.int16) for _, b, n in rows])

    def __len__(self) -> int:
        return len(self.segments)


LAYOUT = st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=4), min_size=1, max_size=4).map(Drawn)


@settings(max_examples=25, deadline=None)
@given(packs=st.lists(LAYOUT, min_size=1, max_size=3), padding=st.integers(0, 5))
def test_the_block_mask_is_the_dense_mask(packs, padding):
    from torch.nn.attention.flex_attention import create_mask

    length = max(map(len, packs)) + padding
    mask = block_mask(*places_of(packs, length))
    dense = create_mask(mask.mask_mod, len(packs), 1, length, length, device="cpu")
    assert torch.equal(dense, masks_of(packs, length)) and mask.shape == (len(packs), 1, length, length)


def by_document(q, k, v, *, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, softmax_scale, causal):
    """Stand in for flash_attn_varlen_func: attention in each document of (T, H, D), by its lengths."""
    bounds = cu_seqlens_q.tolist()
    assert torch.equal(cu_seqlens_q, cu_seqlens_k) and bounds[-1] == len(q) and causal
    assert max_seqlen_q == max_seqlen_k == max(b - a for a, b in zip(bounds, bounds[1:], strict=False))
    parts = [
        functional.scaled_dot_product_attention(
            *(tensor[a:b].transpose(0, 1).unsqueeze(0) for tensor in (q, k, v)), is_causal=True,
            scale=softmax_scale, enable_gqa=True,
        )
        for a, b in zip(bounds, bounds[1:], strict=False)
    ]  # fmt: skip
    return torch.cat([part.squeeze(0).transpose(0, 1) for part in parts])


@pytest.fixture
def without_flash_attn(monkeypatch):
    """transformers' own way into flash-attn, with that function at its end."""
    from transformers import AttentionInterface
    from transformers import modeling_flash_attention_utils as theirs
    from transformers.integrations.flash_attention import flash_attention_forward
    from transformers.masking_utils import AttentionMaskInterface, flash_attention_mask

    monkeypatch.setitem(block_attention.KERNELS, "varlen", "by_document")
    AttentionInterface.register("by_document", flash_attention_forward)
    AttentionMaskInterface.register("by_document", flash_attention_mask)
    functions = (None, by_document, None, None, None)
    arguments = theirs._lazy_define_process_function(by_document)
    monkeypatch.setattr(theirs, "lazy_import_flash_attention", lambda _: (functions, (arguments, None)))


@pytest.mark.parametrize("model", LANGUAGES, ids=family_name)
def test_lengths_of_documents_have_the_losses_and_gradients_of_the_dense_path(
    model, processor, without_flash_attn
):
    packs = packs_of(model, processor, shared=False)
    assert_same(run(model, processor, packs, "varlen"), run(model, processor, packs, "fused"))
    with pytest.raises(ConfigError, match="up to 4 conversations share") as error:
        run(model, processor, packs_of(model, processor, shared=True), "varlen")
    assert error.value.fix == "training.speed.attention=flex"


def test_documents_are_segments_and_the_padding_of_a_row_is_one():
    segments = torch.tensor([[0, 0, 1, 1, 1], [0, 0, 0, -4, -5]])
    branches = torch.tensor([[0, 1, 0, 1, 1], [1, 1, 1, 0, 0]])
    found = documents(segments, branches)
    assert found["cu_seq_lens_q"].tolist() == [0, 2, 5, 8, 10] and found["cu_seq_lens_q"].dtype == torch.int32
    assert found["max_length_k"] == 3


def test_a_kernel_of_cuda_is_taken_off_again(vlm):
    attend_in_blocks(vlm, "flex")
    assert vlm.model.language_model.config._attn_implementation == "flex_attention"
    assert vlm.model.vision_tower.config._attn_implementation == "sdpa"
    attend_densely(vlm)
    assert vlm.model.language_model.config._attn_implementation == "sdpa"
    attend_in_blocks(vlm, "fused")
    assert vlm.model.language_model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize(
    ("how", "run", "said", "fix"),
    [
        ("flex", ("cpu", True, "bf16-mixed"), "a CUDA device alone", "training.speed.attention=fused"),
        ("flex", ("auto", False, "bf16-mixed"), "a CUDA device alone", "training.speed.attention=fused"),
        ("varlen", ("cuda", True, "bf16-mixed"), "flash-attn, which is not installed", "pip install flash-attn"),
    ],
)
def test_what_a_kernel_lacks_is_named(how, run, said, fix, monkeypatch):
    accelerator, cuda, precision = run
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(block_attention.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=said) as error:
        check_kernel(how, accelerator=accelerator, precision=precision)
    assert fix in error.value.fix and error.value.where == "training.speed.attention"


def test_flash_attn_is_refused_in_single_precision_alone(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(block_attention.importlib.util, "find_spec", lambda _: 1)
    check_kernel("varlen", accelerator="cuda", precision="bf16-mixed")
    with pytest.raises(ConfigError, match="half precision alone") as error:
        check_kernel("varlen", accelerator="cuda", precision="32-true")
    assert error.value.fix == "training.precision=bf16-mixed"


@pytest.mark.parametrize("how", ["fused", "matrix_products"])
def test_the_other_kernels_ask_for_nothing(how):
    check_kernel(how, accelerator="cpu", precision="32-true")


def test_a_stage_on_a_cpu_says_at_once_that_it_cannot(tracked):
    chosen = tiny_settings(steps=2, every=0, workers=0, speed={"attention": "flex"})
    with pytest.raises(ConfigError, match="a CUDA device alone"):
        run_train(chosen.model_copy(update={"tracking": tracked.tracking}), STAGE)


def test_a_stage_of_shared_prefixes_is_refused_before_its_first_step(tracked, monkeypatch):
    from components.training import launch

    chosen = tiny_settings(steps=2, every=0, workers=0, speed={"attention": "varlen"})
    chosen = chosen.model_copy(update={"tracking": tracked.tracking})
    make_packs(chosen)
    monkeypatch.setattr(launch, "check_kernel", lambda *_, **__: None)
    monkeypatch.setattr(launch, "StageModule", lambda *_, **__: pytest.fail("a module was made"))
    with pytest.raises(ConfigError, match="conversations share an image's encoding"):
        run_train(chosen, STAGE)
