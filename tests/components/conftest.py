"""One SQLite tracking store a session (its tables take a second or two); every test has its own names in it."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from components.settings import Settings, settings_from

ROOT = Path(__file__).parents[2]


MEMORY = Path("/dev/shm")


@pytest.fixture(scope="session")
def tracking_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """In memory where the machine has it: a busy disk takes milliseconds for each of MLflow's many commits."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path_factory.mktemp("tracking") / "mlflow.db"
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder) / "mlflow.db"


@pytest.fixture
def tracked(tracking_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request) -> Settings:
    """Settings whose runs go to the session's store, in an empty working folder."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tracking_database}")
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    name = re.sub(r"\W+", "-", request.node.name)
    raw["tracking"] = {"experiment": name, "artifact_folder": "mlartifacts"}
    raw["promotion"]["registered_model"] = name
    return settings_from(raw, where="test")
