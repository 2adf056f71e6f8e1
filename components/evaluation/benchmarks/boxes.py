"""Where is it: boxes written as text are read back and laid over the gold boxes."""

from __future__ import annotations

from components.evaluation.answers import parse_boxes, write_boxes
from components.evaluation.baselines import mean_box
from components.evaluation.items import (
    Answer,
    Benchmark,
    BenchmarkCard,
    Item,
    Judgement,
    as_asked,
)
from components.evaluation.metrics import matched_iou

HIT = 0.5


def _takes(item: Item) -> bool:
    return item.question_type == "box" and bool(item.boxes)


def _score(answer: Answer, item: Item) -> Judgement:
    boxes = parse_boxes(answer.text)
    overlap = matched_iou(boxes, item.boxes)
    scores = {"mean_iou": overlap, "iou_at_50": float(overlap >= HIT)}
    return Judgement(write_boxes(boxes) if boxes else "", bool(boxes), scores)


BENCHMARK = Benchmark(
    name="boxes",
    version=1,
    card=BenchmarkCard(
        title="Boxes of named structures on held-out patients",
        measures="mean intersection over union, and the share of answers with at least 0.5",
        dataset="curated pairs that ask for a box",
        citation="this project; the written form of a box: GMAI-VL, arXiv 2411.14522",
        licence="that of each source",
        known_limits="reference boxes of the sample corpus are partly machine-made",
    ),
    answering="text",
    budget="boxes",
    metrics=("mean_iou", "iou_at_50"),
    takes=_takes,
    prompt=as_asked,
    score=_score,
    majority=mean_box,
)
