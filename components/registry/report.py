"""The verdict for people: one self-contained HTML page, one table in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape

from rich.console import Console
from rich.table import Table

from components.errors import ConfigError
from components.registry.gate import Evidence, Finding, Verdict
from components.registry.ledger import champion_of, events_until, read_ledger

COLOURS = {"PROMOTE": "green", "HOLD": "yellow", "REJECT": "red", "INCONCLUSIVE": "magenta"}
MARKS = {"passed": "✓", "failed": "✗", "inconclusive": "?"}
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}"
    "table{border-collapse:collapse;width:100%;margin:1rem 0}td,th{border:1px solid #d0d7de;padding:.35rem .6rem;"
    "text-align:left;vertical-align:top}th{background:#f6f8fa}code{font-size:.85em;overflow-wrap:anywhere}"
    ".passed{color:#116329}.failed{color:#a40e26}.inconclusive{color:#8250df}h1 small{font-weight:normal}"
)


def print_verdict(verdict: Verdict, *, title: str, console: Console | None = None) -> None:
    """Print every finding, then the outcome."""
    table = Table(title=title, title_justify="left")
    for column in ("gate", "result", "why"):
        table.add_column(column, overflow="fold")
    for finding in verdict.findings:
        result = finding.result if finding.result != "failed" else f"failed → {finding.on_fail}"
        table.add_row(finding.gate, f"{MARKS[finding.result]} {result}", finding.reason)
    console = console or Console()
    console.print(table)
    console.print(f"[bold {COLOURS[verdict.outcome]}]{verdict.outcome}[/]")


def print_history(at: str, *, console: Console | None = None) -> None:
    """Print the ledger up to a moment ("" for now); ConfigError when the moment is not ISO 8601."""
    try:
        when = datetime.fromisoformat(at) if at else None
    except ValueError as error:
        raise ConfigError(f"not a moment: {at!r}", where="--at", fix="gmai history --at 2026-03-01") from error
    events = events_until(read_ledger(), when)
    table = Table(title="registry", title_justify="left")
    for column in ("time", "who", "what", "model", "from", "to", "outcome", "why"):
        table.add_column(column, overflow="fold")
    for event in events:
        moved = (event.moved_from or "none", event.moved_to or "none")
        table.add_row(event.time, event.who, event.kind, event.model, *moved, event.outcome, event.reason)
    console = console or Console()
    console.print(table)
    for model in sorted({event.model for event in events}):
        console.print(f"champion of {model}: version {champion_of(events, model) or 'none'}")


def verdict_page(verdict: Verdict, evidence: Evidence, *, title: str) -> str:
    """Write the verdict, the scores and the lineage as one page without outside resources."""
    champion = (
        f"against champion version {verdict.champion_version}" if verdict.champion_version else "no champion yet"
    )
    parts = [
        f"<h1>{escape(title)}: {verdict.outcome} <small>({escape(champion)})</small></h1>",
        f"<p>Model <code>{verdict.model_digest}</code><br>Policy <code>{verdict.policy_hash}</code></p>",
        "<h2>Gates</h2>", _rows(("gate", "result", "why"), [_finding_row(f) for f in verdict.findings]),
        "<h2>Scores</h2>", _scores(evidence),
        "<h2>Lineage</h2>", _lineage(evidence),
    ]  # fmt: skip
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title><style>{STYLE}</style>"
    return head + "\n".join(parts) + "</html>\n"


def _finding_row(finding: Finding) -> tuple[str, ...]:
    result = f"<span class={finding.result}>{MARKS[finding.result]} {finding.result}</span>"
    if finding.result == "failed":
        result += f" → {finding.on_fail}"
    return escape(finding.gate), result, escape(finding.reason)


def _scores(evidence: Evidence) -> str:
    rows = [
        (escape(f"{score['benchmark']} ({score['metric']})"), _number(score["value"]),
         f"[{_number(score['low'])}, {_number(score['high'])}]", str(score["n"]), _number(score["baseline"]))
        for score in evidence.scores
    ]  # fmt: skip
    return _rows(("benchmark", "value", "95 % interval", "n", "baseline"), rows)


def _number(value: float | None) -> str:
    """Write a score; None is what is not defined, such as the calibration of a baseline without confidence."""
    return "none" if value is None else f"{value:.3f}"


def _lineage(evidence: Evidence) -> str:
    rows = [
        (escape(row["stage"]), f"<code>{escape(row['output'])}</code>", f"<code>{row['digest']}</code>",
         f"<code>{row['run_id']}</code>", escape("; ".join(row["gaps"])) or "none")
        for row in evidence.lineage
    ]  # fmt: skip
    return _rows(("stage", "output", "digest", "run", "gaps"), rows)


def _rows(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Join cells that are HTML already into a table."""
    lines = [
        "".join(f"<th>{name}</th>" for name in head),
        *("".join(f"<td>{c}</td>" for c in row) for row in rows),
    ]
    return "<table>" + "\n".join(f"<tr>{line}</tr>" for line in lines) + "</table>"
