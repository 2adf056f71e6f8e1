"""Whole slides with drawn areas or mask slides: tiles with regions, and the slide's class by folder or table.

Areas: ASAP XML (Camelyon), ImageScope XML, GeoJSON (QuPath). Masks: a TIFF of codes on any level (PANDA), or one
TIFF a label (AGGC). Slides are read by regions, so a slide of any size fits into memory. Refused, by name:
`annotation_missing`, `annotation_unreadable`, `xml_has_entities`, `mask_size_differs`,
`label_not_in_vocabulary`, `class_not_in_vocabulary`, `row_missing`, `slide_level_missing`, `image_not_8_bit`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from components.data.card import Card, Term
from components.data.case_paths import names_of
from components.data.case_source import CaseSource, open_cases
from components.data.case_tables import CaseRules
from components.data.faults import Refused
from components.data.image import resize, resize_labels, stored_size
from components.data.masks import find_regions
from components.data.reading import Draft, ReadContext, Rejection, finish_all, parse_options
from components.data.slide_shapes import Shape, draw_shapes, read_shapes
from components.data.slides import SlideLevel, aperio_facts, open_slide, tissue_amount
from components.data.tiles import TileOptions, tissue_share
from components.data.volume_records import (
    Drafts,
    attempt,
)
from components.records import Record, stable_id
from components.settings import Share, Words

VERSION = 1
PORTIONS = True
MASK_SUFFIXES = (".tif", ".tiff", ".svs")
ASPECT = 0.02
ANY_VALUE = -1  # of a mask file that is one label
RGB = 3
Array = np.ndarray[Any, Any]


class Options(TileOptions, CaseRules):
    """Which slides and annotations, which level, which tiles; `side` and `stride` are pixels of that level."""

    slides: str = Field(description="template of the slides, such as images/{slide}.tif")
    annotations: str = Field(
        default="",
        description=(
            "template of areas (.xml, .json, .geojson) or masks (.tif), such as annotations/{slide}.xml; "
            "with {label} every mask file is one source label"
        ),
    )
    mask_names: dict[int, str] = Field(default_factory=dict, description="value in a mask slide -> source label")
    erase: Words = Field(
        default=(), description="source labels of areas that are cut out of others, such as Camelyon's _2"
    )
    complete: bool = Field(
        default=False, description="every object of the region labels is drawn: absence may be asked"
    )
    region_labels: Words = Field(
        default=(), description="source labels that are drawn; defaults to all of label_map"
    )
    unannotated: Literal["reject", "keep", "empty"] = Field(
        default="reject",
        description="a slide without annotation: refused, kept without claims, or known to show nothing drawn",
    )
    level: int = Field(default=0, ge=0, description="level of the pyramid; 0 is full resolution")
    max_tiles: int = Field(
        default=0, ge=0, description="tiles a slide at most, those with areas first, spread by a hash; 0 is all"
    )
    min_area: Share = Field(default=0.0005, description="smaller regions, as a share of the tile, are not listed")
    classes: Words = Field(default=(), description="canonical labels true of every tile")


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The annotations of one slide: areas, or open mask levels with the code each value stands for."""

    codes: Mapping[str, int]
    terms: Mapping[int, Term]
    shapes: tuple[Shape, ...] = ()
    masks: tuple[tuple[SlideLevel, Mapping[int, int]], ...] = ()
    unknown: tuple[str, ...] = ()
    is_known: bool = True

    def tile(self, top: int, left: int, level: SlideLevel, side: int) -> Array:
        """Codes of a tile (side, side)."""
        if self.shapes:
            origin = (left * level.downsample, top * level.downsample)
            return draw_shapes(self.shapes, self.codes, origin=origin, scale=1 / level.downsample, size=side)
        out = np.zeros((side, side), dtype=np.uint16)
        for mask, codes in self.masks:
            found = _mask_tile(mask, top, left, level, side)
            for value, code in codes.items():
                out[found > 0 if value == ANY_VALUE else found == value] = code
        return out


