import math

import pytest
import torch

from components.errors import CheckpointError
from components.training.state_file import TENSORS, read_state, write_state


def test_a_state_comes_back_in_the_same_containers(tmp_path):
    state = {
        "optimizer_states": [{"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.arange(4.0)}},
                              "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999), "params": [0]}]}],
        "flags": [True, 2, -0.1, "text", None], "empty": {}, "whole": {7: "seven", "7": "text seven"},
        "huge": math.inf,
    }  # fmt: skip
    write_state(state, tmp_path)
    again = read_state(tmp_path)
    assert str(again) == str(state)
    assert isinstance(again["optimizer_states"][0]["param_groups"][0]["betas"], tuple)


def test_floats_and_every_dtype_are_exact(tmp_path):
    kinds = (torch.float32, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool)
    state = {str(kind): torch.rand(3, 2).mul(9).to(kind).T for kind in kinds} | {"third": 1 / 3}
    write_state(state, tmp_path)
    again = read_state(tmp_path)
    assert again["third"] == 1 / 3
    assert all(
        torch.equal(again[str(kind)], state[str(kind)]) and again[str(kind)].dtype == kind for kind in kinds
    )


def test_tied_weights_are_written_once(tmp_path):
    weight = torch.rand(1000)
    write_state({"embed": weight, "head": weight, "other": torch.rand(1000)}, tmp_path)
    assert (tmp_path / TENSORS).stat().st_size < 2.5 * 4000
    assert torch.equal(read_state(tmp_path)["head"], weight)


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", {(1, 2): 3}])
def test_what_cannot_be_written_plainly_is_refused_by_its_place(value, tmp_path):
    with pytest.raises(CheckpointError, match="cannot be written") as error:
        write_state({"outer": [{"inner": value}]}, tmp_path)
    assert "outer[0].inner" in error.value.where.replace("state.", "", 1)
