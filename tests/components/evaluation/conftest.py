from __future__ import annotations

from pathlib import Path

import pytest
import torch

from components.model.vlm import VLM, compose_vlm, make_processor
from tests.fakes.models import tiny_model


@pytest.fixture(scope="session")
def vlm() -> VLM:
    """A random LLaVA of some thousand parameters that reads bytes; float32, so that sums compare closely."""
    model = tiny_model()
    return VLM(compose_vlm(model, Path("nowhere"), seed=3).eval(), make_processor(model, Path("nowhere")))


@pytest.fixture(autouse=True)
def one_seed() -> None:
    torch.manual_seed(0)
