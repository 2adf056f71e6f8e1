"""One picture of what ingest made: a few images of each source with their boxes, labels and sides."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from components.data.image import decode, encode_png
from components.records import NOT_STATED, Record, record_from_row
from components.tracking.tables import iterate_rows

CELL = 256
CAPTION = 44
PER_SOURCE = 4
MAX_BOXES = 6
COLOURS = ("#ff5f5f", "#5fd7ff", "#ffd75f", "#87ff5f", "#d787ff", "#ffaf5f")


def pick_records(folder: Path, count: int = PER_SOURCE) -> list[Record]:
    """Take evenly spaced records of one source, of those that are images."""
    ids = [row["record_id"] for row in iterate_rows(folder, ["record_id", "width"]) if row["width"]]
    step = max(1, len(ids) // count)
    wanted = set(ids[step // 2 :: step][:count])
    return [record_from_row(row) for row in iterate_rows(folder) if row["record_id"] in wanted]


def draw_contact_sheet(records: Path, *, per_source: int = PER_SOURCE, without: Collection[str] = ()) -> bytes:
    """Return a PNG with one row a source folder below `records`, but those named in `without`."""
    folders = sorted(path for path in records.iterdir() if path.is_dir() and path.name not in without)
    return draw_rows([pick_records(folder, per_source) for folder in folders])


def draw_rows(rows: Sequence[Sequence[Record]]) -> bytes:
    """Return a PNG of records, one row of cells a row of records."""
    import numpy as np
    from PIL import Image

    width = max((len(row) for row in rows), default=1) or 1
    sheet = Image.new("RGB", (width * CELL, max(1, len(rows)) * (CELL + CAPTION)))
    for line, row in enumerate(rows):
        for column, record in enumerate(row):
            cell = Image.fromarray(draw_record(record))
            sheet.paste(cell, (column * CELL, line * (CELL + CAPTION)))
    return encode_png(np.asarray(sheet))


def draw_record(record: Record) -> Any:
    """Return one cell as pixels (CELL + CAPTION, CELL, 3): the image, its largest boxes and what is said of it."""
    import numpy as np
    from PIL import Image, ImageDraw

    cell = Image.new("RGB", (CELL, CELL + CAPTION))
    picture = Image.fromarray(decode(record.image))
    scale = CELL / max(picture.size)
    picture = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
    cell.paste(picture, (0, 0))
    pen = ImageDraw.Draw(cell)
    largest = sorted(record.regions, key=lambda region: -region.area_fraction)[:MAX_BOXES]
    for region, colour in zip(largest, COLOURS, strict=False):
        left, top, right, bottom = region.box
        x, y = left * picture.width, top * picture.height
        pen.rectangle((x, y, right * picture.width - 1, bottom * picture.height - 1), outline=colour)
        pen.text((x + 2, y + 1), _named(region.label, region.side), fill=colour)
    pen.text((2, CELL + 2), f"{record.source} {record.split}", fill="white")
    pen.text(
        (2, CELL + 14), f"{record.modality}, {record.body_part}, {record.plane}, {record.window}", fill="#bbbbbb"
    )
    pen.text((2, CELL + 26), record.comparison or ", ".join(record.labels) or record.text[:40], fill="#bbbbbb")
    return np.asarray(cell)


def _named(label: str, side: str) -> str:
    return label if side == NOT_STATED else f"{side[0].upper()} {label}"
