"""Pascal VOC: an XML file a picture, with boxes; difficult and truncated objects are told as facts.

The document may declare nothing (no DTD, no entity). A size in the file that is not the picture's refuses it:
the boxes were drawn on another picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element

from pydantic import Field

from components.data.annotation_files import AnnotatedOptions, Claims, read_annotated
from components.data.boxes import Sketch, annotation_fact, draw, parse_numbers, to_shares
from components.data.card import Card
from components.data.faults import Refused
from components.data.image import store
from components.data.markup import parse_xml
from components.data.paths import check_stays, fields_of_path, locate_one
from components.data.pictures import open_picture
from components.data.reading import UNREADABLE, Draft, ReadContext, Rejection, parse_options, reason_of
from components.records import Record
from components.settings import Words

VERSION = 1
PORTIONS = True
CORNERS = ("xmin", "ymin", "xmax", "ymax")


class Options(AnnotatedOptions):
    """Where annotations and pictures lie."""

    annotations: Words = Field(min_length=1, description="globs of the XML files")
    image: str = Field(
        default="{parent}/JPEGImages/{filename}",
        description="template of the picture's path over the XML file's; `filename` is what the XML states",
    )
    images: Words = Field(default=(), description="globs of all pictures; those without XML are refused")
    first_pixel: int = Field(default=1, ge=0, le=1, description="number of the first row and column")
    skip_difficult: bool = Field(default=False, description="leave objects marked difficult out")
    complete: bool = Field(default=False, description="every object of the card's labels has its box")


@dataclass(frozen=True, slots=True)
class Annotation:
    """One XML file: the picture it names, the size it states (0 for none), and its objects."""

    filename: str
    size: tuple[int, int]
    objects: tuple[Element, ...]


def read(root: Path, card: Card, context: ReadContext) -> Iterator[Record | Rejection]:
    """Yield the picture of every XML file, then the pictures without one."""
    options = parse_options(Options, card)
    read_file = partial(_read_file, root=root, card=card, options=options, context=context)
    yield from read_annotated(root, card, options, context, read_file=read_file)


def _read_file(
    path: Path, where: str, claims: Claims, *, root: Path, card: Card, options: Options, context: ReadContext
) -> Iterator[Draft | Rejection]:
    try:
        annotation = _parse(path)
        picture = _picture_of(root, where, annotation, options)
        relative = picture.relative_to(root).as_posix()
        if not claims.take(relative, fault="annotation_repeated") or not context.takes(relative, (where,)):
            return
        drafts = list(_read_picture(picture, relative, annotation, card, options, context.max_side))
    except UNREADABLE as error:
        drafts = [Rejection(where, reason_of(error))]
    yield from drafts


def _parse(path: Path) -> Annotation:
    document = parse_xml(path.read_bytes())
    if document.tag != "annotation":
        raise Refused("xml_not_voc", document.tag)
    size = [int(float(document.findtext(f"size/{name}") or 0)) for name in ("height", "width")]
    return Annotation(
        (document.findtext("filename") or "").strip(), (size[0], size[1]), tuple(document.findall("object"))
    )


def _picture_of(root: Path, where: str, annotation: Annotation, options: Options) -> Path:
    check_stays(annotation.filename)
    values = {**fields_of_path(where), "filename": annotation.filename}
    return locate_one(root, options.image, values)


def _read_picture(
    path: Path, relative: str, annotation: Annotation, card: Card, options: Options, max_side: int
) -> Iterator[Draft | Rejection]:
    pixels, window = open_picture(path, options.deep_window)
    size = pixels.shape[:2]
    if 0 not in annotation.size and annotation.size != size:
        raise Refused("image_size_differs", relative)
    kept = [item for item in annotation.objects if not (options.skip_difficult and _is_marked(item, "difficult"))]
    sketches = [_sketch(item, number, size, options.first_pixel) for number, item in enumerate(kept)]
    left_out = {_word(item) for item in annotation.objects if item not in kept}
    complete = [word for word in card.label_map if word not in left_out] if options.complete else ()
    drawn = draw(sketches, relative, card, size=size, max_side=max_side, complete=complete)
    yield from drawn.refused
    yield Draft(
        path=relative, pixels=store(pixels, max_side), window=window, regions=drawn.regions,
        regions_complete=bool(drawn.vocabulary), region_vocabulary=drawn.vocabulary,
        facts=(*annotation_fact(card, "instance box"), *_marks(annotation.objects)),
    )  # fmt: skip


def _sketch(item: Element, number: int, size: tuple[int, int], first_pixel: int) -> Sketch:
    name, word = f"object/{number}", _word(item)
    try:
        left, top, right, bottom = parse_numbers(item.findtext(f"bndbox/{corner}") or "" for corner in CORNERS)
        box = to_shares((left - first_pixel, top - first_pixel, right, bottom), size[1], size[0])
        return Sketch(word, name, box=box)
    except Refused as error:
        return Sketch(word, name, fault=error.reason)


def _word(item: Element) -> str:
    return (item.findtext("name") or "").strip()


def _is_marked(item: Element, mark: str) -> bool:
    return (item.findtext(mark) or "0").strip().lower() in ("1", "true", "yes")


def _marks(objects: Sequence[Element]) -> tuple[tuple[str, str], ...]:
    counts = {mark: sum(_is_marked(item, mark) for item in objects) for mark in ("difficult", "truncated")}
    return tuple((f"{mark} objects", str(count)) for mark, count in counts.items() if count)
