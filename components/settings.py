"""Configuration becomes frozen, typed settings here, once; below this room nobody sees a dict or os.environ.

`params.yaml` is the composed `conf/` (written by `gmai configure`); `load_settings` reads it. Unknown keys
raise, contradictions raise, and secrets come from the environment alone and never enter params.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from components.errors import ConfigError

PARAMS = Path("params.yaml")
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
Part = Literal["vision", "projector", "language"]


class Frozen(BaseModel):
    """Frozen, and closed to keys nobody declared."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Corpus(Frozen):
    """Which sources are read, and under what terms."""

    data_root: Path = Field(description="folder of the raw sources, one folder a source")
    sources: tuple[str, ...] = Field(min_length=1, description="card names in conf/sources")
    allow_noncommercial: bool = Field(description="false drops sources whose licence forbids commercial use")


class Ingest(Frozen):
    """How raw files become records."""

    max_side: Positive = Field(description="longest image side kept, in pixels")
    shard_megabytes: Positive = Field(description="Parquet shard size, in MB")
    jobs: Positive = Field(description="sources read at once")
    backend: Literal["loky", "threading", "sequential", "ray", "dask"]


class PairMaking(Frozen):
    """How records become image-text pairs."""

    chinese_share: Share = Field(description="share of pairs written in Chinese")
    max_questions: Positive = Field(description="perception questions a record, at most")
    max_regions: Positive = Field(description="region captions a record, at most")
    shard_megabytes: Positive
    kinds: tuple[str, ...] = Field(description="pair kinds to make")


class Curate(Frozen):
    """Which pairs stay."""

    min_side: Positive = Field(description="shorter images are rejected, in pixels")
    max_aspect: float = Field(gt=1, description="longer than this many times its width is rejected")
    min_entropy: float = Field(ge=0, description="bits of grey-level entropy below which an image is blank")
    near_duplicate_bits: int = Field(ge=0, le=32, description="perceptual-hash distance called a duplicate")
    shard_megabytes: Positive


class Check(Frozen):
    """Bounds of the Great Expectations gate."""

    min_text: Positive = Field(description="shortest assistant text, in characters")
    max_text: Positive = Field(description="longest assistant text, in characters")
    max_rejected: Share = Field(description="share of rejected rows above which the gate stops")
    min_pairs: Positive = Field(description="fewer pairs than this stop the pipeline")


class Vision(Frozen):
    """The image encoder: a pretrained folder or hub name, or a fresh one of these sizes."""

    family: Literal["siglip", "clip", "dinov2"]
    pretrained: str = Field(description="local folder or hub name; empty makes a fresh encoder")
    revision: str = Field(description="pinned revision of the hub model, or empty")
    image_size: Positive = Field(description="side in pixels")
    patch_size: Positive = Field(description="side in pixels")
    hidden_size: Positive
    layers: Positive
    heads: Positive
    intermediate_size: Positive
    feature_layer: int = Field(le=-1, description="hidden layer handed to the projector, from the end")

    @model_validator(mode="after")
    def _sizes_divide(self) -> Vision:
        if self.image_size % self.patch_size:
            raise ValueError(f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}")
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of heads {self.heads}")
        return self


class LanguageModel(Frozen):
    """The language model: a GGUF file in the data packages, a pretrained folder or hub name, or a fresh one."""

    source: Literal["gguf", "pretrained", "random"]
    family: Literal["llama", "qwen2", "qwen3", "internlm3"]
    path: str = Field(description="GGUF file, folder, or hub name; empty for random")
    sha256: str = Field(description="pinned hash of the GGUF file, or empty")
    revision: str = Field(description="pinned revision of the hub model, or empty")
    hidden_size: int = Field(ge=0, description="for random or meta construction; 0 when read from the weights")
    layers: int = Field(ge=0)
    heads: int = Field(ge=0)
    key_value_heads: int = Field(ge=0)
    intermediate_size: int = Field(ge=0)
    vocabulary: int = Field(ge=0, description="tokens; 0 when read from the weights")
    tie_embeddings: bool = Field(description="output head shares the input embedding")


class Model(Frozen):
    """What LLaVA is composed of."""

    name: str
    vision: Vision
    language: LanguageModel
    chat_template: Literal["chatml", "internlm2"]
    max_length: Positive = Field(description="longest pack, in tokens, image tokens included")


class VisionInitialisation(Frozen):
    """Contrastive (SigLIP loss) training of a fresh ViT before the projector; skipped for a pretrained tower."""

    steps: Positive
    batch_size: Positive
    learning_rate: float = Field(gt=0)
    warmup_steps: int = Field(ge=0)
    weight_decay: float = Field(ge=0)


class Mixture(Frozen):
    """What a stage reads: shares of each pair kind and, optionally, of named sources (1 is all of it)."""

    kinds: dict[str, float] = Field(description="pair kind -> sampling ratio; 0 or absent leaves it out")
    sources: dict[str, float] = Field(default_factory=dict, description="source -> ratio; absent means 1")


class Stage(Frozen):
    """One row of a recipe: what trains, on what, how."""

    trains: tuple[Part, ...] = Field(min_length=1)
    starts_from: str = Field(description="folder of the processor (and weights, if any) it starts with")
    mixture: str = Field(description="name in recipe.mixtures")
    learning_rate: float = Field(gt=0)
    schedule: Literal["cosine", "constant"]
    warmup_ratio: Share
    weight_decay: float = Field(ge=0)
    clip: float = Field(gt=0, description="gradient norm limit")
    packs_per_step: Positive = Field(description="packs an optimiser step, over all devices")
    epochs: float = Field(gt=0, description="passes over the mixture's packs")
    max_steps: int = Field(ge=0, description="optimiser steps at most; 0 is no limit")
    evidence: dict[str, str] = Field(default_factory=dict, description="field -> where its value comes from")
    initialise_vision: VisionInitialisation | None = None


