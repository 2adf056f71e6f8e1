"""Which checkpoint is asked, and on which device: looked at before anything else is read or computed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from components.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    import torch

    from components.model.vlm import VLM

DeviceKind = Literal["auto", "cpu", "cuda"]
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


def check_model(folder: Path) -> Path:
    """Return the folder if it holds a checkpoint.

    Raises:
        CheckpointError: it does not, or is not there; the message says which command makes one.
    """
    if not folder.is_dir():
        raise CheckpointError("no trained model here", where=str(folder), fix="make run, or name one by --model")
    if not any((folder / name).is_file() for name in WEIGHTS):
        raise CheckpointError("no safetensors checkpoint here", where=str(folder), fix="dvc repro")
    return folder


def device_of(kind: DeviceKind, *, rank: int = 0) -> str:
    """Return the device of the process with this rank: devices are dealt out in turn, and a CPU is shared.

    Raises:
        ConfigError: CUDA is asked for and not there.
    """
    import torch

    number = torch.cuda.device_count() if kind != "cpu" and torch.cuda.is_available() else 0
    if kind == "cuda" and not number:
        raise ConfigError("no CUDA device here", where="evaluation.device", fix="set it to auto or cpu")
    return f"cuda:{rank % number}" if number else "cpu"


def load_on(folder: Path, device: str, *, dtype: torch.dtype) -> VLM:
    """Load a checkpoint and lay its weights on a device; raises as `load_vlm` does."""
    from components.model.vlm import load_vlm

    vlm = load_vlm(folder, dtype=dtype)
    vlm.model.to(device)
    return vlm
