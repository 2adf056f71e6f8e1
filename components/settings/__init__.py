"""Configuration becomes frozen, typed settings here, once; below this room nobody sees a dict or os.environ.

`params.yaml` is the composed `conf/` (written by `gmai configure`); `load_settings` reads it. Unknown keys
raise, contradictions raise, and secrets come from the environment alone and never enter params.
"""

from __future__ import annotations

from components.settings.base import Frozen, Positive, Share, Words
from components.settings.corpus import BenchmarkFiles, BurnedInText, Check, Corpus, Curate, Ingest, PairMaking
from components.settings.decision import Evaluation, GateRule, Judge, Promotion, Tracking
from components.settings.environment import (
    Secrets,
    is_tracking_chosen,
    language_model_key,
    load_secrets,
    process_rank,
    secret_environment,
)
from components.settings.loading import PARAMS, Settings, compose, load_settings, settings_from
from components.settings.model import LanguageModel, Model, Vision
from components.settings.pairing import Augmentation, Choices, Generating, LanguageWriter
from components.settings.recipe import (
    Adapter,
    Cluster,
    Mixture,
    Part,
    Recipe,
    Stage,
    Training,
    VisionInitialisation,
)
from components.settings.training import Budget, Checkpointing, Device, Guard, Speed

__all__ = [
    "Adapter",
    "Augmentation",
    "BenchmarkFiles",
    "Choices",
    "Budget",
    "BurnedInText",
    "Check",
    "Checkpointing",
    "Cluster",
    "Corpus",
    "Curate",
    "Device",
    "Evaluation",
    "Frozen",
    "GateRule",
    "Generating",
    "Guard",
    "Judge",
    "Ingest",
    "LanguageModel",
    "LanguageWriter",
    "Mixture",
    "Model",
    "PARAMS",
    "PairMaking",
    "Part",
    "Positive",
    "Promotion",
    "Recipe",
    "Secrets",
    "Settings",
    "Share",
    "Speed",
    "Stage",
    "Tracking",
    "Training",
    "Vision",
    "VisionInitialisation",
    "Words",
    "compose",
    "is_tracking_chosen",
    "language_model_key",
    "load_secrets",
    "load_settings",
    "process_rank",
    "secret_environment",
    "settings_from",
]
