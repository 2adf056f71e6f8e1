"""An optimiser's state by parameter name, the one form that every strategy writes and reads.

torch numbers parameters in the order of their groups; FSDP2 calls them by name. Names stay what they are under any
strategy and number of ranks, so a stage can go on under another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.errors import CheckpointError


def by_name(state: Mapping[str, Any], groups: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return a numbered state by name; `groups` are the names of each parameter group, in torch's order."""
    numbered = [number for group in state["param_groups"] for number in group["params"]]
    names = dict(zip(numbered, (name for group in groups for name in group), strict=True))
    return {
        "state": {names[number]: value for number, value in state["state"].items()},
        "param_groups": [
            {**group, "params": [names[number] for number in group["params"]]} for group in state["param_groups"]
        ],
    }


def by_number(state: Mapping[str, Any], groups: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return a state by name as torch numbers it; CheckpointError when its groups are not these."""
    found = [sorted(group["params"]) for group in state["param_groups"]]
    if found != [sorted(group) for group in groups]:
        raise CheckpointError(
            "the optimiser's state is that of other parameters", where="checkpoint, optimizer_states",
            fix="remove the checkpoint to start the stage anew",
        )  # fmt: skip
    numbers = {name: number for number, name in enumerate(name for group in groups for name in group)}
    return {
        "state": {numbers[name]: value for name, value in state["state"].items()},
        "param_groups": [
            {**group, "params": [numbers[name] for name in names]}
            for group, names in zip(state["param_groups"], groups, strict=True)
        ],
    }
