"""Settings of what is scored, what may be promoted, and where runs are written."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from components.settings.base import Frozen, Positive, Share


class Evaluation(Frozen):
    """What is scored, on which split, with how many resamples."""

    split: Literal["validation", "test"]
    max_closed: Positive = Field(description="closed questions at most, spread over patients and types")
    max_boxes: Positive
    max_captions: Positive
    max_new_tokens: Positive
    batch_size: Positive
    bootstrap: Positive = Field(description="resamples for a 95 % interval")


class GateRule(Frozen):
    """Whether a gate is asked, and what its failure means."""

    enabled: bool
    on_fail: Literal["REJECT", "HOLD"]


class Promotion(Frozen):
    """The promotion policy: fixed before the run, its hash stored with every verdict."""

    registered_model: str
    primary: str = Field(description="score in metrics/evaluation.json that decides")
    require_image_over_blind: float = Field(description="lower bound of image minus blind must exceed this")
    non_inferiority_margin: float = Field(ge=0, description="points of 0-1 the champion may be ahead by")
    require_complete_lineage: bool
    max_rejected: Share = Field(description="share of rows rejected on the way that the gate tolerates")
    gates: dict[str, GateRule] = Field(min_length=1, description="function in registry/gate.py -> its rule")


class Tracking(Frozen):
    """Where runs are written."""

    experiment: str
    artifact_folder: Path = Field(description="artefact root for the default SQLite store")
