"""COCO: one JSON file for many pictures, with boxes, polygons or run lengths; objects are read picture by picture.

Objects of a crowd are not single objects: they are left out, and their label is then not complete in that
picture. Categories that nothing uses need no entry in the label map. A box that contradicts nothing but the
outline is taken from the outline.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from pydantic import Field

from components.data.annotation_files import AnnotatedOptions, Claims, read_annotated
from components.data.boxes import Sketch, annotation_fact, draw, kind_of, to_corners, to_shares
from components.data.card import Card
from components.data.faults import Refused
from components.data.image import store
from components.data.json_stream import decoded, read_item, scan_object
from components.data.outlines import Mask, decode_counts, fill_polygons, unpack_counts
from components.data.paths import check_stays, fields_of_path, is_named, locate_one
from components.data.pictures import open_picture
from components.data.reading import UNREADABLE, Draft, ReadContext, Rejection, parse_options, reason_of
from components.errors import DataError
from components.records import Record, Split
from components.settings import Words

VERSION = 1
PORTIONS = True
Item = TypeVar("Item")


class Options(AnnotatedOptions):
    """Where the JSON files and the pictures lie."""

    annotations: Words = Field(min_length=1, description="globs of the JSON files")
    image: str = Field(
        default="{folder}/{file_name}",
        description="template of the picture's path over the JSON file's; `file_name` is what the JSON states, "
        "`file_stem` that without its folder and ending",
    )
    images: Words = Field(default=(), description="globs of all pictures; those not listed are refused")
    annotation_splits: dict[str, Split] = Field(
        default_factory=dict, description="glob of a JSON file -> split of its pictures"
    )
    masks: bool = Field(default=True, description="read outlines where there are any, not boxes alone")
    complete: bool = Field(default=True, description="every object of the file's categories is annotated")


@dataclass(frozen=True, slots=True)
class Spot:
    """Where in the file an object stands, in bytes; objects are read when their picture's turn comes."""

    number: Any
    picture: Any
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Listing:
    """One JSON file: pictures in its order, where each one's objects stand, and the names of its categories."""

    path: Path
    where: str
    split: str
    pictures: tuple[Mapping[str, Any], ...]
    objects: Mapping[Any, list[Spot]]
    names: Mapping[Any, str]
    refused: tuple[Rejection, ...]


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield the pictures of every JSON file in its order, then the pictures that none lists."""
    options = parse_options(Options, card)
    read_file = partial(_read_file, root=root, card=card, options=options, context=context)
    yield from read_annotated(root, card, options, context, read_file=read_file)


def _read_file(
    path: Path, where: str, claims: Claims, *, root: Path, card: Card, options: Options, context: ReadContext
) -> Iterator[Draft | Rejection]:
    split = next((s for pattern, s in options.annotation_splits.items() if is_named(where, (pattern,))), "")
    listing = _read_listing(path, where, split)
    yield from listing.refused
    for picture in listing.pictures:
        yield from _read_picture(root, picture, listing, card, options, context, claims)


def _read_listing(path: Path, where: str, split: str) -> Listing:
    """Note where each picture's objects stand; the pictures and categories are read whole.

    Raises DataError: `json_malformed`, `json_not_coco`.
    """
    spots: list[Spot] = []

    def take(item: Any, start: int, stop: int) -> None:
        spots.append(Spot(decoded(item["id"]), decoded(item["image_id"]), start, stop))

    try:
        raw = scan_object(path, "annotations", take)
        refused: list[Rejection] = []
        names = {item["id"]: str(item["name"]) for item in raw["categories"]}
        pictures = _once([(item["id"], item) for item in raw["images"]], where, "image", refused)
        once = _once([(spot.number, spot) for spot in spots], where, "annotation", refused)
        objects = _by_picture(once, pictures, where, refused)
        if "annotations" not in raw:
            raise KeyError("annotations")
        return Listing(path, where, split, tuple(pictures), objects, names, tuple(refused))
    except (ValueError, RecursionError) as error:
        raise DataError(f"json_malformed: {error}", where=where, fix="bring the file again") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"json_not_coco: {error!r}", where=where, fix="gmai sources") from error


def _once(items: list[tuple[Any, Item]], where: str, kind: str, refused: list[Rejection]) -> list[Item]:
    """Keep the first item of each id; the others are added to `refused`."""
    kept: dict[Any, Item] = {}
    for number, item in items:
        if number in kept:
            refused.append(Rejection(f"{where}#{kind}/{number}", f"{kind}_id_repeated"))
        else:
            kept[number] = item
    return list(kept.values())


def _by_picture(
    spots: list[Spot], pictures: list[Mapping[str, Any]], where: str, refused: list[Rejection]
) -> dict[Any, list[Spot]]:
    """Sort objects by picture; those of an unknown picture are added to `refused`."""
    objects: dict[Any, list[Spot]] = {picture["id"]: [] for picture in pictures}
    for spot in spots:
        if spot.picture in objects:
            objects[spot.picture].append(spot)
        else:
            refused.append(Rejection(f"{where}#annotation/{spot.number}", "image_not_listed"))
    return objects


def _objects_of(picture: Mapping[str, Any], listing: Listing) -> list[Mapping[str, Any]]:
    try:
        with listing.path.open("rb") as handle:
            return [read_item(handle, spot.start, spot.stop) for spot in listing.objects[picture["id"]]]
    except ValueError as error:
        raise Refused("annotation_malformed", str(error)) from error


def _read_picture(
    root: Path, picture: Mapping[str, Any], listing: Listing, card: Card, options: Options, context: ReadContext,
    claims: Claims,
) -> Iterator[Draft | Rejection]:  # fmt: skip
    try:
        path = _picture_of(root, picture, listing.where, options)
        relative = path.relative_to(root).as_posix()
        if not claims.take(relative, fault="image_repeated") or not context.takes(relative):
            return
        pixels, window = open_picture(path, options.deep_window)
        stated = tuple(int(picture.get(name) or 0) for name in ("height", "width"))
        if 0 not in stated and stated != pixels.shape[:2]:
            raise Refused("image_size_differs", relative)
        objects = _objects_of(picture, listing)
    except UNREADABLE as error:
        yield Rejection(f"{listing.where}#image/{picture['id']}", reason_of(error))
        return
    yield from _draft(
        relative, (store(pixels, context.max_side), window), pixels.shape[:2], objects, listing, card, options
    )


def _picture_of(root: Path, picture: Mapping[str, Any], where: str, options: Options) -> Path:
    name = picture.get("file_name")
    if not isinstance(name, str) or not name:
        raise Refused("image_name_missing", where)
    check_stays(name)
    stated = {"file_name": name, "file_stem": PurePosixPath(name).stem}
    return locate_one(root, options.image, {**fields_of_path(where, options.pattern), **stated})


def _draft(
    relative: str, shown: tuple[Any, str], size: tuple[int, int], objects: list[Mapping[str, Any]],
    listing: Listing, card: Card, options: Options,
) -> Iterator[Draft | Rejection]:  # fmt: skip
    crowds = [item for item in objects if item.get("iscrowd")]
    sketches = (_sketch(item, listing, size, options.masks) for item in objects if not item.get("iscrowd"))
    crowded = {listing.names.get(item.get("category_id")) for item in crowds}
    complete = [name for name in listing.names.values() if options.complete and name not in crowded]
    drawn = draw(sketches, relative, card, size=size, max_side=max(shown[0].shape[:2]), complete=complete)
    yield from drawn.refused
    yield Draft(
        path=relative, pixels=shown[0], window=shown[1], split=listing.split, regions=drawn.regions,
        regions_complete=bool(drawn.vocabulary), region_vocabulary=drawn.vocabulary,
        facts=annotation_fact(card, kind_of(drawn)) + ((("crowd objects", str(len(crowds))),) if crowds else ()),
    )  # fmt: skip


def _sketch(item: Mapping[str, Any], listing: Listing, size: tuple[int, int], with_masks: bool) -> Sketch:
    word = listing.names.get(item.get("category_id"), "")
    name = f"annotation/{item['id']}"
    if not word:
        return Sketch(word, name, fault="category_not_listed")
    try:
        outline = item.get("segmentation") if with_masks else None
        if outline:
            return Sketch(word, name, mask=_mask_of(outline, *size))
        corners = to_corners([float(number) for number in item["bbox"]], "corner and size")
        return Sketch(word, name, box=to_shares(corners, size[1], size[0]))
    except Refused as error:
        return Sketch(word, name, fault=error.reason)
    except (KeyError, TypeError, ValueError):
        return Sketch(word, name, fault="annotation_malformed")


def _mask_of(outline: Any, height: int, width: int) -> Mask:
    """Decode polygons, counts or compressed counts into a mask (H, W)."""
    if isinstance(outline, list):
        return fill_polygons(outline, height, width)
    if list(outline["size"]) != [height, width]:
        raise Refused("mask_size_differs", str(outline["size"]))
    counts = outline["counts"]
    return decode_counts(unpack_counts(counts) if isinstance(counts, str) else counts, height, width)
