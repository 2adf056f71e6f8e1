"""Settings of what is scored, what may be promoted, and where runs are written."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from components.settings.base import Frozen, Positive, Share
from components.settings.pairing import LanguageWriter


class Judge(LanguageWriter):
    """A language model that judges open answers beside the rules, pinned; none while `model` is empty.

    It is shown question, gold answer and answer, never an image. By default it is a folder on this disk.
    """

    revision: str = Field(
        default="", description="what the endpoint runs exactly; a folder is pinned by its bytes"
    )
    max_tokens: Positive = 64
    cache: str = "var/judge"
    may_send: tuple[str, ...] = Field(default=(), description="published benchmarks that may leave this machine")

    @model_validator(mode="after")
    def _is_pinned(self) -> Judge:
        if self.model and self.endpoint and not self.revision:
            raise ValueError("a judge behind an endpoint needs its revision")
        if self.temperature:
            raise ValueError("a judge is asked at temperature 0")
        return self


class Evaluation(Frozen):
    """What is scored, on which split, with how many resamples."""

    split: Literal["validation", "test"]
    max_closed: Positive = Field(description="closed questions at most, spread over patients and types")
    max_boxes: Positive
    max_captions: Positive
    max_new_tokens: Positive
    batch_size: Positive
    bootstrap: Positive = Field(description="resamples for a 95 % interval")
    max_probes: int = Field(
        default=0, ge=0, description="hallucination and abstention probes at most; 0 asks none"
    )
    zero_shot: str = Field(default="", description="folder of a CLIP or SigLIP with its text side, as a baseline")
    judge: Judge = Judge()


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
    intended_use: Literal["research", "commercial"] = Field(
        default="research", description="commercial: every training source's terms must say yes to it"
    )
    gates: dict[str, GateRule] = Field(min_length=1, description="function in registry/gate.py -> its rule")


class Tracking(Frozen):
    """Where runs are written."""

    experiment: str
    artifact_folder: Path = Field(description="artefact root for the default SQLite store")
