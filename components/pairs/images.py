"""Facts of each record's image that curation needs: size, grey-level entropy, hashes, small pictures.

They are held as one Arrow table, a row an image; `ImageFacts` is one of its rows.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from components.pairs.dedupe import Reasons, no_reasons
from components.pairs.fingerprint import base_of, thumbnail_of

if TYPE_CHECKING:
    import pyarrow as pa

UNDECODABLE = -1.0


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """One image; `entropy` is in bits of grey level, 0-8, or -1 where the bytes do not decode.

    `brightness` is the mean grey level, 0-1. `thumbnail` is 16 x 16 and `base` 48 x 48
    grey bytes; only a held-out image has a base.
    """

    record_id: str
    patient_key: str
    split: str
    sha256: str
    perceptual_hash: int
    width: int
    height: int
    entropy: float
    study_key: str = ""
    source: str = ""
    brightness: float = 0.0
    thumbnail: bytes = b""
    base: bytes = b""


@dataclass(frozen=True, slots=True)
class Measured:
    """What the bytes of an image tell."""

    entropy: float = UNDECODABLE
    thumbnail: bytes = b""
    base: bytes = b""

    @property
    def brightness(self) -> float:
        """Mean grey level, 0-1, as the thumbnail has it; 0 where the bytes do not decode."""
        return round(sum(self.thumbnail) / (255 * len(self.thumbnail)), 4) if self.thumbnail else 0.0


def image_schema() -> pa.Schema:
    """Return the columns of an image table."""
    import pyarrow as pa

    text, whole = pa.string(), pa.int32()
    return pa.schema(
        [
            ("record_id", text),
            ("patient_key", text),
            ("split", text),
            ("sha256", text),
            ("perceptual_hash", pa.uint64()),
            ("width", whole),
            ("height", whole),
            ("entropy", pa.float64()),
            ("study_key", text),
            ("source", text),
            ("brightness", pa.float32()),
            ("thumbnail", pa.binary()),
            ("base", pa.binary()),
        ]  # fmt: skip
    )


def image_table(images: Iterable[ImageFacts]) -> pa.Table:
    """Put image facts into one table."""
    import pyarrow as pa

    return pa.Table.from_pylist([asdict(facts) for facts in images], schema=image_schema())


def measure(content: bytes, *, with_base: bool) -> Measured:
    """Measure encoded image bytes; entropy is UNDECODABLE when they are no image."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as picture:
            grey = picture.convert("L")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        return Measured()
    histogram = np.asarray(grey.histogram(), dtype=np.float64)
    shares = histogram[histogram > 0] / histogram.sum()
    entropy = float(round(max(0.0, -(shares * np.log2(shares)).sum()), 4))
    return Measured(entropy, thumbnail_of(grey), base_of(grey) if with_base else b"")


def quality_reasons(images: pa.Table, *, min_side: int, max_aspect: float, min_entropy: float) -> Reasons:
    """Return why each image is refused (sides in pixels, entropy in bits), "" where it is not."""
    width, height = np.asarray(images["width"]), np.asarray(images["height"])
    short, long, entropy = np.minimum(width, height), np.maximum(width, height), np.asarray(images["entropy"])
    reasons = no_reasons(len(images))
    reasons[entropy < min_entropy] = "image_blank"
    reasons[long > max_aspect * short] = "image_aspect_extreme"
    reasons[short < min_side] = "image_too_small"
    reasons[entropy == UNDECODABLE] = "image_undecodable"
    return reasons
