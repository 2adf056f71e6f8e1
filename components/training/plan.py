"""`gmai plan`: what the recipe will cost on the chosen cluster, before anything runs; refuses what cannot be.

The model is built on the meta device, so a 7B model needs no memory here. Packs are counted where those of these
settings exist; before that, from the published sizes in the recipe (`sizes`). Each such assumption is printed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from components.pairs.mixture import check_sources
from components.settings import Settings
from components.training.budget import check_budget
from components.training.disk import DataPart
from components.training.expected import forecasts_of, pack_facts
from components.training.forecast import GIGA, StageForecast, shape_of
from components.training.stages import micro_batch_of


def run_plan(settings: Settings) -> None:
    """Print the forecast of every stage and what it stands on; ConfigError when it is over budget."""
    from rich.console import Console

    forecasts, data, assumptions = make_plan(settings)
    console = Console()
    console.print(_table(forecasts, settings))
    disk = sum(row.disk_gigabytes for row in forecasts) + sum(part.bytes for part in data) / GIGA
    console.print(f"all stages: {_hours(_sum_hours(forecasts))}, {disk:.1f} GB of disk", highlight=False)
    for line in (*(f"{part.name}: {part.bytes / GIGA:.1f} GB, {part.source}" for part in data), *assumptions):
        console.print(f"- {line}", highlight=False)
    check_budget(settings, forecasts, data)


def make_plan(settings: Settings) -> tuple[list[StageForecast], list[DataPart], list[str]]:
    """Return each stage's forecast, what the data take on disk, and the assumptions behind them.

    Raises:
        ConfigError: a mixture names a source without a card, or there is nothing to count packs from.
    """
    from components.model.vlm import build_on_meta

    check_sources(settings.recipe)
    shape = shape_of(build_on_meta(settings.model, settings.packages_root))
    sources = [f"{name}: {pack_facts(settings, row)[1]}" for name, row in settings.recipe.stages.items()]
    forecasts, data = forecasts_of(settings, shape)
    return forecasts, data, [*_assumptions(settings), *sources]


def _assumptions(settings: Settings) -> Iterator[str]:
    device, cluster = settings.cluster.device, settings.cluster
    low, high = device.utilisation
    yield (
        f"{cluster.nodes} x {cluster.devices} of {device.name}: {device.teraflops:g} TFLOP/s at its peak, "
        f"of which {low:.0%} to {high:.0%} is reached: hours are from the best of it to the worst"
    )
    batches = ", ".join(
        str(number)
        for number in sorted({micro_batch_of(settings.training, row) for row in settings.recipe.stages.values()})
    )
    yield f"{settings.training.precision}, {cluster.strategy}, micro-batch {batches}, AdamW"
    if settings.training.speed.activation_checkpointing:
        yield "activations are computed again in the backward pass (a third more operations, less memory)"
    if any(stage.adapters for stage in settings.recipe.stages.values()):
        yield "a part with adapters is counted as if it learnt whole, in full precision (an upper bound)"
    yield (
        "memory is of one process, host memory of the first: its libraries, the model, the checkpoint it gathers, "
        "loading processes; the others gather nothing, and the image store is mapped, not held"
    )
    if settings.training.speed.cache_features:
        yield "disk of a stage holds the features it keeps of a frozen tower, each image once a process at most"
    yield "no time for evaluation, checkpoints, restarts and reading; no memory for the allocator's gaps"


def _sum_hours(forecasts: Sequence[StageForecast]) -> tuple[float, float]:
    return sum(row.hours[0] for row in forecasts), sum(row.hours[1] for row in forecasts)


def _hours(hours: tuple[float, float]) -> str:
    low, high = hours
    return f"{low * 60:.1f} to {high * 60:.1f} minutes" if high < 1 else f"{low:.1f} to {high:.1f} hours"


def _table(forecasts: Sequence[StageForecast], settings: Settings) -> object:
    """Lay the stages out in 80 columns; a stage's name is never cut, whatever the terminal's width."""
    from rich.table import Table

    parameters = f"{forecasts[0].parameters / 1e6:,.1f} M parameters"
    table = Table(
        title=f"{settings.preset}: {settings.recipe.name} on {settings.model.name}, {parameters}",
        box=None, padding=(0, 1, 0, 0), title_justify="left", pad_edge=False,
    )  # fmt: skip
    table.add_column("stage", no_wrap=True, min_width=max(len(row.name) for row in forecasts))
    for heading in ("learn M", "steps", "tokens", "FLOP", "device GB", "host GB", "hours", "disk GB"):
        table.add_column(heading, justify="right", overflow="fold")
    for row in forecasts:
        low, high = row.hours
        table.add_row(
            row.name, f"{row.trainable / 1e6:,.1f}", f"{row.steps:,}", f"{row.tokens:.2g}", f"{row.flops:.2g}",
            f"{row.memory_gigabytes:.1f}", f"{row.host_gigabytes:.1f}", _span(low, high),
            f"{row.disk_gigabytes:.1f}",
        )  # fmt: skip
    return table


def _span(low: float, high: float) -> str:
    return f"{low:.0f}-{high:.0f}" if low >= 10 else f"{low:.2g}-{high:.2g}"
