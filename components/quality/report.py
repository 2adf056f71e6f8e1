"""The gate's page: verdicts, counts, distributions and pictures in one file that opens offline."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.quality.drift import Drift
from components.quality.pictures import GOLD_COLOUR, data_uri, draw_boxes, open_rgb, png_bytes
from components.quality.provenance import Provenance
from components.quality.suite import Expectation, Outcome
from components.tracking.lookup import rows_by_id

TEMPLATE = Path(__file__).with_name("report.html.j2")
DISTRIBUTIONS = ("split", "kind", "modality", "language", "department", "task", "source")
MAX_SHOWN = 12


@dataclass(frozen=True)
class Card:
    """One pair in the report: its text, and its first image with the gold boxes drawn ("" when there is none)."""

    pair_id: str
    caption: str
    turns: Sequence[Mapping[str, str]]
    picture: str = ""
    failed: Sequence[str] = field(default=())


def render_report(
    *,
    suite: Sequence[Expectation],
    outcomes: Sequence[Outcome],
    counts: Mapping[str, Mapping[str, Mapping[str, int]]],
    shares: Mapping[str, float],
    samples: Sequence[Card],
    failing: Sequence[Card],
    drifts: Sequence[Drift] = (),
    provenance: Provenance | None = None,
) -> str:
    """Return the page; it depends on its arguments alone.

    `counts` is {column: {split: {value: pairs}}}, `shares` the rejected share of each earlier stage.
    """
    from jinja2 import Environment, StrictUndefined

    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    meanings = {expectation.name: expectation.meaning for expectation in suite}
    return page.from_string(TEMPLATE.read_text()).render(
        passed=all(outcome.passed for outcome in outcomes),
        rows=[(outcome, meanings[outcome.name]) for outcome in outcomes],
        bars={name: bar_rows(by_split) for name, by_split in counts.items()},
        shares=dict(shares),
        samples=samples,
        failing=failing,
        drifts=drifts,
        provenance=provenance or Provenance((), {}, {}),
    )


def bar_rows(by_split: Mapping[str, Mapping[str, int]]) -> list[dict[str, Any]]:
    """Turn {split: {value: count}} into rows for stacked bars, widest first, widths in percent of the widest."""
    totals: dict[str, int] = {}
    for values in by_split.values():
        for value, count in values.items():
            totals[value] = totals.get(value, 0) + count
    widest = max(totals.values(), default=1)
    rows = []
    for value in sorted(totals, key=lambda name: (-totals[name], name)):
        parts, offset = [], 0.0
        for split in sorted(by_split):
            width = 100.0 * by_split[split].get(value, 0) / widest
            parts.append({"split": split, "offset": round(offset, 3), "width": round(width, 3)})
            offset += width
        rows.append({"value": value or "(empty)", "total": totals[value], "parts": parts})
    return rows


def make_cards(
    curated: Path, records: Path, pair_ids: Sequence[str], *, failed: Mapping[str, Collection[str]] | None = None
) -> list[Card]:
    """Read some pairs and their first images; `failed` maps a pair id to the expectations it fails."""
    columns = ["record_ids", "kind", "modality", "split", "source", "conversations", "boxes"]
    pairs = rows_by_id(curated, pair_ids, columns, key="pair_id")
    first = {row["record_ids"][0] for row in pairs.values() if row["record_ids"]}
    images = rows_by_id(records, first, ["image"])
    known = [pair_id for pair_id in dict.fromkeys(pair_ids) if pair_id in pairs]
    return [_card(pairs[pair_id], images, sorted((failed or {}).get(pair_id, ()))) for pair_id in known]


def _card(pair: Mapping[str, Any], images: Mapping[str, Any], failed: Sequence[str]) -> Card:
    caption = " · ".join(str(pair[name]) for name in ("kind", "modality", "split", "source"))
    record_ids = pair["record_ids"] or [""]
    picture = _picture(images.get(record_ids[0], {}).get("image"), pair["boxes"] or ())
    return Card(pair["pair_id"], caption, pair["conversations"] or (), picture, failed)


def _picture(content: bytes | None, boxes: Sequence[Any]) -> str:
    if not content:
        return ""
    try:
        picture = open_rgb(content)
    except OSError:
        return ""
    whole = [tuple(box) for box in boxes if len(box) == 4]
    return data_uri(png_bytes(draw_boxes(picture, [(whole, GOLD_COLOUR)])))
