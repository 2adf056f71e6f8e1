"""Files of annotations that name their pictures, in turn: which picture is spoken of, once, and which by none.

VOC's XML files and COCO's JSON files say which pictures they are about. A picture that the options leave out is
passed over without a word, one that was spoken of before is refused, and those that none speaks of are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pydantic import Field

from components.data.card import Card
from components.data.faults import Refused
from components.data.paths import find_all, is_named
from components.data.pictures import PictureOptions, finish_pictures
from components.data.reading import Draft, ReadContext, Rejection
from components.records import Record
from components.settings import Words


class Claims:
    """The pictures that annotations have spoken of so far, by their path inside the source."""

    def __init__(self, skip: Sequence[str] = ()) -> None:
        self._skip = tuple(skip)
        self._taken: set[str] = set()

    def take(self, relative: str, *, fault: str) -> bool:
        """Claim a picture; False when `skip` leaves it out, Refused (`fault`) when it was claimed before."""
        if is_named(relative, self._skip):
            return False
        if relative in self._taken:
            raise Refused(fault, relative)
        self._taken.add(relative)
        return True

    def unclaimed(self, root: Path, images: Sequence[str]) -> Iterator[Rejection]:
        """Refuse (`annotation_missing`) the pictures of these globs that no annotation spoke of.

        Raises DatasetMissing for a glob without any file.
        """
        pictures = find_all(root, images, self._skip)
        yield from (Rejection(name, "annotation_missing") for _, name in pictures if name not in self._taken)


ReadFile = Callable[[Path, str, Claims], Iterator[Draft | Rejection]]


class AnnotatedOptions(PictureOptions):
    """Where the annotations lie, and the pictures that they ought to speak of."""

    annotations: Words = Field(min_length=1, description="globs of the files of annotations")
    images: Words = Field(default=(), description="globs of all pictures; those not named are refused")


def read_annotated(
    root: Path, card: Card, options: AnnotatedOptions, context: ReadContext, *, read_file: ReadFile
) -> Iterator[Record | Rejection]:
    """Finish what `read_annotations` yields with all that is said of the pictures (`finish_pictures`)."""
    drafts = read_annotations(root, options.annotations, options.images, skip=options.skip, read_file=read_file)
    yield from finish_pictures(drafts, root, card, options, context)


def read_annotations(
    root: Path,
    annotations: Sequence[str],
    images: Sequence[str],
    *,
    skip: Sequence[str],
    read_file: ReadFile,
) -> Iterator[Draft | Rejection]:
    """Yield what `read_file(path, path inside the source, claims)` says of every annotation file, in name order.

    After them come the pictures of the globs `images` that none spoke of. Raises DatasetMissing for a glob
    without any file.
    """
    claims = Claims(skip)
    for path, where in find_all(root, annotations):
        yield from read_file(path, where, claims)
    yield from claims.unclaimed(root, images)
