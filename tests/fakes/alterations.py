"""Pictures like medical ones, and the copies of them that a firewall must know: each alteration by its name."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

ALTERATIONS = ("exact", "resized", "jpeg_70", "cropped_90", "flipped", "rewindowed")


def make_picture(number: int, side: int = 96) -> Image.Image:
    """A grey picture of smooth blobs on a dark ground, another one for each number."""
    random = np.random.default_rng(number)
    rows, columns = np.mgrid[0:side, 0:side] / side
    picture = np.zeros((side, side))
    for _ in range(14):
        x, y, wide, bright = random.random(4) * (1, 1, 0.15, 1)
        picture += bright * np.exp(-((rows - x) ** 2 + (columns - y) ** 2) / (2 * (0.04 + wide) ** 2))
    return Image.fromarray((255 * picture / picture.max()).astype(np.uint8))


def encoded(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def altered(picture: Image.Image, kind: str, *, seed: int) -> Image.Image:
    """Return a copy of a grey picture altered in one way."""
    random = np.random.default_rng(seed)
    wide, high = picture.size
    if kind == "resized":
        return picture.resize((max(8, int(wide * 0.6)), max(8, int(high * 0.6))), Image.Resampling.BILINEAR)
    if kind == "jpeg_70":
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=70)
        return Image.open(buffer).convert("L")
    if kind == "cropped_90":
        left, top = (int(random.integers(0, side - int(side * 0.9) + 1)) for side in (wide, high))
        return picture.crop((left, top, left + int(wide * 0.9), top + int(high * 0.9)))
    if kind == "flipped":
        return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if kind == "rewindowed":
        low, top = random.uniform(10, 50), random.uniform(180, 240)
        pixels = (np.asarray(picture).astype(float) - low) / (top - low)
        return Image.fromarray((255 * np.clip(pixels, 0, 1)).astype(np.uint8))
    return picture
