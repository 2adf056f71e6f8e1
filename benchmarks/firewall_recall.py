"""How many planted copies of held-out images the firewall finds, and how many strangers it takes for copies.

Every held-out image of artifacts/records is copied in six ways (exact, resized to 60 %, JPEG quality 70, a crop of
90 % of the side, flipped, re-windowed) and the copies are handed to the firewall as training images. The training
images of the corpus itself are the strangers. `python benchmarks/firewall_recall.py [FOLDER]`. Its peer is the
distance of 64-bit difference hashes at 4 bits, as the firewall was before.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
TARGET = 0.95
PEER_BITS = 4
KINDS = ("exact", "resized", "jpeg_70", "cropped_90", "flipped", "rewindowed")


def load_images(records: Path) -> tuple[list[Image.Image], list[Image.Image]]:
    """Return the distinct training and held-out images as grey pictures."""
    from components.tracking.tables import iterate_rows

    sides: dict[bool, dict[str, Image.Image]] = {True: {}, False: {}}
    for row in iterate_rows(records, ["sha256", "split", "image", "rejected_reason"]):
        if not row["rejected_reason"]:
            with Image.open(io.BytesIO(row["image"])) as picture:
                sides[row["split"] == "train"].setdefault(row["sha256"], picture.convert("L"))
    return list(sides[True].values()), list(sides[False].values())


def altered(picture: Image.Image, kind: str, random: np.random.Generator) -> Image.Image:
    """Return a copy of a picture, altered in one way."""
    wide, high = picture.size
    if kind == "resized":
        return picture.resize((max(8, wide * 6 // 10), max(8, high * 6 // 10)), Image.Resampling.BILINEAR)
    if kind == "jpeg_70":
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=70)
        return Image.open(buffer).convert("L")
    if kind == "cropped_90":
        kept = wide * 9 // 10, high * 9 // 10
        left, top = random.integers(0, wide - kept[0] + 1), random.integers(0, high - kept[1] + 1)
        return picture.crop((int(left), int(top), int(left) + kept[0], int(top) + kept[1]))
    if kind == "flipped":
        return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if kind == "rewindowed":
        low, top = random.uniform(10, 50), random.uniform(180, 240)
        pixels = np.clip((np.asarray(picture, dtype=float) - low) / (top - low), 0, 1)
        return Image.fromarray((255 * pixels).astype(np.uint8))
    return picture


def thumbnails(images: list[Image.Image]) -> np.ndarray[Any, Any]:
    """Return (N, 256)."""
    from components.pairs.fingerprint import thumbnail_of

    return np.stack([np.frombuffer(thumbnail_of(image), np.uint8) for image in images])


def hashes(images: list[Image.Image]) -> np.ndarray[Any, Any]:
    """Return (N,) difference hashes."""
    from components.data.image import difference_hash

    return np.array([int(difference_hash(np.asarray(image)), 16) for image in images], dtype=np.uint64)


def measure(train: list[Image.Image], held_out: list[Image.Image]) -> dict[str, Any]:
    """Return recall by kind, of the firewall and of its peer, and the share of strangers taken for copies."""
    from components.pairs.fingerprint import base_of, normalised
    from components.pairs.near_copies import find_copies

    bases = np.stack([np.frombuffer(base_of(image), np.uint8) for image in held_out])
    strangers = find_copies(thumbnails(train), bases)
    content: dict[str, Any] = {
        "held_out": len(held_out), "strangers": len(train),
        "false_positive_rate": len(np.unique(strangers.train)) / max(1, len(train)),
        "recall": {}, "peer_recall": {},
        "flat_held_out": int((~normalised(thumbnails(held_out)).any(axis=1)).sum()),
    }  # fmt: skip
    theirs = hashes(held_out)
    for place, kind in enumerate(KINDS):
        copies = [altered(image, kind, np.random.default_rng([place, n])) for n, image in enumerate(held_out)]
        found = find_copies(thumbnails(copies), bases)
        hit = set(found.train[found.train == found.held_out].tolist())
        content["recall"][kind] = round(len(hit) / len(held_out), 4)
        near = np.bitwise_count(hashes(copies) ^ theirs) <= PEER_BITS
        content["peer_recall"][kind] = round(float(near.mean()), 4)
    return content


def main() -> None:
    """Measure, print a table and, last, one JSON object."""
    from flows.run import make_available

    if len(sys.argv) == 1:
        make_available(ROOT, Path("artifacts/records"), target="ingest")
    train, held_out = load_images(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "artifacts" / "records")
    content = measure(train, held_out)
    print(f"{'copies':<12}  recall  64-bit hash at {PEER_BITS} bits")
    for kind in KINDS:
        print(f"{kind:<12}  {content['recall'][kind]:6.1%}  {content['peer_recall'][kind]:6.1%}")
    print(f"strangers taken for copies: {content['false_positive_rate']:.2%} of {content['strangers']}")
    worst = min(content["recall"].values())
    print(json.dumps({"name": "firewall_recall", "ratio": worst, "target": TARGET, **content}))


if __name__ == "__main__":
    main()
