"""The evaluation's page with its standing in it: the same page, and what the champion and earlier runs scored.

`report.html` is a hashed output and says nothing of the registry. This page is `<output>.report.html` beside it,
as `<output>.run.json` is beside the manifest.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from components.data.pictures_elsewhere import log_page
from components.evaluation.charts import draw_trend
from components.evaluation.comparison import cells_of
from components.evaluation.comparison_page import draw_differences
from components.evaluation.standing import Point, Standing, find_standing, keep_evaluation
from components.quality.pictures import data_uri
from components.settings import Settings
from components.tracking.commit import write_bytes
from components.tracking.runs import StageRun

TEMPLATE = Path(__file__).with_name("standing.html.j2")
PLACE = "<h2>By part</h2>"
FEWEST_DRAWN = 2


def record_standing(
    settings: Settings, run: StageRun, folder: Path, output: Path, *, stage: str, model_digest: str,
    withheld: Collection[str] = (),
) -> None:  # fmt: skip
    """Log an evaluation to its run, and write and log its page with the standing.

    Args:
        folder: what the evaluation wrote (`scores.json`, `predictions/`, `report.html`).
        output: where it will lie; the page is written beside that.
        withheld: sources whose pictures may not go into the run; the logged page then has none.

    A run without an id (another rank, or no store at all) keeps nothing.
    """
    if not run.run_id:
        return
    keep_evaluation(run, folder, model_digest=model_digest)
    standing = find_standing(settings, folder, stage=stage, model_digest=model_digest)
    page = with_standing((folder / "report.html").read_text(encoding="utf-8"), standing)
    path = output.with_name(f"{output.name}.report.html")
    write_bytes(path, page.encode())
    log_page(run, path, withheld)


def with_standing(report: str, standing: Standing) -> str:
    """Return the report with a section for the champion and one for earlier runs."""
    head, mark, tail = report.partition(PLACE)
    assert mark, "the report's template has lost the place of its standing"
    return f"{head}{render_standing(standing)}{mark}{tail}"


def render_standing(standing: Standing) -> str:
    """Return the two sections as HTML."""
    from jinja2 import Environment, StrictUndefined

    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    whole = [one for one in standing.compared if "/" not in one.benchmark and one.difference is not None]
    return page.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        standing=standing,
        compared=[(one, cells_of(one)) for one in standing.compared],
        chart=data_uri(draw_differences(whole)) if whole else "",
        trends={name: _drawn(points) for name, points in standing.trend.items()},
    )


def _drawn(points: Sequence[Point]) -> str:
    """Draw two points or more; one says nothing that the table does not."""
    if len(points) < FEWEST_DRAWN:
        return ""
    return data_uri(draw_trend([(point.value, point.low, point.high) for point in points]))
