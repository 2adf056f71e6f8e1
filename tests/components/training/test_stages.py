import pytest
import torch

from components.errors import ConfigError, TrainingError
from components.settings import Recipe
from components.training.stages import (
    check_frozen,
    check_gradients,
    check_rates,
    find_stage,
    learning_rate_factor,
    num_steps,
    part_hashes,
)

ROW = {
    "trains": ["projector"], "starts_from": "packs/start", "mixture": "m", "learning_rate": 1e-3,
    "schedule": "cosine", "warmup_ratio": 0.1, "weight_decay": 0.0, "clip": 1.0, "packs_per_step": 4,
    "epochs": 1.0, "max_steps": 0,
    "evidence": dict.fromkeys(("epochs", "warmup_ratio", "weight_decay", "max_length", "clip"), "of this test"),
}  # fmt: skip


def test_an_unknown_stage_lists_the_rows_there_are():
    recipe = Recipe(name="r", mixtures={"m": {"kinds": {"caption": 1.0}}}, stages={"first": ROW})
    with pytest.raises(ConfigError, match="no stage 'second'") as error:
        find_stage(recipe, "second")
    assert "first" in error.value.fix


@pytest.mark.parametrize(
    ("packs", "epochs", "limit", "steps"),
    [(100, 1.0, 0, 25), (101, 1.0, 0, 25), (102, 2.0, 0, 51), (100, 2.0, 30, 30), (1, 0.1, 0, 1), (10, 0.7, 0, 1)],
)
def test_steps_are_passes_over_the_packs_cut_at_the_limit(packs, epochs, limit, steps):
    assert num_steps(packs, packs_per_step=4, epochs=epochs, max_steps=limit) == steps


def test_the_learning_rate_warms_up_then_falls_to_zero():
    factors = [learning_rate_factor(s, steps=100, warmup_ratio=0.1, schedule="cosine") for s in range(101)]
    assert factors[0] == pytest.approx(0.1) and factors[9] == factors[10] == pytest.approx(1.0)
    assert factors[55] == pytest.approx(0.5) and factors[100] == pytest.approx(0.0)
    assert all(a >= b for a, b in zip(factors[10:], factors[11:], strict=False))


def test_a_constant_schedule_stays():
    assert learning_rate_factor(80, steps=100, warmup_ratio=0.1, schedule="constant") == 1.0


def test_learning_rates_must_be_the_schedules_group_by_group():
    check_rates([1e-3, 0.1 * 3], [1e-3, 0.3], step=4, stage="s")
    for found in ([1e-3, 0.31], [1e-3], [0.3, 1e-3]):
        with pytest.raises(TrainingError, match="learning rates at step 4"):
            check_rates(found, [1e-3, 0.3], step=4, stage="s")


def hashes(**values):
    return part_hashes(((name, torch.tensor([value])) for name, value in values.items()), lambda name: name[0])


def test_a_frozen_part_that_moved_is_named():
    with pytest.raises(TrainingError, match="frozen parts changed: v"):
        check_frozen(hashes(v1=1.0, p1=1.0), hashes(v1=1.5, p1=2.0), trains=["p"], stage="s")


def test_a_learning_part_that_stood_still_is_named():
    with pytest.raises(TrainingError, match="did not change: p"):
        check_frozen(hashes(v1=1.0, p1=1.0), hashes(v1=1.0, p1=1.0), trains=["p"], stage="s")


def test_a_stage_that_kept_its_contract_passes():
    check_frozen(hashes(v1=1.0, p1=1.0), hashes(v1=1.0, p1=2.0), trains=["p"], stage="s")


def test_hashes_do_not_depend_on_the_order_of_parameters():
    assert hashes(v1=1.0, v2=2.0) == hashes(v2=2.0, v1=1.0) != hashes(v1=2.0, v2=1.0)


def test_gradients_must_be_exactly_the_expected_ones():
    with_gradient, without = torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.ones(1))
    with_gradient.grad = torch.ones(1)
    rows = [("a", with_gradient), ("b", without)]
    check_gradients(rows, {"a"}, stage="s")
    with pytest.raises(TrainingError, match="got no gradient"):
        check_gradients(rows, {"a", "b"}, stage="s")
    with pytest.raises(TrainingError, match="frozen parameters got a gradient"):
        check_gradients(rows, set(), stage="s")
