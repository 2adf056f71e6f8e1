"""One pass over the record shards: each image is decoded once, and never again while its pixels stay the same.

What was measured is remembered by the hash of the pixels; a row group whose images are all known is not even read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.pairs.images import Measured, image_schema, measure
from components.tracking.tables import shards_below

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = (
    "record_id", "patient_key", "study_key", "source", "split", "sha256", "perceptual_hash", "width", "height",
    "rejected_reason",
)  # fmt: skip
KEPT = COLUMNS[:-1]
JOINED_GROUPS = 512  # row groups in one chunk of the table
Recall = Callable[[str], Measured | None]


def measure_images(records: Path, *, recall: Recall = lambda _: None) -> pa.Table:
    """Measure every image below a folder of record shards, in order; refused records and mere texts are left out.

    `recall` returns what is remembered of an image by the sha256 of its pixels, or None.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from rich.progress import track

    shards = shards_below(records)
    total = sum(pq.read_metadata(path).num_row_groups for path in shards)
    with ThreadPoolExecutor() as pool:
        groups = track(_row_groups(shards), description="images", total=total, transient=True)
        tables: list[pa.Table] = []
        small: list[pa.Table] = []
        for file, group in groups:
            small.append(_measured(file, group, pool, recall))
            if len(small) == JOINED_GROUPS:
                tables, small = [*tables, pa.concat_tables(small).combine_chunks()], []
    return pa.concat_tables([image_schema().empty_table(), *tables, *small])


def _row_groups(shards: list[Path]) -> Iterator[tuple[Any, int]]:
    import pyarrow.parquet as pq

    for path in shards:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                yield file, group


def _measured(file: Any, group: int, pool: ThreadPoolExecutor, recall: Recall) -> pa.Table:
    import pyarrow as pa

    rows = file.read_row_group(group, columns=list(COLUMNS)).to_pylist()
    kept = [place for place, row in enumerate(rows) if not row["rejected_reason"] and row["width"]]
    known = {place: _recalled(rows[place], recall) for place in kept}
    images: Any = ()
    if any(measured is None for measured in known.values()):
        images = file.read_row_group(group, columns=["image"])["image"]

    def look(place: int) -> Measured:
        measured, is_held_out = known[place], rows[place]["split"] != "train"
        return measured or measure(images[place].as_py() or b"", with_base=is_held_out)

    seen = zip(kept, pool.map(look, kept), strict=True)
    return pa.Table.from_pylist([_row(rows[place], measured) for place, measured in seen], schema=image_schema())


def _recalled(row: dict[str, Any], recall: Recall) -> Measured | None:
    measured = recall(row["sha256"])
    lacks_base = measured is not None and measured.thumbnail and not measured.base and row["split"] != "train"
    return None if lacks_base else measured


def _row(row: dict[str, Any], measured: Measured) -> dict[str, Any]:
    return {
        **{name: row[name] for name in KEPT}, "perceptual_hash": int(row["perceptual_hash"] or "0", 16),
        "entropy": measured.entropy, "brightness": measured.brightness, "thumbnail": measured.thumbnail,
        "base": measured.base,
    }  # fmt: skip
