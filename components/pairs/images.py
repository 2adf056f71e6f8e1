"""Facts of each record's image that curation needs: size, grey-level entropy, hashes; one pass over the bytes."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.tracking.tables import ROW_GROUP_ROWS, iterate_rows, shards_below

COLUMNS = (
    "record_id", "patient_key", "split", "sha256", "perceptual_hash", "width", "height", "image",
    "rejected_reason",
)  # fmt: skip
UNDECODABLE = -1.0


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """One image; `entropy` is in bits of grey level, 0-8, or -1 where the bytes do not decode."""

    record_id: str
    patient_key: str
    split: str
    sha256: str
    perceptual_hash: int
    width: int
    height: int
    entropy: float


def measure_images(records: Path) -> list[ImageFacts]:
    """Measure every image below a folder of record shards, in the shards' order."""
    from concurrent.futures import ThreadPoolExecutor

    import pyarrow.parquet as pq
    from rich.progress import track

    total = sum(pq.read_metadata(path).num_rows for path in shards_below(records))
    rows = track(iterate_rows(records, COLUMNS), description="images", total=total, transient=True)
    kept = (row for row in rows if not row["rejected_reason"])
    with ThreadPoolExecutor() as pool:
        return [facts for batch in _batches(kept) for facts in pool.map(_measure, batch)]


def _batches(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Group rows, so that no more than one batch of images is in memory (Executor.map reads all at once)."""
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) >= ROW_GROUP_ROWS:
            yield batch
            batch = []
    yield batch


def _measure(row: dict[str, Any]) -> ImageFacts:
    return ImageFacts(
        row["record_id"], row["patient_key"], row["split"], row["sha256"], int(row["perceptual_hash"] or "0", 16),
        row["width"], row["height"], grey_entropy(row["image"]),
    )  # fmt: skip


def grey_entropy(content: bytes) -> float:
    """Return the entropy of an image's grey levels in bits, 0-8; UNDECODABLE when it is no image."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as picture:
            histogram = np.asarray(picture.convert("L").histogram(), dtype=np.float64)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        return UNDECODABLE
    shares = histogram[histogram > 0] / histogram.sum()
    return float(round(max(0.0, -(shares * np.log2(shares)).sum()), 4))


def quality_reason(facts: ImageFacts, *, min_side: int, max_aspect: float, min_entropy: float) -> str:
    """Return why an image is refused (sides in pixels, entropy in bits), or ""."""
    short, long = sorted((facts.width, facts.height))
    if facts.entropy == UNDECODABLE:
        return "image_undecodable"
    if short < min_side:
        return "image_too_small"
    if long > max_aspect * short:
        return "image_aspect_extreme"
    return "image_blank" if facts.entropy < min_entropy else ""
