"""What a run may not cost: `gmai plan` and the start of a stage refuse it in the same words.

The settings are `cluster.device.memory_gigabytes`, `cluster.budget` and, on this machine, the disk's free space.
`cluster.budget.enforced=false` lets a stage start all the same.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from components.errors import ConfigError
from components.model.vlm import model_class
from components.settings import Settings, process_rank
from components.training.disk import DataPart
from components.training.expected import forecasts_of, manifest_of
from components.training.forecast import GIGA, Shape, StageForecast, shape_of

OVERRIDE = "gmai configure cluster.budget.enforced=false lets a stage start all the same"


def check_budget(settings: Settings, forecasts: Sequence[StageForecast], data: Sequence[DataPart] = ()) -> None:
    """Raise ConfigError naming every limit that the forecast is over, and the settings that change it."""
    if over := over_budget(settings, forecasts, data):
        raise ConfigError("over budget: " + "; ".join(over), where="conf/cluster", fix=OVERRIDE)


def over_budget(settings: Settings, forecasts: Sequence[StageForecast], data: Sequence[DataPart]) -> list[str]:
    """Return a sentence for every limit that the forecast is over."""
    return [
        *(text for row in forecasts for text in _over_memory(settings, row)),
        *_over_hours(settings, forecasts),
        *_over_disk(settings, forecasts, data),
        *_over_free(settings, forecasts, data),
    ]


def _over_memory(settings: Settings, row: StageForecast) -> list[str]:
    limit = settings.cluster.device.memory_gigabytes
    if row.memory_gigabytes <= limit:
        return []
    stage = settings.recipe.stages.get(row.name)
    own = bool(stage and stage.micro_batch)
    changes = [f"recipe.stages.{row.name}.micro_batch" if own else "training.micro_batch"]
    if not settings.training.speed.activation_checkpointing:
        changes.append("training.speed.activation_checkpointing=true")
    if not settings.cluster.in_pieces:
        changes.append("cluster.strategy=fsdp2")
    needed = f"{row.name} needs {row.memory_gigabytes:.1f} GB a process, the device has {limit:g}"
    return [f"{needed} (change {' or '.join([*changes, 'cluster.device.memory_gigabytes'])})"]


def _over_hours(settings: Settings, forecasts: Sequence[StageForecast]) -> list[str]:
    limit, hours = settings.cluster.budget.hours, sum(row.hours[1] for row in forecasts)
    if not limit or hours <= limit:
        return []
    change = "change cluster.budget.hours, cluster.nodes or recipe.stages.STAGE.max_steps"
    return [f"up to {hours:.1f} hours, the budget is {limit:g} ({change})"]


def _over_disk(settings: Settings, forecasts: Sequence[StageForecast], data: Sequence[DataPart]) -> list[str]:
    limit = settings.cluster.budget.disk_gigabytes
    disk = sum(row.disk_gigabytes for row in forecasts) + sum(part.bytes for part in data) / GIGA
    if not limit or disk <= limit:
        return []
    change = "change cluster.budget.disk_gigabytes or training.checkpoint.keep"
    return [f"{disk:.1f} GB of disk, the budget is {limit:g} ({change})"]


def _over_free(settings: Settings, forecasts: Sequence[StageForecast], data: Sequence[DataPart]) -> list[str]:
    if settings.cluster.launcher != "local":
        return []
    missing = sum(part.bytes for part in data if not part.is_here) / GIGA
    disk, free = missing + sum(row.disk_gigabytes for row in forecasts), shutil.disk_usage(Path.cwd()).free / GIGA
    change = "free some, or change training.checkpoint.keep"
    return [f"{disk:.1f} GB of disk, {free:.1f} are free ({change})"] if disk > free else []


def check_affordable(settings: Settings, name: str) -> None:
    """Refuse to start a stage that is over budget: its own memory, all stages' hours and disk.

    Reads the shape off the config that the stage starts from and the packs' own counts, in some 0.1 s. Without
    either, the stage itself says what is missing.

    Raises:
        ConfigError: it is over budget, and `cluster.budget.enforced` is on; if not, it is said on standard error.
    """
    start = Path(settings.recipe.stages[name].starts_from)
    packs = settings.work_root / "packs"
    if not (start / "config.json").is_file() or not manifest_of(packs).get("details"):
        return
    forecasts, data = forecasts_of(settings, shape_in(start), any_packs=True)
    own = [row for row in forecasts if row.name == name]
    over = [text for row in own for text in _over_memory(settings, row)]
    over += _over_hours(settings, forecasts)
    over += _over_disk(settings, forecasts, data) + _over_free(settings, own, data)
    if over and settings.cluster.budget.enforced:
        raise ConfigError("over budget: " + "; ".join(over), where="conf/cluster", fix=OVERRIDE)
    if over and process_rank() == 0:
        print(f"{name}: over budget, and started all the same: {'; '.join(over)}", file=sys.stderr)


def shape_in(folder: Path) -> Shape:
    """Return the shape of the model whose config lies in a folder; nothing is loaded."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    with torch.device("meta"):
        return shape_of(model_class(config)(config))
