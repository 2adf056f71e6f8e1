"""Dynamic tiling: a picture cut into squares of the tower's size, as many as its shape asks for, and a thumbnail.

InternVL's way (arXiv 2404.16821 section 3.1): among all grids of at most N squares the one whose shape is nearest
to the picture's; the picture is resized to it and cut, and the whole picture is one more square behind them when
there is more than one. Every square is encoded as an image of its own, so it takes T tokens of the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

FILLED = 0.5  # of two grids equally near the larger is taken when the picture has half its pixels


def tile_grid(width: int, height: int, *, side: int, most: int) -> tuple[int, int]:
    """Return (columns, rows), at most `most` squares, nearest to a picture's shape.

    Raises:
        ValueError: the picture has no pixels.
    """
    if min(width, height) < 1:
        raise ValueError(f"a picture of {width} x {height} pixels has no shape")
    best, nearest = (1, 1), float("inf")
    grids = ((columns, rows) for columns in range(1, most + 1) for rows in range(1, most // columns + 1))
    for columns, rows in sorted(grids, key=lambda grid: (grid[0] * grid[1], grid)):
        distance = abs(width / height - columns / rows)
        is_filled = width * height > FILLED * side**2 * columns * rows
        if distance < nearest or (distance == nearest and is_filled):
            best, nearest = (columns, rows), distance
    return best


def tiles_of(image: Image, *, side: int, most: int) -> list[Image]:
    """Return a picture's squares in reading order and its thumbnail; with `most` 1, the picture as it is."""
    if most == 1:
        return [image]
    columns, rows = tile_grid(*image.size, side=side, most=most)
    if columns * rows == 1:
        return [image]
    whole = image.resize((columns * side, rows * side), resample=3)  # bicubic, as InternVL resizes
    boxes = [
        (column * side, row * side, (column + 1) * side, (row + 1) * side)
        for row in range(rows)
        for column in range(columns)
    ]
    return [*(whole.crop(box) for box in boxes), image]


def most_images(most: int) -> int:
    """Return the squares that a picture can become, thumbnail included."""
    return most + 1 if most > 1 else 1


def tokens_of(tiles: Sequence[int], *, image_tokens: int) -> list[int]:
    """Return the tokens that pictures of so many squares take."""
    return [count * image_tokens for count in tiles]
