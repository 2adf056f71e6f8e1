from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from components.settings import settings_from
from tests.fakes.tables import FakeRun

ROOT = Path(__file__).parents[3]


@pytest.fixture
def fake_run(monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    run = FakeRun()

    @contextmanager
    def open_run(*_, **__):
        yield run

    monkeypatch.setattr("components.tracking.stage.open_run", open_run)
    return run


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The committed settings with a small minimum, in an empty working folder."""
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["check"] |= {"min_pairs": 10, "max_rejected": 0.5}
    raw["work_root"] = "artifacts"
    monkeypatch.chdir(tmp_path)
    return settings_from(raw, where="test")
