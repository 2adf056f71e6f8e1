"""A finished pipeline, built once a session and copied for each test, with a registered model of its own name."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from components.settings import Settings, settings_from
from tests.fakes.project import make_project

ROOT = Path(__file__).parents[3]


def _settings(name: str, artifacts: Path) -> Settings:
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["tracking"] = {"experiment": "finished-project", "artifact_folder": str(artifacts)}
    raw["promotion"]["registered_model"] = name
    return settings_from(raw, where="test")


@pytest.fixture(scope="session")
def finished(tracking_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tracking_database}")
        patch.chdir(folder)
        make_project(_settings("built", folder.parent / "mlartifacts"), root=ROOT)
    return folder


@pytest.fixture
def project(finished: Path, tracking_database: Path, tmp_path: Path, monkeypatch, request) -> Settings:
    """Settings of a finished project in the working folder: everything but the register stage has run."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tracking_database}")
    shutil.copytree(finished, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return _settings(re.sub(r"\W+", "-", request.node.name), finished.parent / "mlartifacts")