class Recipe(Frozen):
    """Training stages in order, and the mixtures they read."""

    name: str
    mixtures: dict[str, Mixture] = Field(min_length=1)
    stages: dict[str, Stage] = Field(min_length=1)

    @model_validator(mode="after")
    def _mixtures_exist(self) -> Recipe:
        for name, stage in self.stages.items():
            if stage.mixture not in self.mixtures:
                raise ValueError(f"stage {name} reads mixture {stage.mixture!r}; known: {sorted(self.mixtures)}")
        return self

    @field_validator("stages")
    @classmethod
    def _in_training_order(cls, stages: dict[str, Stage]) -> dict[str, Stage]:
        """Lay the stages in the order their `starts_from` gives: params.yaml sorts its keys by name."""
        order: dict[str, Stage] = {}
        while len(order) < len(stages):
            waiting = {name: stage for name, stage in stages.items() if name not in order}
            ready = [name for name, stage in waiting.items() if Path(stage.starts_from).name not in waiting]
            if len(ready) != 1:
                raise ValueError(f"the stages are not one chain: {ready or list(waiting)} could come next")
            order[ready[0]] = waiting[ready[0]]
        return order

    @property
    def final_stage(self) -> str:
        """The last stage: the one whose model is evaluated and registered."""
        return list(self.stages)[-1]


class Training(Frozen):
    """How a stage runs on this machine."""

    micro_batch: Positive = Field(description="packs a device holds at once")
    precision: Literal["32-true", "bf16-mixed", "bf16-true"]
    workers: int = Field(ge=0, description="data loading processes")
    log_every: Positive = Field(description="optimiser steps between logged points")
    validate_batches: int = Field(ge=0, description="micro-batches of validation packs at the end of a stage")


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


class Cluster(Frozen):
    """Where training runs."""

    launcher: Literal["local", "torchrun", "slurm"]
    accelerator: Literal["cpu", "cuda", "auto"]
    strategy: Literal["auto", "ddp", "fsdp2"]
    devices: Positive = Field(description="devices a node")
    nodes: Positive
    threads: Positive = Field(description="CPU threads a process computes with")


class Tracking(Frozen):
    """Where runs are written."""

    experiment: str
    artifact_folder: Path = Field(description="artefact root for the default SQLite store")


class Settings(Frozen):
    """Everything a run decides, composed from conf/."""

    seed: int = Field(ge=0)
    preset: str
    packages_root: Path = Field(description="folder of the data-only packages")
    work_root: Path = Field(description="folder of the stages' outputs")
    corpus: Corpus
    ingest: Ingest
    pair: PairMaking
    curate: Curate
    check: Check
    model: Model
    recipe: Recipe
    training: Training
    evaluation: Evaluation
    promotion: Promotion
    cluster: Cluster
    tracking: Tracking


class Secrets(BaseModel):
    """What comes from the environment only; never logged, never in params."""

    model_config = ConfigDict(frozen=True)
    patient_key: SecretStr
    tracking_uri: str


def load_settings(path: Path = PARAMS) -> Settings:
    """Read the composed parameters.

    Raises:
        ConfigError: the file is absent, is not YAML, has unknown keys or contradicts itself.
    """
    try:
        raw = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except FileNotFoundError as error:
        raise ConfigError("no composed settings", where=str(path), fix="gmai configure") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {error}", where=str(path), fix="gmai configure") from error
    return settings_from(raw, where=str(path))


def settings_from(raw: dict[str, Any], *, where: str) -> Settings:
    """Validate a composed mapping; ConfigError names each wrong field."""
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        rows = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ConfigError("settings do not fit: " + "; ".join(rows), where=where, fix="gmai configure") from error


def compose(overrides: list[str], *, folder: Path = Path("conf")) -> dict[str, Any]:
    """Compose conf/ with Hydra and return plain values; ConfigError when Hydra refuses."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf

    try:
        with initialize_config_dir(str(folder.resolve()), version_base="1.3"):
            composed = OmegaConf.to_container(hydra_compose("config", overrides), resolve=True)
    except HydraException as error:
        raise ConfigError(f"conf/ does not compose: {error}", where=str(folder), fix="ls conf/*") from error
    assert isinstance(composed, dict)
    return {str(key): value for key, value in composed.items()}


def load_secrets() -> Secrets:
    """Read the environment; the default patient key is public and fit for the sample corpus alone."""
    return Secrets(
        patient_key=SecretStr(os.environ.get("GMAI_PATIENT_KEY", "public-key-of-the-sample-corpus")),
        tracking_uri=os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{Path('mlflow.db').resolve()}"),
    )


def process_rank() -> int:
    """Return this process's rank among the training processes, 0 when alone (torchrun, SLURM, Lightning)."""
    for name in ("RANK", "SLURM_PROCID"):
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return max(int(os.environ.get(name) or 0) for name in ("LOCAL_RANK", "NODE_RANK"))


def secret_environment() -> tuple[str, ...]:
    """Return the values of environment variables whose names promise a secret, so that they can be hidden."""
    words = ("PASSWORD", "PASSWD", "SECRET", "TOKEN", "API_KEY", "ACCESS_KEY", "PRIVATE_KEY", "PATIENT_KEY")
    return tuple(
        value for name, value in sorted(os.environ.items()) if value and any(w in name.upper() for w in words)
    )
