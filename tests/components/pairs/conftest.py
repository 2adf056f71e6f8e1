from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from components.pairs.generate import TemplateGenerator
from components.settings import settings_from
from tests.fakes.tables import FakeRun

ROOT = Path(__file__).parents[3]


@pytest.fixture
def generator() -> TemplateGenerator:
    return TemplateGenerator(seed=7, chinese_share=0.4, max_questions=8, max_regions=3)


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
    """The committed settings, in an empty working folder."""
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["work_root"] = "artifacts"
    monkeypatch.chdir(tmp_path)
    return settings_from(raw, where="test")
