"""The whole of the settings: composed from conf/, read from params.yaml, checked once."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from components.errors import ConfigError
from components.settings.base import Frozen
from components.settings.corpus import Check, Corpus, Curate, Ingest, PairMaking
from components.settings.decision import Evaluation, Promotion, Tracking
from components.settings.model import Model
from components.settings.recipe import Cluster, Recipe, Training

PARAMS = Path("params.yaml")


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
    """Compose conf/ with Hydra and return plain values; ConfigError, with near names, when Hydra refuses."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_dir(str(folder.resolve()), version_base="1.3"):
            composed = OmegaConf.to_container(hydra_compose("config", overrides), resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        told = _in_one_line(str(error)) + _near_names(overrides, folder)
        raise ConfigError(f"conf/ does not compose: {told}", where=str(folder), fix="ls conf/*") from error
    assert isinstance(composed, dict)
    return {str(key): value for key, value in composed.items()}


def _in_one_line(told: str) -> str:
    """Put Hydra's words into one line, without its search path and its advice to add keys that nobody declared."""
    told = told.partition("Config search path:")[0]
    lines = (line.strip() for line in told.splitlines())
    return ", ".join(line for line in lines if line and "use +" not in line).replace(":,", ":")


def _near_names(overrides: list[str], folder: Path) -> str:
    """Name what an override that fits nothing may have meant: a group of conf/ or a section of the settings."""
    known = {*Settings.model_fields, *(path.name for path in folder.iterdir() if path.is_dir())}
    names = (override.partition("=")[0].lstrip("+~").partition(".")[0] for override in overrides)
    near = [match for name in names if name not in known for match in difflib.get_close_matches(name, known, n=2)]
    return f"; did you mean {', '.join(near)}?" if near else ""
