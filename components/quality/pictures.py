"""Pictures in reports: small, with boxes drawn, as PNG inside the page (nothing is loaded from elsewhere)."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

    from components.records import Box

GOLD_COLOUR, PREDICTED_COLOUR = (255, 200, 0), (0, 200, 255)
SIDE_PIXELS = 224


def open_rgb(content: bytes) -> Image:
    """Decode stored image bytes to RGB.

    Raises:
        OSError: the bytes are no image.
    """
    from PIL import Image

    with Image.open(io.BytesIO(content)) as picture:
        return picture.convert("RGB")


def draw_boxes(picture: Image, boxes: Sequence[tuple[Sequence[Box], tuple[int, int, int]]]) -> Image:
    """Return a copy at most SIDE_PIXELS wide and high with each group of boxes (0-1) in its colour."""
    from PIL import ImageDraw

    scale = min(SIDE_PIXELS / picture.width, SIDE_PIXELS / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    small = picture.resize(size)
    pen = ImageDraw.Draw(small)
    for group, colour in boxes:
        for left, top, right, bottom in group:
            corners = sorted((left * size[0], right * size[0])), sorted((top * size[1], bottom * size[1]))
            (x0, x1), (y0, y1) = corners
            pen.rectangle((x0, y0, x1, y1), outline=colour, width=2)
    return small


def png_bytes(picture: Image) -> bytes:
    """Encode as PNG; the same pixels give the same bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def data_uri(content: bytes, *, media_type: str = "image/png") -> str:
    """Return bytes as an address that an <img> shows without the network."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
