"""One self-contained HTML page of sample pairs: picture, boxes, question, answer, and the parse-back's verdict."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

from components.pairs.claims import parse_boxes
from components.records import Box, Pair, pair_from_row
from components.tracking.tables import iterate_rows, shards_below

MOST_ITEMS = 24
IMAGES_A_SOURCE = 60
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Sample pairs</title><style>
body{font:15px/1.45 system-ui,sans-serif;margin:2rem;background:#f6f7f9;color:#1b1f24}
main{display:grid;grid-template-columns:repeat(auto-fill,minmax(330px,1fr));gap:1rem}
article{background:#fff;border:1px solid #d9dee4;border-radius:8px;padding:.8rem}
.pictures{display:flex;gap:.4rem}.picture{position:relative;flex:1;background:#000;line-height:0}
.picture img{width:100%;image-rendering:auto}.picture svg{position:absolute;inset:0;width:100%;height:100%}
rect{fill:none;stroke:#ffd400;stroke-width:.008}.meta{color:#5a6572;font-size:12.5px}
.ok{color:#0a7a3d}.bad{color:#b3261e}p{margin:.4rem 0;overflow-wrap:anywhere}</style>
<h1>Sample pairs</h1><p class="meta">{{ items|length }} pairs over all sources and kinds.</p><main>
{% for item in items %}<article><div class="pictures">{% for picture in item.pictures %}
<div class="picture"><img alt="" src="data:image/png;base64,{{ picture }}">
<svg viewBox="0 0 1 1" preserveAspectRatio="none">{% for box in item.boxes %}
<rect x="{{ box[0] }}" y="{{ box[1] }}" width="{{ box[2] - box[0] }}" height="{{ box[3] - box[1] }}"/>{% endfor %}</svg></div>
{% endfor %}</div><p class="meta">{{ item.pair.source }} · {{ item.pair.kind }} · {{ item.pair.question_type }} ·
{{ item.pair.language }} · {{ item.pair.split }} · {{ item.pair.pair_id }}</p>
<p><b>Q</b> {{ item.question }}</p><p><b>A</b> {{ item.text }}</p>
<p class="{{ 'bad' if item.pair.rejected_reason else 'ok' }}">{{ item.pair.rejected_reason or 'read back: agrees with the annotation' }}</p>
</article>{% endfor %}</main></html>"""  # noqa: E501


@dataclass(frozen=True, slots=True)
class Item:
    """One pair as the page shows it; pictures are base64 text."""

    pair: Pair
    pictures: tuple[str, ...]
    boxes: tuple[Box, ...]

    @property
    def question(self) -> str:
        """The human turn without its placeholders."""
        return self.pair.conversations[0].value.replace("<image>\n", "")

    @property
    def text(self) -> str:
        """The assistant's turn."""
        return self.pair.conversations[-1].value


def write_preview(records: Path, pairs: Path, page: Path, *, without: Collection[str] = ()) -> Path:
    """Write the page from the first rows of each source's records and their pairs; return its path.

    Pairs of the sources named in `without` are left out.
    """
    images = _some_images(records)
    kept = (pair for pair in _all_pairs(pairs) if pair.source not in without)
    shown = (pair for pair in kept if set(pair.record_ids) <= images.keys())
    items = [_item(pair, images) for pair in choose(shown, MOST_ITEMS)]
    page.write_text(render(items), encoding="utf-8")
    return page


def choose(pairs: Iterable[Pair], most: int) -> list[Pair]:
    """Choose pairs evenly over (kind, source), by smallest pair id in each; refused ones first."""
    groups: dict[tuple[bool, str, str], list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[not pair.rejected_reason, pair.kind, pair.source].append(pair)
    ranked = [sorted(groups[key], key=lambda pair: pair.pair_id) for key in sorted(groups)]
    rounds = (pair for row in zip_longest(*ranked) for pair in row if pair is not None)
    return list(islice(rounds, most))


def render(items: Sequence[Item]) -> str:
    """Render the page; every text is escaped."""
    import jinja2

    environment = jinja2.Environment(autoescape=True)
    return environment.from_string(PAGE).render(items=items)


def _item(pair: Pair, images: dict[str, bytes]) -> Item:
    pictures = tuple(base64.b64encode(images[record_id]).decode() for record_id in pair.record_ids)
    boxes = [box for turn in pair.conversations for box in parse_boxes(turn.value)]
    return Item(pair, pictures, tuple(boxes))


def _some_images(records: Path) -> dict[str, bytes]:
    """Read the first pictures of each folder of shards, so that the cost does not grow with the corpus."""
    folders = sorted({shard.parent for shard in shards_below(records)})
    rows = (row for folder in folders for row in _first_rows(folder))
    return {row["record_id"]: row["image"] for row in rows}


def _first_rows(folder: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    first = sorted(folder.glob("part-*.parquet"))[0]
    with pq.ParquetFile(first) as file:
        if not file.num_row_groups:
            return []
        rows = file.read_row_group(0, columns=["record_id", "image"]).to_pylist()
    step = max(1, len(rows) // IMAGES_A_SOURCE)
    return rows[::step][:IMAGES_A_SOURCE]


def _all_pairs(pairs: Path) -> Iterable[Pair]:
    import pyarrow.parquet as pq

    yield from (pair_from_row(row) for row in iterate_rows(pairs))
    rejected = pairs / "rejected.parquet"
    if rejected.is_file():
        yield from (pair_from_row(row) for row in pq.read_table(rejected).to_pylist())
