"""The model lies on the device that the settings mean, and is looked for before anything is read."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from components.errors import CheckpointError, ConfigError
from components.evaluation import placement
from components.evaluation.answering import Machine, Pace
from components.evaluation.placement import check_model, device_of, load_on
from components.evaluation.processes import answer_all


class Weights:
    def __init__(self) -> None:
        self.places: list[str] = []

    def to(self, device: str) -> None:
        self.places.append(device)


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch) -> Weights:
    found = Weights()
    monkeypatch.setattr("components.model.vlm.load_vlm", lambda folder, dtype: SimpleNamespace(model=found))
    return found


def with_devices(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: number > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: number)


def test_devices_are_dealt_out_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    with_devices(monkeypatch, 2)
    assert [device_of("auto", rank=rank) for rank in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert device_of("cpu", rank=1) == "cpu"
    with_devices(monkeypatch, 0)
    assert device_of("auto") == "cpu"
    with pytest.raises(ConfigError, match="no CUDA device"):
        device_of("cuda")


def test_the_weights_are_laid_on_the_device(weights: Weights) -> None:
    vlm = load_on(Path("m"), "cuda:1", dtype=torch.bfloat16)
    assert vlm.model.places == ["cuda:1"]


def test_an_evaluation_lays_its_model_on_the_device_there_is(weights: Weights, monkeypatch) -> None:
    with_devices(monkeypatch, 1)
    monkeypatch.setattr("components.evaluation.engine.inference", lambda device: nullcontext())  # no CUDA to enter
    answer_all(Path("m"), [], {}, pace=Pace(4, 4), machine=Machine(2), journals={}, steps=print)
    answer_all(Path("m"), [], {}, pace=Pace(4, 4), machine=Machine(2, device="cpu"), journals={}, steps=print)
    assert weights.places == ["cuda:0", "cpu"]


def test_a_folder_without_a_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no trained model here"):
        check_model(tmp_path / "nope")
    with pytest.raises(CheckpointError, match="no safetensors checkpoint here"):
        check_model(tmp_path)
    (tmp_path / placement.WEIGHTS[0]).touch()
    assert check_model(tmp_path) == tmp_path
