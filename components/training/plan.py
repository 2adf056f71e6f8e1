"""`gmai plan`: what the recipe will cost on the chosen cluster, before anything runs; refuses what cannot be.

The model is built on the meta device, so a 7B model needs no memory here. Packs are counted where they exist;
before that, from the published sizes in the recipe (`sizes`), and each such assumption is printed.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from components.errors import ConfigError
from components.model.tiles import most_images
from components.pairs.mixture import check_sources
from components.settings import Settings, Stage
from components.training.forecast import (
    GIGA,
    PackFacts,
    Shape,
    StageForecast,
    forecast_stage,
    shape_of,
)
from components.training.stages import num_steps

PAIRS_A_PACK = 2  # arXiv 2411.14522 v1 Table 8: "soft packing", about two samples a pack
ASSUMED_SUPERVISED = 0.3


def run_plan(settings: Settings) -> None:
    """Print the forecast of every stage and what it stands on; ConfigError when it is over budget."""
    from rich.console import Console

    forecasts, assumptions = make_plan(settings)
    console = Console(width=120)
    console.print(_table(forecasts, settings))
    console.print(f"all stages: {_hours(_sum_hours(forecasts))}, {_disk(forecasts):.1f} GB of disk")
    for assumption in assumptions:
        console.print(f"- {assumption}", highlight=False)
    check_budget(settings, forecasts)


def make_plan(settings: Settings) -> tuple[list[StageForecast], list[str]]:
    """Return each stage's forecast and the assumptions behind them.

    Raises:
        ConfigError: a mixture names a source without a card, or there is nothing to count packs from.
    """
    from components.model.vlm import build_on_meta

    check_sources(settings.recipe)
    shape = shape_of(build_on_meta(settings.model, settings.packages_root))
    assumptions = list(_assumptions(settings))
    forecasts = []
    for name, stage in settings.recipe.stages.items():
        facts, source = pack_facts(settings, stage, shape)
        assumptions.append(f"{name}: {source}")
        steps = num_steps(
            facts.packs, packs_per_step=stage.packs_per_step, epochs=stage.epochs, max_steps=stage.max_steps
        )
        forecasts.append(
            forecast_stage(settings, stage, name=name, shape=shape, facts=facts, steps=steps)
        )  # fmt: skip
    return forecasts, assumptions


def pack_facts(settings: Settings, stage: Stage, shape: Shape) -> tuple[PackFacts, str]:
    """Return what a stage's packs are like, counted on this disk or assumed from published sizes, and which."""
    folder = settings.work_root / "packs"
    manifest = folder / "manifest.json"
    counts = (
        json.loads(manifest.read_text())["details"].get(f"{stage.mixture}/train") if manifest.is_file() else None
    )
    if counts and not settings.recipe.sizes:
        images = _images_in(folder / stage.mixture / "train")
        packs = counts["packs"]
        facts = PackFacts(packs, counts["tokens"] / packs, counts["supervised"] / packs, images / packs)
        return facts, f"{packs} packs counted in {folder}"
    return assumed_facts(settings, stage)


