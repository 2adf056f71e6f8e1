"""The evaluation's page: scores with intervals and baselines, a chart, best and worst items with pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.evaluation.answers import parse_boxes
from components.evaluation.attention import HeatMap
from components.evaluation.charts import (
    calibration,
    calibration_error,
    confusion,
    draw_calibration,
    draw_confusion,
    draw_scores,
)
from components.evaluation.exams import BLIND, MODEL, Exam
from components.evaluation.items import Answer, Benchmark, Item
from components.evaluation.references import Reference, references_of
from components.quality.pictures import GOLD_COLOUR, PREDICTED_COLOUR, data_uri, draw_boxes, open_rgb, png_bytes
from components.records import Prediction

if TYPE_CHECKING:
    from PIL.Image import Image as PictureType

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
    heat: Sequence[HeatMap] = (),
) -> str:
    """Return the page; it depends on its arguments alone and opens offline."""
    from jinja2 import Environment, StrictUndefined

    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    whole = [row for row in metrics["scores"] if "/" not in row["benchmark"]]
    parts = [row for row in metrics["scores"] if "/" in row["benchmark"]]
    return page.from_string(TEMPLATE.read_text()).render(
        gap=metrics["image_minus_blind"],
        details=metrics["details"],
        split=metrics["split"],
        whole=whole,
        parts=parts,
        chart=data_uri(draw_scores([row for row in whole if row["value"] <= 1])),
        sections=[_section(exam, predictions, parts, images, heat) for exam in exams],
    )


@dataclass(frozen=True)
class Section:
    """One benchmark in the report; a chart is "" where there is nothing to draw."""

    benchmark: Benchmark
    best: list[Shown]
    worst: list[Shown]
    parts: str
    calibration: str
    calibration_error: float
    confusion: str
    references: list[Reference]
    heat: list[HeatMap]


def _section(
    exam: Exam,
    predictions: Sequence[Prediction],
    parts: Sequence[Mapping[str, Any]],
    images: Mapping[str, bytes],
    heat: Sequence[HeatMap],
) -> Section:
    name = exam.benchmark.name
    mine = [row for row in predictions if row.benchmark == name and row.metric == exam.benchmark.metrics[0]]
    own = [row for row in parts if row["benchmark"].split("/")[0] == name and row["value"] <= 1]
    bins = calibration(mine)
    offered = {item.item_id for item in exam.items if item.options}
    pairs = confusion([row for row in mine if row.item_id in offered])
    return Section(
        exam.benchmark,
        *best_and_worst(exam, predictions, images),
        data_uri(draw_scores(own)) if own else "",
        data_uri(draw_calibration(bins)) if bins else "",
        calibration_error(bins),
        data_uri(draw_confusion(pairs)) if pairs else "",
        references_of(name),
        [one for one in heat if one.benchmark == name],
    )


def best_and_worst(
    exam: Exam, predictions: Sequence[Prediction], images: Mapping[str, bytes]
) -> tuple[list[Shown], list[Shown]]:
    """Return the items answered best (the blind system worst first) and worst (most confident first)."""
    metric = exam.benchmark.metrics[0]
    mine = [row for row in predictions if row.benchmark == exam.benchmark.name and row.metric == metric]
    score = {(row.system, row.item_id): row.score for row in mine}
    sure = {row.item_id: row.confidence for row in mine if row.system == MODEL}
    place = {item.item_id: index for index, item in enumerate(exam.items) if (MODEL, item.item_id) in score}
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
    if not item.record_ids:
        return png_bytes(blank())
    groups = [(item.boxes, GOLD_COLOUR), (parse_boxes(answer.text) if item.boxes else (), PREDICTED_COLOUR)]
    return png_bytes(draw_boxes(open_rgb(images[item.record_ids[0]]), groups))


def blank() -> PictureType:
    """Return a grey field, for items without an image."""
    from PIL import Image

    return Image.new("RGB", (64, 64), (230, 230, 230))


def sample_pictures(exams: Sequence[Exam], images: Mapping[str, bytes], *, number: int = 4) -> dict[str, bytes]:
    """Return a few items' pictures by file name, the first of each benchmark."""
    return {
        f"{exam.benchmark.name}-{item.item_id[:12]}.png": draw_item(item, answer, images)
        for exam in exams
        for item, answer in list(zip(exam.items, exam.answers[MODEL], strict=True))[:number]
    }
