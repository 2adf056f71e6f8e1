"""The comparison of two evaluations as one self-contained page: a table and differences with intervals."""

from __future__ import annotations

import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

from components.evaluation.comparison import (
    Compared,
    Evaluated,
    cells_of,
    compare_evaluations,
    print_comparison,
    read_evaluated,
)
from components.quality.pictures import data_uri
from components.tracking.commit import write_bytes

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1c2330}"
    "table{border-collapse:collapse;width:100%}td,th{padding:.25rem .6rem;text-align:left;"
    "border-bottom:1px solid #e8ebf0}img{max-width:100%}"
)
HEAD = ("score", "difference", "95 % interval", "p (Holm)", "n / patients", "verdict")


def run_compare(first: Path, second: Path, *, resamples: int, seed: int, page: Path | None = None) -> None:
    """Compare two evaluations' folders, print, and write the page if one is asked for."""
    one, other = read_evaluated(first), read_evaluated(second)
    found = compare_evaluations(one, other, resamples=resamples, seed=seed)
    print_comparison(found, one.name, other.name)
    if page is not None:
        write_page(page, found, one, other)
        print(f"written: {page}")


def write_page(path: Path, found: Sequence[Compared], first: Evaluated, second: Evaluated) -> None:
    """Write the page; it opens offline."""
    rows = [(f"{one.benchmark} {one.metric}", *cells_of(one)) for one in found]
    cells = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    table = "".join(f"<tr>{row}</tr>" for row in ("".join(f"<th>{name}</th>" for name in HEAD), *cells))
    title = f"{escape(first.name)} minus {escape(second.name)}"
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>"
        f"<h1>{title}</h1><p>Differences on the same items, patients kept whole; p by sign flips of whole "
        "patients, corrected by Holm over the groups of one breakdown. Other protocols are not compared.</p>"
        f'<p><img src="{data_uri(draw_differences(found))}" alt="differences with intervals"></p>'
        f"<table>{table}</table></html>\n"
    )
    write_bytes(path, page.encode())


def draw_differences(found: Sequence[Compared]) -> bytes:
    """Draw each difference with its interval as PNG (the same rows give the same bytes)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [(one, one.difference.interval) for one in found if one.difference is not None]
    figure = Figure(figsize=(8.0, 0.8 + 0.28 * len(shown)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for place, (one, interval) in enumerate(reversed(shown)):
        colour = "#b3261e" if one.differs else "#3b6fb6"
        axes.plot([interval.low, interval.high], [place, place], color=colour)
        axes.plot([interval.value], [place], "o", color=colour)
    axes.axvline(0.0, color="#5c6675", linewidth=0.8)
    axes.set_yticks(range(len(shown)), [f"{one.benchmark} {one.metric}" for one, _ in reversed(shown)], fontsize=7)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
