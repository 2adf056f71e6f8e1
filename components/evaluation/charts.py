"""The evaluation's pictures and plot files: bars with intervals, calibration, confusion. Same rows, same bytes."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.evaluation.exams import MODEL
from components.evaluation.items import YES_NO
from components.evaluation.metrics_choice import Bin, calibration_bins, calibration_gap
from components.records import Prediction

MOST_ANSWERS = 8
OTHER, UNREAD = "(other)", "(not read)"


def calibration(predictions: Sequence[Prediction]) -> list[dict[str, float]]:
    """Bin the model's chosen answers by confidence: mean confidence, accuracy and n of each bin in use."""
    rows = [row for row in predictions if row.system == MODEL and row.confidence >= 0]
    return [
        {"confidence": round(one.confidence, 6), "accuracy": round(one.accuracy, 6), "n": one.n}
        for one in calibration_bins([row.confidence for row in rows], [row.score for row in rows])
    ]


def calibration_error(bins: Sequence[Mapping[str, float]]) -> float:
    """Return the expected calibration error of bins as `calibration` makes them; 0 where there are none."""
    kept = [Bin(row["confidence"], row["accuracy"], int(row["n"])) for row in bins]
    return calibration_gap(kept) if kept else 0.0


def confusion(predictions: Sequence[Prediction]) -> list[tuple[str, str]]:
    """Return (gold, answered) of the model, the rarest answers gathered under one name."""
    rows = [row for row in predictions if row.system == MODEL]
    common = {gold for gold, _ in Counter(row.gold for row in rows).most_common(MOST_ANSWERS)}

    def named(text: str) -> str:
        return text if text in common else OTHER

    return [(named(row.gold), named(row.parsed_answer) if row.is_parsed else UNREAD) for row in rows]


def draw_scores(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Draw values with intervals, majority and blind as marks, as PNG."""
    names = [f"{row['benchmark']} {row['metric']}" for row in rows]
    width = max(8.0, 5.0 + 0.06 * max(map(len, names), default=0))  # inches; a letter of 7 points takes 0.06
    figure, axes = _figure(width, max(2.0, 0.8 + 0.32 * len(rows)))  # the legend's four lines need their place
    places = [len(rows) - index for index in range(len(rows))]
    values = [row["value"] for row in rows]
    low = [max(0.0, row["value"] - row["low"]) for row in rows]
    high = [max(0.0, (row["value"] if row["high"] is None else row["high"]) - row["value"]) for row in rows]
    axes.barh(places, values, xerr=[low, high], color="#3b6fb6", ecolor="#1c2330", height=0.62, capsize=2.5)
    marks: list[float] = []
    for name, mark, colour in (
        ("baseline", "D", "#c58b1b"),
        ("blind", "o", "#b3261e"),
        ("text_only", "x", "#1c2330"),
        ("random", "|", "#5c6675"),
    ):
        seen = [(row[name], place) for row, place in zip(rows, places, strict=True) if row.get(name) is not None]
        label = "majority" if name == "baseline" else name.replace("_", " ")
        across, down = [value for value, _ in seen], [place for _, place in seen]
        axes.plot(across, down, mark, color=colour, label=label, clip_on=False)
        marks += across
    axes.set_yticks(places, names, fontsize=7)
    axes.set_xlim(0, max([1.0, *values, *marks]))  # a baseline may lie beyond: CIDEr has no upper end
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1.0))  # beside the bars, over none of them
    return _png(figure)


def draw_trend(points: Sequence[tuple[float, float, float]]) -> bytes:
    """Draw (value, low, high) of runs in their order, as PNG."""
    figure, axes = _figure(8.0, 2.2)
    values, low, high = (np.array(column) for column in zip(*points, strict=True))
    places = np.arange(len(points))
    axes.fill_between(places, low, high, color="#3b6fb6", alpha=0.18, linewidth=0)
    axes.plot(places, values, "o-", color="#3b6fb6", markersize=4)
    axes.set_xticks(places, [str(place + 1) for place in places], fontsize=7)
    axes.set(xlabel="run, eldest first", ylim=(min(0.0, float(low.min())), max(1.0, float(high.max()))))
    return _png(figure)


def draw_calibration(bins: Sequence[Mapping[str, float]]) -> bytes:
    """Draw accuracy over confidence with the diagonal, the size of a dot by n."""
    figure, axes = _figure(4.2, 3.8)
    axes.plot([0, 1], [0, 1], color="#5c6675", linewidth=0.8)
    axes.scatter(
        [row["confidence"] for row in bins], [row["accuracy"] for row in bins],
        s=[12 + 2 * row["n"] for row in bins], color="#3b6fb6", alpha=0.8,
    )  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy")
    return _png(figure)


def draw_confusion(pairs: Sequence[tuple[str, str]]) -> bytes:
    """Draw gold (rows) against answered (columns) with counts."""
    golds, answers = (sorted({pair[side] for pair in pairs}) for side in (0, 1))
    counts = Counter(pairs)
    table = np.array([[counts[gold, answer] for answer in answers] for gold in golds])
    figure, axes = _figure(2.2 + 0.5 * len(answers), 1.6 + 0.36 * len(golds))
    axes.imshow(
        table / np.maximum(table.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1, aspect="auto"
    )
    for (row, column), count in np.ndenumerate(table):
        if count:
            axes.text(column, row, str(count), ha="center", va="center", fontsize=7)
    axes.set_xticks(
        range(len(answers)), [_drawable(name) for name in answers], fontsize=7, rotation=40, ha="right"
    )
    axes.set_yticks(range(len(golds)), [_drawable(name) for name in golds], fontsize=7)
    axes.set(xlabel="answered", ylabel="gold")
    return _png(figure)


def _drawable(name: str) -> str:
    """Cut a name to a label's length; Chinese yes and no in words, for the charts' font has no such signs."""
    words = {chinese: f"{english} (zh)" for chinese, english in zip(YES_NO["zh"], YES_NO["en"], strict=True)}
    return words.get(name, name)[:18]


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def plot_files(predictions: Sequence[Prediction], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `dvc plots` shows, by file name: rows of plain values."""
    closed = [row for row in predictions if row.confidence >= 0]
    numbers = ("value", "low", "high", "baseline", "n")
    return {
        "scores.json": [
            {"score": f"{row['benchmark']} {row['metric']}", **{name: row[name] for name in numbers}}
            for row in metrics["scores"]
        ],
        "calibration.json": calibration(closed),
        "confusion.json": [{"gold": gold, "answered": answer} for gold, answer in confusion(closed)],
    }
