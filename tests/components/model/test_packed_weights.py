"""A matrix laid out once gives the bits of torch's own products, forward and back, for any number of rows."""

import pytest
import torch
from torch.nn import functional

from components.model import packed_weights
from components.model.packed_weights import Packed, is_packable


def matrix(rows=96, width=64, dtype=torch.bfloat16):
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(0)).to(dtype)


@pytest.mark.parametrize("shape", [(1, 64), (37, 64), (1024, 64), (2, 600, 64)], ids=str)
def test_products_are_the_same_bits(shape):
    weight = matrix()
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(1)).bfloat16()
    ours, theirs = inputs.clone().requires_grad_(), inputs.clone().requires_grad_()
    found, wanted = Packed(weight)(ours), functional.linear(theirs, weight)
    assert torch.equal(found, wanted)
    gradient = torch.randn_like(found)
    found.backward(gradient)
    wanted.backward(gradient)
    assert torch.equal(ours.grad, theirs.grad)


def test_what_cannot_be_laid_out_is_multiplied_as_it_is(monkeypatch):
    exact = matrix(dtype=torch.float32)
    assert not is_packable(exact)
    rows = torch.randn(5, 64)
    assert torch.equal(Packed(exact)(rows), functional.linear(rows, exact))
    monkeypatch.setattr(packed_weights, "is_packable", lambda _: False)
    assert torch.equal(Packed(matrix())(rows.bfloat16()), functional.linear(rows.bfloat16(), matrix()))
    assert torch.equal(
        Packed(matrix()).back(torch.ones(3, 96).bfloat16()), torch.ones(3, 96).bfloat16() @ matrix()
    )


def test_a_frozen_matrix_has_no_gradient():
    weight = matrix().requires_grad_()
    Packed(weight)(torch.randn(5, 64).bfloat16().requires_grad_()).float().sum().backward()
    assert weight.grad is None
