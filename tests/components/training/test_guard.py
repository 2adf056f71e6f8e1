import math

import pytest
import torch

from components.errors import Diverged
from components.training.guard import DivergenceGuard, refuse


def check(guard, value, packs=("p",)):
    if reason := guard.reason(value):
        refuse(f"loss is {reason}", step=3, stage="s", packs=packs)
    guard.note(value)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_always_stops_and_names_the_packs(value):
    with pytest.raises(Diverged, match="at step 3") as error:
        check(DivergenceGuard(), value, packs=("p7", "p8"))
    assert error.value.packs == ("p7", "p8") and "p7, p8" in error.value.where


def test_the_pack_to_blame_is_the_one_whose_own_loss_is_refused_or_all():
    guard = DivergenceGuard(spike_factor=3.0, window=2)
    assert guard.blamed({"a": 1.0, "b": math.nan, "c": 9.0}) == ("b",)
    guard.note(1.0), guard.note(1.2)
    assert guard.blamed({"a": 1.0, "b": 8.0, "c": 9.0}) == ("b", "c")
    assert guard.blamed({"a": 3.0, "b": 3.1}) == ("a", "b")


def test_a_spike_is_judged_by_the_median_once_the_window_is_full():
    guard = DivergenceGuard(spike_factor=3.0, window=3)
    for value in (1.0, 9.0, 1.1):
        check(guard, value)
    check(guard, 3.2)
    with pytest.raises(Diverged, match="usually 3.2"):
        check(guard, 9.7)


def test_without_a_factor_no_finite_loss_is_refused():
    guard = DivergenceGuard(window=1)
    check(guard, 1e-9)
    check(guard, 1e9)
    assert torch.tensor(list(guard.recent)).tolist() == [1e9]
