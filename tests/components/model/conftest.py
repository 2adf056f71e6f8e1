"""Tiny settings: a fresh 2-layer model that reads bytes, so that no file and no download is needed."""

from __future__ import annotations

import pytest

from tests.fakes.models import tiny_model


@pytest.fixture
def model_settings():
    return tiny_model()
