"""The profile of a training step: operations fall into their classes, and its peer has the step's own shapes."""

import pytest
import torch
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks.training_profile import OTHER, class_of, product_shapes, products_rate, shares
from components.model.packed_weights import Packed, is_packable

NAMES = {
    "aten::mm": "matrix products", "aten::addmm": "matrix products", "aten::bmm": "matrix products",
    "aten::_scaled_dot_product_flash_attention_for_cpu": "attention forward",
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward": "attention backward",
    "aten::_log_softmax_backward_data": "softmax and cross-entropy",
    "aten::native_layer_norm": "normalisation and elementwise", "aten::silu": "normalisation and elementwise",
    "aten::_fused_adamw_": "optimizer", "Optimizer.step#AdamW.step": "optimizer",
    "aten::copy_": "casts and copies", "collate": "data", "aten::empty": OTHER,
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_an_operation_has_its_class(name):
    assert class_of(name) == NAMES[name]


def test_the_peer_multiplies_what_the_step_multiplied():
    layer, rows = torch.nn.Linear(8, 16), torch.randn(4, 8)
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as found:
        with record_function("collate"):
            torch.zeros(3)
        layer(rows).sum().backward()
        torch.randn(5, 2, 3) @ torch.randn(5, 3, 6)
    shapes = product_shapes(found)
    assert shapes[4, 8, 16] == 1 and shapes[2, 3, 6] == 5 and shapes[16, 4, 8] == 1
    assert products_rate(shapes, bf16=False) > 0
    share = shares(found)
    assert sum(share.values()) == pytest.approx(1, abs=0.01) and share["matrix products"] > 0 < share["data"]


def test_products_with_a_matrix_laid_out_are_multiplied_by_the_peer_too():
    packed = Packed(torch.randn(96, 64, dtype=torch.bfloat16))
    if not is_packable(torch.ones(1, dtype=torch.bfloat16)):
        pytest.skip("this build of torch lays no matrix out")
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as found:
        packed.back(packed.forward(torch.randn(2, 10, 64, dtype=torch.bfloat16)))
    assert product_shapes(found) == {(20, 64, 96): 1, (20, 96, 64): 1}
