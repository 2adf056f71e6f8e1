"""A training state as two files without pickle: tensors in safetensors, everything else in JSON.

The state is what Lightning and torch hand out: dicts (keys of text or whole numbers), lists, tuples, numbers,
text, None, and tensors at any depth. Anything else is refused by its place in the tree, because what cannot be
written plainly cannot be read back safely. Tensors that share their memory are written once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from components.errors import CheckpointError

TENSORS, TREE = "state.safetensors", "state.json"
KIND = "kind"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state as it was at one moment: copies of its tensors on the CPU, and the rest as JSON."""

    tensors: Mapping[str, torch.Tensor]
    tree: str

    def write(self, folder: Path) -> None:
        """Write into a folder as `state.safetensors` and `state.json`."""
        from safetensors.torch import save_file

        save_file(dict(self.tensors), folder / TENSORS)
        (folder / TREE).write_text(self.tree)


def take_snapshot(state: Mapping[str, Any]) -> Snapshot:
    """Copy a state; what is trained on afterwards does not change the copy."""
    tensors = _Tensors()
    tree = _plain(state, "state", tensors)
    return Snapshot(tensors.named, json.dumps(tree, sort_keys=True) + "\n")


def write_state(state: Mapping[str, Any], folder: Path) -> None:
    """Write a state into a folder as `state.safetensors` and `state.json`."""
    take_snapshot(state).write(folder)


def read_state(folder: Path) -> dict[str, Any]:
    """Read back what `write_state` wrote, the same values in the same containers, tensors on the CPU."""
    from safetensors.torch import load_file

    return _restored(json.loads((folder / TREE).read_text()), load_file(folder / TENSORS))


class _Tensors:
    """Tensors by a name for each piece of memory."""

    def __init__(self) -> None:
        self.named: dict[str, torch.Tensor] = {}
        self._names: dict[tuple[Any, ...], str] = {}

    def name_of(self, tensor: torch.Tensor) -> str:
        shape = (tuple(tensor.shape), tensor.stride(), tensor.dtype)
        key = (tensor.data_ptr(), *shape) if tensor.numel() else (len(self.named), *shape)
        if key not in self._names:
            name = self._names[key] = f"{len(self.named):06d}"
            self.named[name] = tensor.detach().cpu().contiguous().clone()
        return self._names[key]


def _plain(value: Any, place: str, tensors: _Tensors) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, torch.Tensor):
        return {KIND: "tensor", "name": tensors.name_of(value)}
    if isinstance(value, Mapping):
        rows = [[_key(key, place), _plain(item, f"{place}.{key}", tensors)] for key, item in value.items()]
        return {KIND: "dict", "items": rows}
    if isinstance(value, list | tuple):
        rows = [_plain(item, f"{place}[{index}]", tensors) for index, item in enumerate(value)]
        return {KIND: "tuple", "items": rows} if isinstance(value, tuple) else rows
    raise CheckpointError(f"a {type(value).__name__} cannot be written to a checkpoint", where=place)


def _key(key: Any, place: str) -> int | str:
    if isinstance(key, int | str):
        return key
    raise CheckpointError(f"a key of type {type(key).__name__} cannot be written to a checkpoint", where=place)


def _restored(value: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    if isinstance(value, list):
        return [_restored(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if value[KIND] == "tensor":
        return tensors[value["name"]]
    if value[KIND] == "tuple":
        return tuple(_restored(item, tensors) for item in value["items"])
    return {key: _restored(item, tensors) for key, item in value["items"]}
