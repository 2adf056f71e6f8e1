"""Detection on any box-annotated source: every named structure of an image, and one that is not there.

Beside the boxes of one label at a time, each image whose annotation is complete is asked for one label that it
does not show; the right answer is then "none" and no box.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from components.evaluation.answers import is_none_found, parse_boxes, write_boxes
from components.evaluation.baselines import mean_box
from components.evaluation.ingested import NAMES, OBTAIN, PARTS, questions_of, record_item
from components.evaluation.items import (
    Answer,
    Benchmark,
    BenchmarkCard,
    CorpusMetric,
    Item,
    Judged,
    Judgement,
    Publication,
    Question,
    Refused,
    as_asked,
    of_source,
)
from components.evaluation.metrics import matched_iou
from components.evaluation.metrics_boxes import (
    COCO_THRESHOLDS,
    TOLERANCE,
    Detection,
    centre,
    is_pointing_hit,
    mean_average_precision,
)
from components.records import Box, Record, stable_id

NAME = "detection"
HIT = 0.5
DIGITS = 6
QUESTION = (
    "Find every {label} in this image. Answer with boxes [left, top, right, bottom] as shares of the width and "
    "height, such as [[0.18, 0.16, 0.50, 0.43]], or with none."
)


def _read(folder: Path, split: str) -> Iterator[Question | Refused]:
    yield from questions_of(folder, split, _items)


def _items(record: Record) -> Iterator[Item]:
    found: defaultdict[str, list[Box]] = defaultdict(list)
    for region in record.regions:
        found[region.label].append(_exact(region.box))
    for label, boxes in sorted(found.items()):
        yield _item(record, label, tuple(boxes))
    absent = sorted(set(record.region_vocabulary) - found.keys()) if record.regions_complete else []
    if absent:
        label = min(absent, key=lambda name: stable_id("absent", record.record_id, name))
        yield _item(record, label, ())


def _exact(box: Box) -> Box:
    """Undo the storage's float32, by which a box that covers exactly half would miss the threshold."""
    left, top, right, bottom = (round(value, DIGITS) for value in box)
    return left, top, right, bottom


def _item(record: Record, label: str, boxes: tuple[Box, ...]) -> Item:
    return record_item(
        record, stable_id(record.record_id, label), QUESTION.format(label=label), benchmark=NAME, kind="percept",
        gold=write_boxes(boxes) if boxes else "none", facts={"label": label}, question_type=label, boxes=boxes,
    )  # fmt: skip


def _score(answer: Answer, item: Item) -> Judgement:
    boxes = parse_boxes(answer.text)
    nothing = not boxes and is_none_found(answer.text)
    parsed = write_boxes(boxes) if boxes else "none" if nothing else ""
    if not item.boxes:
        return Judgement(parsed, bool(parsed), {"mean_iou": float(nothing), "absent_accuracy": float(nothing)})
    overlap = matched_iou(boxes, item.boxes)
    pointed = bool(boxes) and is_pointing_hit(centre(boxes[0]), item.boxes)
    scores = {
        "mean_iou": overlap,
        "iou_at_50": float(overlap >= HIT - TOLERANCE),
        "pointing_accuracy": float(pointed),
    }
    return Judgement(parsed, bool(parsed), scores)


def _map(judged: Sequence[Judged], thresholds: Sequence[float]) -> float:
    gold: defaultdict[str, dict[str, Sequence[Box]]] = defaultdict(dict)
    said: defaultdict[str, list[Detection]] = defaultdict(list)
    for number, row in enumerate(judged):  # a place in the answer outweighs any confidence of the whole (0-1)
        label, image = row.item.fact("label"), f"{row.item.record_ids[0]}#{number}"
        gold[label][image] = row.item.boxes
        boxes = parse_boxes(row.answer.text)
        said[label].extend(Detection(image, box, row.answer.confidence - rank) for rank, box in enumerate(boxes))
    return mean_average_precision(said, gold, thresholds=thresholds)


def _map_50(judged: Sequence[Judged]) -> float:
    return _map(judged, (HIT,))


def _map_50_95(judged: Sequence[Judged]) -> float:
    return _map(judged, COCO_THRESHOLDS)


BENCHMARK = Benchmark(
    name=NAME,
    version=2,
    card=BenchmarkCard(
        title="Detection on a box-annotated source",
        measures="matched IoU, the share with at least 0.5, pointing by the first box's centre, mAP over labels",
        dataset="any ingested source with regions",
        citation="average precision: PASCAL VOC 2010 and COCO; pointing game: Zhang et al., IJCV 2018",
        licence="that of the source",
        known_limits="average precision is the all-point one, over one label at a time; boxes in text carry no "
        "confidence: their place in the answer stands for it, so that first boxes rank before second ones; "
        "reference boxes may be machine-made",
    ),
    answering="text",
    budget="boxes",
    metrics=("mean_iou", "iou_at_50", "pointing_accuracy", "absent_accuracy"),
    corpus_metrics=(CorpusMetric("map_50", _map_50), CorpusMetric("map_50_95", _map_50_95)),
    takes=of_source(NAME),
    prompt=as_asked,
    score=_score,
    majority=mean_box,
    publication=Publication(splits=NAMES, files=PARTS, read=_read, obtain=OBTAIN),
)
