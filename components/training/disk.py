"""What the data of a run take on disk: records, pairs, token packs, the store of resized images.

What lies on this disk already is measured; what does not is counted from the recipe's published sizes with what
the sample corpus takes, and said to be so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.model.tiles import most_images
from components.settings import Settings
from components.training.forecast import PackFacts

# Of the sample corpus, `make run`: 32.5 MB of 1,542 images at most 384 pixels wide, 3.5 MB of 10,896 pairs before
# and after curation, 0.3 MB of 206,000 packed tokens.
RECORD_BYTES, RECORD_SIDE, PAIR_BYTES, TOKEN_BYTES = 21_000, 384, 320, 1.5


@dataclass(frozen=True, slots=True)
class DataPart:
    """One kind of data: its bytes, whether they are here already, and what they were counted from."""

    name: str
    bytes: float
    is_here: bool
    source: str


def data_parts(settings: Settings, facts: Mapping[str, PackFacts], *, counted: bool) -> list[DataPart]:
    """Return what records, pairs, packs and images take; `facts` are the packs of each mixture.

    `counted` says that the packs on this disk are those of the settings, so that what lies here is what is needed.
    """
    root = settings.work_root
    folders = {
        "records": [root / "records"], "pairs": [root / "pairs", root / "curated"],
        "packs": [root / "packs" / name for name in facts], "image store": [root / "packs" / "images"],
    }  # fmt: skip
    if counted:
        return [
            DataPart(name, bytes_below(paths), True, f"on this disk ({paths[0]})")
            for name, paths in folders.items()
        ]
    assumed = _assumed_bytes(settings, facts)
    return [DataPart(name, assumed[name][0], False, assumed[name][1]) for name in folders]


def _assumed_bytes(settings: Settings, facts: Mapping[str, PackFacts]) -> dict[str, tuple[float, str]]:
    samples = sum(settings.recipe.sizes.values())
    vision, side = settings.model.vision, settings.ingest.max_side
    images = samples * most_images(vision.max_tiles)
    tokens = sum(row.packs * row.tokens for row in facts.values())
    record = RECORD_BYTES * (side / RECORD_SIDE) ** 2
    return {
        "records": (samples * record, f"an image a sample, {record / 1e3:.0f} kB each as in the sample corpus"),
        "pairs": (
            2 * samples * PAIR_BYTES,
            f"{PAIR_BYTES} bytes a pair, made and curated, as in the sample corpus",
        ),
        "packs": (tokens * TOKEN_BYTES, f"{TOKEN_BYTES:g} bytes a token as in the sample corpus"),
        "image store": (
            images * 3.0 * vision.image_size**2,
            f"{images / 1e6:.2f} M images of {vision.image_size} x {vision.image_size} x 3 bytes (an upper bound)",
        ),
    }


def bytes_below(folders: list[Path]) -> float:
    """Return the bytes of every file below these folders; 0 for one that is not there."""
    return float(sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file()))