def assumed_facts(settings: Settings, stage: Stage) -> tuple[PackFacts, str]:
    """Return packs from the recipe's published sizes: full packs of about two pairs, an image a pair."""
    from components.model.vision import num_image_tokens

    samples = expected_samples(settings, stage.mixture)
    if not samples:
        raise ConfigError(
            f"no packs of mixture {stage.mixture!r} and no published sizes to count from",
            where="artifacts/packs, recipe.sizes",
            fix="dvc repro pack",
        )
    length, vision = settings.model.max_length, settings.model.vision
    tiles = most_images(vision.max_tiles)
    images = min(PAIRS_A_PACK * tiles, max(length // num_image_tokens(vision), 1)) if tiles > 1 else PAIRS_A_PACK
    facts = PackFacts(math.ceil(samples / PAIRS_A_PACK), length, length * ASSUMED_SUPERVISED, images)
    cut = f" of {tiles} squares, as many as a pack holds" if tiles > 1 else ""
    source = (
        f"{samples / 1e6:.2f} M samples (published sizes x ratios), {PAIRS_A_PACK} a pack of {length} tokens, "
        f"{ASSUMED_SUPERVISED:.0%} supervised, an image{cut} a sample (an upper bound where there is text alone)"
    )
    return facts, source


def expected_samples(settings: Settings, mixture: str) -> float:
    """Return the samples a mixture draws in one pass: published size times ratio, over its sources."""
    ratios = settings.recipe.mixtures[mixture].sources
    return sum(size * ratios.get(source, 1.0) for source, size in settings.recipe.sizes.items())


def _images_in(folder: Path) -> int:
    from components.tracking.tables import iterate_rows

    return sum(len(row["images"]) for row in iterate_rows(folder, ["images"]))


def _assumptions(settings: Settings) -> Iterator[str]:
    device, cluster = settings.cluster.device, settings.cluster
    low, high = device.utilisation
    yield (
        f"{cluster.nodes} x {cluster.devices} of {device.name}: {device.teraflops:g} TFLOP/s at its peak, "
        f"of which {low:.0%} to {high:.0%} is reached"
    )
    yield f"{settings.training.precision}, {cluster.strategy}, micro-batch {settings.training.micro_batch}, AdamW"
    if settings.training.speed.activation_checkpointing:
        yield "activations are computed again in the backward pass (a third more operations, less memory)"
    if any(stage.adapters for stage in settings.recipe.stages.values()):
        yield "a part with adapters is counted as if it learnt whole, in full precision (an upper bound)"
    yield "no time for evaluation, checkpoints, restarts and reading; no memory for the allocator's gaps"


def check_budget(settings: Settings, forecasts: Sequence[StageForecast]) -> None:
    """Raise ConfigError naming every limit that the forecast is over."""
    cluster, over = settings.cluster, []
    for row in forecasts:
        if row.memory_gigabytes > cluster.device.memory_gigabytes:
            limit = cluster.device.memory_gigabytes
            over.append(f"{row.name} needs {row.memory_gigabytes:.1f} GB a process, the device has {limit:g}")
    hours, disk = _sum_hours(forecasts)[1], _disk(forecasts)
    if cluster.budget.hours and hours > cluster.budget.hours:
        over.append(f"up to {hours:.1f} hours, the budget is {cluster.budget.hours:g}")
    limit = cluster.budget.disk_gigabytes
    free = shutil.disk_usage(Path.cwd()).free / GIGA
    if limit and disk > limit:
        over.append(f"{disk:.1f} GB of disk, the budget is {limit:g}")
    elif cluster.launcher == "local" and disk > free:
        over.append(f"{disk:.1f} GB of disk, {free:.1f} are free")
    if over:
        raise ConfigError("over budget: " + "; ".join(over), where="conf/cluster", fix="gmai configure ...")


def _sum_hours(forecasts: Sequence[StageForecast]) -> tuple[float, float]:
    return sum(row.hours[0] for row in forecasts), sum(row.hours[1] for row in forecasts)


def _disk(forecasts: Sequence[StageForecast]) -> float:
    return sum(row.disk_gigabytes for row in forecasts)


def _hours(hours: tuple[float, float]) -> str:
    low, high = hours
    return f"{low * 60:.1f} to {high * 60:.1f} minutes" if high < 1 else f"{low:.1f} to {high:.1f} hours"


def _table(forecasts: Sequence[StageForecast], settings: Settings) -> object:
    from rich.table import Table

    table = Table(title=f"{settings.preset}: {settings.recipe.name} on {settings.model.name}")
    for heading in ("stage", "parameters", "learn", "steps", "tokens", "FLOP", "memory a process", "time", "disk"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    for row in forecasts:
        table.add_row(
            row.name, f"{row.parameters / 1e6:,.1f} M", f"{row.trainable / 1e6:,.1f} M", f"{row.steps:,}",
            f"{row.tokens:.3g}", f"{row.flops:.3g}", f"{row.memory_gigabytes:.1f} GB", _hours(row.hours),
            f"{row.disk_gigabytes:.1f} GB",
        )  # fmt: skip
    return table
