"""What people draw on slides: ASAP XML (Camelyon), Aperio ImageScope XML, GeoJSON (QuPath), as polygons.

Coordinates are full-resolution pixels (x to the right, y down). Points and lines are no areas and are left out.
Refused, by name: `xml_has_entities`, `annotation_unreadable`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from components.data.faults import Refused

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Shape:
    """One drawn area: its source label, its outline (N, 2) and the outlines of its holes."""

    label: str
    outline: Array
    holes: tuple[Array, ...] = ()

    @cached_property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of the outline."""
        (left, top), (right, bottom) = self.outline.min(axis=0), self.outline.max(axis=0)
        return float(left), float(top), float(right), float(bottom)

    @property
    def area(self) -> float:
        """Area within the outline, by the shoelace formula."""
        x, y = self.outline[:, 0], self.outline[:, 1]
        return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)


def read_shapes(path: Path) -> list[Shape]:
    """Read the areas of an annotation file, the larger first, so that the smaller is drawn over it."""
    content = path.read_bytes()
    try:
        found = _from_json(json.loads(content)) if path.suffix.lower() != ".xml" else _from_xml(content)
        shapes = [shape for shape in found if len(shape.outline) >= 3 and np.isfinite(shape.outline).all()]
    except (
        json.JSONDecodeError,
        UnicodeDecodeError,
        ElementTree.ParseError,
        ValueError,
        TypeError,
        KeyError,
    ) as error:
        raise Refused("annotation_unreadable") from error
    return sorted(shapes, key=lambda shape: -shape.area)


def _from_xml(content: bytes) -> list[Shape]:
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise Refused("xml_has_entities")
    root = ElementTree.fromstring(content)
    return [*_asap(root), *_imagescope(root)]


def _asap(root: ElementTree.Element) -> Iterator[Shape]:
    """ASAP: Annotation with PartOfGroup, Type and Coordinates."""
    for drawn in root.iter("Annotation"):
        points = drawn.findall("Coordinates/Coordinate")
        if points and drawn.get("Type") not in ("Dot", "PointSet", "Measurement"):
            ordered = sorted(points, key=lambda point: float(point.get("Order", "0")))
            yield Shape(drawn.get("PartOfGroup", ""), _outline([(p.attrib["X"], p.attrib["Y"]) for p in ordered]))


def _imagescope(root: ElementTree.Element) -> Iterator[Shape]:
    """ImageScope: an Annotation is a layer; its name is the label, and its Regions have Vertices."""
    for layer in root.iter("Annotation"):
        label = layer.get("Name") or layer.get("Id", "")
        for region in layer.iter("Region"):
            points = [(v.attrib["X"], v.attrib["Y"]) for v in region.iter("Vertex")]
            if points:
                yield Shape(label, _outline(points))


def _from_json(content: Any) -> Iterator[Shape]:
    features = content.get("features", [content]) if isinstance(content, dict) else content
    for feature in features:
        geometry = feature["geometry"]
        kind, coordinates = geometry["type"], geometry["coordinates"]
        polygons = {"Polygon": [coordinates], "MultiPolygon": coordinates}.get(kind, [])
        for outline, *holes in polygons:
            yield Shape(_class_of(feature), _outline(outline), tuple(_outline(hole) for hole in holes))


def _class_of(feature: Mapping[str, Any]) -> str:
    told = (feature.get("properties") or {}).get("classification")
    return str(told.get("name", "")) if isinstance(told, dict) else str(told or "")


def _outline(points: Sequence[Any]) -> Array:
    return np.asarray([(float(x), float(y)) for x, y, *_ in points], dtype=float).reshape(-1, 2)


def draw_shapes(
    shapes: Sequence[Shape], codes: Mapping[str, int], *, origin: tuple[float, float], scale: float, size: int
) -> Array:
    """Draw areas into a square tile of codes (size, size); `origin` is its left and top, `scale` pixels a pixel.

    A label with code 0 erases; one without a code is left out.
    """
    from PIL import Image, ImageDraw

    tile = np.zeros((size, size), dtype=np.uint16)
    reach = size / scale
    for shape in shapes:
        left, top, right, bottom = shape.bounds
        is_outside = right < origin[0] or bottom < origin[1] or left > origin[0] + reach or top > origin[1] + reach
        if shape.label not in codes or is_outside:
            continue
        canvas = Image.new("1", (size, size))
        for outline, ink in ((shape.outline, 1), *((hole, 0) for hole in shape.holes)):
            ImageDraw.Draw(canvas).polygon([tuple(p) for p in ((outline - origin) * scale).tolist()], fill=ink)
        tile[np.asarray(canvas)] = codes[shape.label]
    return tile
