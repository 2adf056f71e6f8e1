"""What a run did, in words and tables for a person at a terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.graph import StageOutcome

if TYPE_CHECKING:
    from rich.console import Console

NOTHING_TO_DO = "nothing to compute: everything is up to date"
METRICS = Path("metrics") / "evaluation.json"


def describe_outcomes(outcomes: Sequence[StageOutcome]) -> str:
    """Name what ran with its seconds, and count what DVC skipped."""
    ran = [outcome for outcome in outcomes if outcome.ran]
    if not ran:
        return NOTHING_TO_DO
    total = sum(outcome.seconds for outcome in ran)
    parts = ", ".join(f"{outcome.address} {outcome.seconds:.0f} s" for outcome in ran)
    return f"ran {len(ran)} of {len(outcomes)} stages in {total:.0f} s ({parts}); the rest was up to date"


def print_outcomes(console: Console, outcomes: Sequence[StageOutcome]) -> None:
    """Print a table of the stages, or one line when none had to run."""
    from rich.table import Table

    if not any(outcome.ran for outcome in outcomes):
        console.print(f"[green]{NOTHING_TO_DO}[/] ({len(outcomes)} stages)")
        return
    table = Table("stage", "state", "seconds", title="Stages")
    for outcome in outcomes:
        state, seconds = ("ran", f"{outcome.seconds:.1f}") if outcome.ran else ("[dim]up to date[/]", "")
        table.add_row(outcome.address, state, seconds)
    table.add_row("[bold]all[/]", "", f"{sum(outcome.seconds for outcome in outcomes):.1f}", end_section=True)
    console.print(table)


def print_scores(console: Console, root: Path) -> None:
    """Print the table of scores that the evaluation stage left, if it has run."""
    from rich.table import Table

    if not (root / METRICS).is_file():
        console.print(f"no scores yet ({METRICS} is written by the evaluation stage)")
        return
    metrics = json.loads((root / METRICS).read_text())
    table = Table("score", "value", "95 % interval", "baseline", "n", title="Held-out patients")
    for row in score_rows(metrics):
        table.add_row(*row)
    console.print(table)


def score_rows(metrics: dict[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """Format the headline scores (no breakdowns, whose names hold a "/")."""
    gain = metrics["image_minus_blind"]
    known = (*_numbers(gain), "0", str(gain["n"])) if gain else ("not known", "no blind row", "0", "0")
    rows = [("image minus blind", *known)]
    for score in metrics["scores"]:
        if "/" not in score["benchmark"]:
            name = f"{score['benchmark']} ({score['metric']})"
            rows.append((name, *_numbers(score), _number(score["baseline"]), str(score["n"])))
    return rows


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _numbers(score: dict[str, Any]) -> tuple[str, str]:
    return _number(score["value"]), f"{_number(score['low'])} to {_number(score['high'])}"


def print_champion(console: Console, root: Path, *, model: str) -> None:
    """Print which version the alias `champion` points at, by the registry's own ledger (no store is opened)."""
    from components.registry.ledger import LEDGER, champion_of, read_ledger

    version = champion_of(read_ledger(root / LEDGER), model)
    console.print(f"champion of {model}: " + (f"version [bold]{version}[/]" if version else "none yet"))