def _mask_tile(mask: SlideLevel, top: int, left: int, level: SlideLevel, side: int) -> Array:
    """The mask's values under a tile, by the nearest mask pixel."""
    scale = mask.width / level.width
    least = max(1, round(side * scale))
    found = mask.read(int(top * scale), int(left * scale), least, least)[:, :, 0]
    return resize_labels(found, (side, side))


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield the tiles of every slide."""
    options = parse_options(Options, card)
    source = open_cases(root, card, options, context)
    slides = source.find(options.slides)
    yield from source.refused
    for file, captured in slides:
        if context.takes(file):
            yield from finish_all(_read_slide(source, file, names_of(file, captured)), card, context)


@dataclass(frozen=True, slots=True)
class _Slide:
    """One open slide and what is known of all its tiles."""

    file: str
    level: SlideLevel
    drawn: _Drawn
    classes: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]


def _read_slide(source: CaseSource[Options], file: str, names: Mapping[str, str]) -> Drafts:
    options = source.options
    with ExitStack() as files:

        def load() -> _Slide:
            said = source.said_of(names, options.classes)
            level = files.enter_context(open_slide(source.tree.path(file), options.level))
            if level.page.samplesperpixel < RGB:
                raise Refused("image_not_8_bit")
            drawn = _find_drawn(files, source, file, names, level)
            facts = {**said.facts, **dict(aperio_facts(level.described))}
            return _Slide(file, level, drawn, said.classes, tuple(sorted(facts.items())))

        slide = attempt(load, file)
        if isinstance(slide, Rejection):
            yield slide
            return
        yield from (Rejection(f"{file}#{name}", "label_not_in_vocabulary") for name in slide.drawn.unknown)
        yield from _read_tiles(slide, options, source.max_side)


def _read_tiles(slide: _Slide, options: Options, max_side: int) -> Drafts:
    num_kept = 0
    for top, left in _windows(slide, options):
        part = f"tile/{top:05d}-{left:05d}"
        draft = attempt(partial(_tile, slide, options, top, left, part, max_side), f"{slide.file}#{part}")
        if draft is not None:
            yield draft
            num_kept += isinstance(draft, Draft)
        if num_kept == options.max_tiles and options.max_tiles:
            return


def _windows(slide: _Slide, options: Options) -> list[tuple[int, int]]:
    """Corners of the tiles: in reading order, or those with areas first and each kind spread by a hash."""
    rows = range(0, slide.level.height - options.side + 1, options.stride)
    columns = range(0, slide.level.width - options.side + 1, options.stride)
    windows = [(top, left) for top in rows for left in columns]
    if not options.max_tiles:
        return windows
    drawn: set[tuple[int, int]] = set()
    for shape in slide.drawn.shapes:
        x0, y0, x1, y1 = (edge / slide.level.downsample for edge in shape.bounds)
        tops, lefts = _reached(rows, y0, y1, options.side), _reached(columns, x0, x1, options.side)
        drawn.update((top, left) for top in tops for left in lefts)
    return sorted(windows, key=lambda corner: (corner not in drawn, stable_id(slide.file, *corner)))


def _reached(starts: range, low: float, high: float, side: int) -> range:
    """The starts of tiles that overlap an interval."""
    first = max(0, int((low - side) // starts.step) + 1)
    return starts[first : max(first, int(high // starts.step) + 1)]


def _tile(slide: _Slide, options: Options, top: int, left: int, part: str, max_side: int) -> Draft | None:
    pixels = slide.level.read(top, left, options.side, options.side)[:, :, :RGB]
    share = tissue_share(pixels)
    if share < options.min_tissue:
        return None
    size = stored_size(options.side, options.side, max_side=max_side)
    codes = slide.drawn.tile(top, left, slide.level, options.side)
    found = find_regions(resize_labels(codes, size), slide.drawn.terms, min_area=options.min_area)
    shown = {slide.drawn.terms[int(code)].label for code in np.unique(codes) if int(code) in slide.drawn.terms}
    unlisted = found.too_small | (shown - {region.label for region in found.regions})
    is_complete = options.complete and slide.drawn.is_known
    vocabulary = sorted({term.label for term in slide.drawn.terms.values()} - unlisted) if is_complete else ()
    return Draft(
        path=slide.file, part=part, pixels=resize(np.ascontiguousarray(pixels), size), labels=slide.classes,
        regions=found.regions, regions_complete=is_complete, region_vocabulary=tuple(vocabulary), window="stored",
        facts=(*slide.facts, ("tissue amount", tissue_amount(share))),
    )  # fmt: skip


def _find_drawn(
    files: ExitStack, source: CaseSource[Options], slide: str, names: Mapping[str, str], level: SlideLevel
) -> _Drawn:
    tree, card, options = source.tree, source.card, source.options
    codes, terms = _codes_of(card, options)
    if not options.annotations:
        return _Drawn(codes, terms, is_known=False)
    found = [(file, told) for file, told in tree.match(options.annotations, names) if file != slide]
    if not found and options.unannotated == "reject":
        raise Refused("annotation_missing")
    drawn = [(file, told) for file, told in found if not file.lower().endswith(MASK_SUFFIXES)]
    shapes = sorted((shape for file, _ in drawn for shape in read_shapes(tree.path(file))), key=lambda s: -s.area)
    masks, unknown = [], {shape.label for shape in shapes} - codes.keys() - card.label_map.keys()
    for file, told in found:
        if (file, told) in drawn:
            continue
        mask = files.enter_context(open_slide(tree.path(file)))
        if abs(mask.width / mask.height * level.height / level.width - 1) > ASPECT:
            raise Refused("mask_size_differs")
        named = {ANY_VALUE: told["label"]} if "label" in told else options.mask_names
        unknown |= set(named.values()) - codes.keys() - card.label_map.keys()
        masks.append((mask, {value: codes[name] for value, name in named.items() if name in codes}))
    return _Drawn(
        codes, terms, tuple(shapes), tuple(masks), tuple(sorted(unknown)),
        is_known=bool(found) or options.unannotated == "empty",
    )  # fmt: skip


def _codes_of(card: Card, options: Options) -> tuple[dict[str, int], dict[int, Term]]:
    """Code of every source label that is drawn (0 erases), and the canonical term of each code."""
    labels = options.region_labels or tuple(card.label_map)
    known = {label: term for label in labels if (term := card.term(label)) and term.label}
    numbers = {term: n for n, term in enumerate(dict.fromkeys(known.values()), start=1)}
    codes = {label: numbers[term] for label, term in known.items()}
    return {**codes, **dict.fromkeys(options.erase, 0)}, {n: term for term, n in numbers.items()}
