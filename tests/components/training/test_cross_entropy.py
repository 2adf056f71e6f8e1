"""The sliced cross-entropy against torch's: the same bits, whatever the number of rows."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from components.training.cross_entropy import ROWS, cross_entropy

VOCABULARY = 311


def both(rows: int, dtype: torch.dtype) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Losses and gradients of the logits: ours and torch's, weighed unequally."""
    generator = torch.Generator().manual_seed(rows)
    logits = (torch.randn(rows, VOCABULARY, generator=generator) * 4).to(dtype)
    labels = torch.randint(VOCABULARY, (rows,), generator=generator)
    weights = torch.rand(rows, generator=generator)
    sides = []
    for function in (cross_entropy, lambda x, y: functional.cross_entropy(x.float(), y, reduction="none")):
        leaf = logits.clone().requires_grad_()
        losses = function(leaf, labels)
        (losses * weights).sum().backward()
        sides.append([losses.detach(), leaf.grad])
    return sides[0], sides[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, ROWS - 1, ROWS, 2 * ROWS + 3])
def test_the_same_bits_as_torch(rows, dtype):
    ours, theirs = both(rows, dtype)
    assert torch.equal(ours[0], theirs[0])
    assert torch.equal(ours[1], theirs[1])
    assert ours[0].dtype == torch.float32
    assert ours[1].dtype == dtype


def test_nothing_to_learn_gives_no_losses_and_an_empty_gradient():
    logits = torch.zeros(0, VOCABULARY, requires_grad=True)
    losses = cross_entropy(logits, torch.zeros(0, dtype=torch.long))
    losses.sum().backward()
    assert losses.shape == (0,)
    assert logits.grad is not None
    assert logits.grad.shape == (0, VOCABULARY)


def test_a_frozen_head_gets_no_gradient():
    logits = torch.randn(3, VOCABULARY)
    assert not cross_entropy(logits, torch.tensor([1, 2, 3])).requires_grad


def test_gradients_are_those_of_finite_differences():
    """In float32, at a step and tolerance that float32 allows."""
    logits = torch.randn(4, 7, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.tensor([0, 3, 6, 3])
    cross_entropy(logits, labels).sum().backward()
    assert logits.grad is not None
    step = 1e-2
    for row, column in ((0, 0), (1, 2), (3, 3)):
        moved = torch.zeros(4, 7)
        moved[row, column] = step
        with torch.no_grad():
            up, down = (cross_entropy(logits + sign * moved, labels).sum() for sign in (1, -1))
        assert float((up - down) / (2 * step)) == pytest.approx(float(logits.grad[row, column]), abs=2e-3)
