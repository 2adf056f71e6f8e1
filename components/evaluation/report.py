"""The evaluation's page: scores with intervals and baselines, a chart, best and worst items with pictures."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.evaluation.answers import parse_boxes
from components.evaluation.exams import BLIND, MODEL, Exam
from components.evaluation.items import Answer, Item
from components.quality.pictures import GOLD_COLOUR, PREDICTED_COLOUR, data_uri, draw_boxes, open_rgb, png_bytes
from components.records import Prediction

TEMPLATE = Path(__file__).with_name("report.html.j2")
NUM_SHOWN = 6
PLACEHOLDER = "<image>"


@dataclass(frozen=True)
class Shown:
    """One item in the report, with the model's and the blind system's answers."""

    item: Item
    question: str
    model: str
    blind: str
    score: float
    picture: str


def render_report(
    exams: Sequence[Exam],
    predictions: Sequence[Prediction],
    metrics: Mapping[str, Any],
    images: Mapping[str, bytes],
) -> str:
    """Return the page; it depends on its arguments alone and opens offline."""
    from jinja2 import Environment, StrictUndefined

    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    whole = [row for row in metrics["scores"] if "/" not in row["benchmark"]]
    parts = [row for row in metrics["scores"] if "/" in row["benchmark"]]
    sections = [(exam.benchmark, *best_and_worst(exam, predictions, images)) for exam in exams]
    return page.from_string(TEMPLATE.read_text()).render(
        gap=metrics["image_minus_blind"],
        no_blind=metrics["details"]["no_blind"],
        split=metrics["split"],
        whole=whole,
        parts=parts,
        chart=data_uri(draw_scores(whole)),
        chart_parts=data_uri(
            draw_scores([row for row in parts if row["benchmark"].startswith("closed")] or whole)
        ),
        sections=sections,
    )


def best_and_worst(
    exam: Exam, predictions: Sequence[Prediction], images: Mapping[str, bytes]
) -> tuple[list[Shown], list[Shown]]:
    """Return the items answered best (the blind system worst first) and worst (most confident first)."""
    metric = exam.benchmark.metrics[0]
    mine = [row for row in predictions if row.benchmark == exam.benchmark.name and row.metric == metric]
    score = {(row.system, row.item_id): row.score for row in mine}
    sure = {row.item_id: row.confidence for row in mine if row.system == MODEL}
    place = {item.item_id: index for index, item in enumerate(exam.items)}
    blind = {name: score.get((BLIND, name), 0.0) for name in place}
    best = sorted(place, key=lambda name: (-score[MODEL, name], blind[name], name))[:NUM_SHOWN]
    worst = sorted(place, key=lambda name: (score[MODEL, name], -sure[name], name))[:NUM_SHOWN]
    return (
        [_shown(exam, place[name], score[MODEL, name], images) for name in best],
        [_shown(exam, place[name], score[MODEL, name], images) for name in worst],
    )


def _shown(exam: Exam, index: int, score: float, images: Mapping[str, bytes]) -> Shown:
    item, answer = exam.items[index], exam.answers[MODEL][index]
    question = item.question.replace(PLACEHOLDER, "").strip()
    picture = data_uri(draw_item(item, answer, images))
    blind = exam.no_blind or exam.answers[BLIND][index].text
    return Shown(item, question, answer.text, blind, score, picture)


def draw_item(item: Item, answer: Answer, images: Mapping[str, bytes]) -> bytes:
    """Return the item's first image as PNG with gold and predicted boxes drawn."""
    groups = [(item.boxes, GOLD_COLOUR), (parse_boxes(answer.text) if item.boxes else (), PREDICTED_COLOUR)]
    return png_bytes(draw_boxes(open_rgb(images[item.record_ids[0]]), groups))


def sample_pictures(exams: Sequence[Exam], images: Mapping[str, bytes], *, number: int = 4) -> dict[str, bytes]:
    """Return a few items' pictures by file name, the first of each benchmark."""
    return {
        f"{exam.benchmark.name}-{item.item_id[:12]}.png": draw_item(item, answer, images)
        for exam in exams
        for item, answer in list(zip(exam.items, exam.answers[MODEL], strict=True))[:number]
    }


def draw_scores(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Draw values with intervals, majority and blind as marks, as PNG (the same rows give the same bytes)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 0.8 + 0.32 * len(rows)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    places = [len(rows) - index for index in range(len(rows))]
    values = [row["value"] for row in rows]
    low = [max(0.0, row["value"] - row["low"]) for row in rows]
    high = [max(0.0, row["high"] - row["value"]) for row in rows]
    axes.barh(places, values, xerr=[low, high], color="#3b6fb6", ecolor="#1c2330", height=0.62, capsize=2.5)
    axes.plot([row["baseline"] for row in rows], places, "D", color="#c58b1b", label="majority")
    seen = [(row["blind"], place) for row, place in zip(rows, places, strict=True) if row["blind"] is not None]
    axes.plot([blind for blind, _ in seen], [place for _, place in seen], "o", color="#b3261e", label="blind")
    axes.set_yticks(places, [f"{row['benchmark']} {row['metric']}" for row in rows], fontsize=7)
    axes.set_xlim(0, 1)
    axes.legend(fontsize=7, loc="lower right")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
