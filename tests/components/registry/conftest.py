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
CODE = """
from components.tracking.served import PythonModel, serve

class Echo(PythonModel):
    def predict(self, context, model_input: list[str]) -> list[str]:
        return model_input

serve(Echo())
"""


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
    code = tmp_path / "package" / "serving" / "pyfunc_model.py"  # the real one is packaged in the serving tests
    code.parent.mkdir(parents=True)
    code.write_text(CODE)
    monkeypatch.setattr("components.registry.promotion.PYFUNC_CODE", code)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # durability is tests/components/tracking's matter
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tracking_database}")
    shutil.copytree(finished, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return _settings(re.sub(r"\W+", "-", request.node.name), finished.parent / "mlartifacts")
