"""Statements of rows become records: one an image, one a set of images, one a text without an image.

An image's record holds all that its rows say. What is said of several images together is a record without
pixels that names theirs in `compared_with`; a text-only sample is a record without pixels that names none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from components.data.card import Card
from components.data.faults import Refused
from components.data.picture_files import (
    Member,
    Pixels,
    decode_pixels,
    iterate_archives,
    load_member,
    read_picture,
)
from components.data.reading import Draft, ReadContext, Rejection, WholeOnly, finish
from components.data.row_files import Row, iterate_tables
from components.data.row_mapping import RowMapping, Statement, add_words, state_row
from components.data.row_store import RowStore, file_of
from components.records import NOT_STATED, Record, SourceQuestion, stable_id

NO_PIXELS = np.zeros((1, 1), dtype=np.uint8)
Samples = Iterator[Record | Rejection]


def join_rows(
    root: Path,
    mapping: RowMapping,
    card: Card,
    context: ReadContext,
    *,
    say: Callable[[Row, Statement], tuple[Statement, str]],
    needed: tuple[str, ...],
) -> Samples:
    """Yield the records of the rows of a mapping's tables, to which `say` adds their words (`add_words`).

    Raises as `iterate_tables` does: CardInvalid for a delimited table without one of the `needed` columns.
    """

    def state(row: Row) -> Statement | Rejection:
        return add_words(state_row(row, mapping, card), partial(say, row))

    rows = iterate_tables(root, mapping.tables, needed=needed)
    statements = (row if isinstance(row, Rejection) else state(row) for row in rows)
    yield from join_images(statements, root, card, context, archives=mapping.archives)


def join_images(
    statements: Iterable[Statement | Rejection],
    root: Path,
    card: Card,
    context: ReadContext,
    *,
    archives: tuple[str, ...] = (),
) -> Samples:
    """Yield the records of all statements: images first, then sets of images, then texts alone.

    Images are files below the root, or members of the archives that match these globs. In portions, a unit is an
    archive of images; or a file of rows with the images it names; or, where one file names all or two name the
    same, an image; and each file of texts alone. Where an image is not a unit's alone, it is WholeOnly.
    """
    with RowStore() as store:
        refused = (rejection for statement in statements for rejection in gather(statement, store))
        yield from context.of("", refused)
        if archives:
            yield from _from_archives(store, archives, root, card, context)
        elif context.is_whole:
            yield from _from_files(store, root, card, context)
        elif len(store.files()) > 1 and not store.images_are_shared():
            yield from _by_file(store, root, card, context)
        else:
            yield from _by_image(store, root, card, context)


def _by_file(store: RowStore, root: Path, card: Card, context: ReadContext) -> Samples:
    store.index_files()
    for file in store.files():
        if context.takes(file, store.images_of(file)):
            yield from context.of(file, _from_files(store, root, card, context, file=file))


def _by_image(store: RowStore, root: Path, card: Card, context: ReadContext) -> Samples:
    if not store.is_loose():
        raise WholeOnly
    for image, statements in store.by_image():
        if context.takes(image):
            yield from context.of(image, _from_file(image, statements, store, root, card=card, context=context))
    yield from _texts(store, card, context)


def _texts(store: RowStore, card: Card, context: ReadContext) -> Samples:
    for file in store.files_alone():
        if context.takes(file):
            yield from context.of(file, finish_gathered(store, card, context, file=file))


def gather(statement: Statement | Rejection, store: RowStore) -> Iterator[Rejection]:
    """Keep a statement for later, or yield why not; an id may stand once in a file."""
    if isinstance(statement, Rejection):
        yield statement
    elif statement.id and not store.is_new(statement.where.partition("#")[0], statement.id):
        yield Rejection(statement.where, "row_id_repeated")
    else:
        store.add(statement)


def finish_gathered(store: RowStore, card: Card, context: ReadContext, *, file: str = "") -> Samples:
    """Yield what is left once the images are read (of one file, if named): sets of images, then texts alone."""
    yield from _sets(store, card, context, file)
    yield from (finish_text(statement, card, context) for statement in store.alone(file))


def _from_files(store: RowStore, root: Path, card: Card, context: ReadContext, *, file: str = "") -> Samples:
    for image, statements in store.by_image(file):
        yield from _from_file(image, statements, store, root, card=card, context=context)
    yield from finish_gathered(store, card, context, file=file)


def _from_file(
    image: str, statements: list[Statement], store: RowStore, root: Path, *, card: Card, context: ReadContext
) -> Samples:
    yield from tell_image(image, statements, lambda: read_picture(root, image), store, card=card, context=context)


def _from_archives(
    store: RowStore, archives: tuple[str, ...], root: Path, card: Card, context: ReadContext
) -> Samples:
    store.index()
    if context.is_listing:
        _list_archives(store, archives, root)
    for member in iterate_archives(root, archives, takes=context.takes):
        yield from context.of(file_of(member.where), _tell_member(member, store, card, context))
    for _, statements in store.unfound() if context.is_whole or context.is_listing else ():
        yield from context.of("", _refuse(statements, "file_missing"))
    yield from finish_gathered(store, card, context) if context.is_whole else _texts(store, card, context)


def _tell_member(member: Member | Rejection, store: RowStore, card: Card, context: ReadContext) -> Samples:
    if isinstance(member, Rejection):
        yield member
        return
    statements = store.of(member.name.removeprefix("./"))
    if statements and store.is_marked(statements[0].images[0]):
        yield Rejection(member.where, "image_repeated")
    elif statements:
        image, load = statements[0].images[0], lambda: load_member(member)
        yield from tell_image(image, statements, load, store, card=card, context=context)


def _list_archives(store: RowStore, archives: tuple[str, ...], root: Path) -> None:
    """Look at the archives' names alone, so that what is in none of them is known before one is read."""
    if not store.is_loose():
        raise WholeOnly
    for member in iterate_archives(root, archives):
        statements = store.of(member.name.removeprefix("./")) if isinstance(member, Member) else []
        if statements and store.is_marked(statements[0].images[0]):
            raise WholeOnly  # which of the two is the image depends on the other's archive
        if statements:
            store.mark(statements[0].images[0])


def tell_image(
    image: str,
    statements: list[Statement],
    load: Callable[[], bytes],
    store: RowStore,
    *,
    card: Card,
    context: ReadContext,
    path: str = "",
    part: str = "",
) -> Samples:
    """Yield the record of one image with all that is said of it, and what of that had to be refused.

    `image` is its name in the store; `path` (by default the same) and `part` are those of its record.
    """
    whole, refused = merge(statements)
    yield from refused
    try:
        pixels = decode_pixels(load(), max_side=context.max_side)
    except Refused as fault:
        store.mark(image)
        yield from _refuse(statements, fault.reason)
        return
    made = finish_image(path or image, whole, pixels, card, context, part=part)
    if isinstance(made, Record):
        store.mark(image, made.record_id, made.split, path or image)
    else:
        store.mark(image)
    yield made


def _refuse(statements: list[Statement], reason: str) -> Samples:
    """Refuse every row that says something of an image, or the first that only names it."""
    told = [statement for statement in statements if statement.text or statement.questions]
    yield from (Rejection(statement.where, reason) for statement in told or statements[:1])


def merge(statements: list[Statement]) -> tuple[Statement, list[Rejection]]:
    """Put the statements about one image together; the first says the split, the text and the image's columns.

    Refused are rows of another split or patient (`image_in_another_split`, `image_of_two_patients`), a second,
    other text (`second_text_of_image`) and words said before (`row_repeated`).
    """
    whole, refused = statements[0], []
    for other in statements[1:]:
        reason = _clash(whole, other)
        if reason:
            refused.append(Rejection(other.where, reason))
            continue
        whole = replace(
            whole, questions=(*whole.questions, *other.questions), text=whole.text or other.text,
            text_kind=whole.text_kind or other.text_kind, labels=tuple(sorted({*whole.labels, *other.labels})),
            facts=tuple(sorted({**dict(other.facts), **dict(whole.facts)}.items())),
        )  # fmt: skip
    return whole, refused


def _clash(whole: Statement, other: Statement) -> str:
    if other.split and other.split != whole.split:
        return "image_in_another_split"
    if other.patient and other.patient != whole.patient:
        return "image_of_two_patients"
    if _starts(whole.questions, other.questions) or (other.text and other.text == whole.text):
        return "row_repeated"
    return "second_text_of_image" if other.text and whole.text else ""


def _starts(known: tuple[SourceQuestion, ...], new: tuple[SourceQuestion, ...]) -> bool:
    """Tell whether the same questions were asked before, in this order."""
    size = len(new)
    return bool(size) and any(known[at : at + size] == new for at in range(len(known) - size + 1))


def finish_image(
    image: str, statement: Statement, pixels: Pixels, card: Card, context: ReadContext, *, part: str = ""
) -> Record | Rejection:
    """Make the record of one image."""
    draft = Draft(path=image, part=part, pixels=pixels, window="stored", **_said(statement))
    return _finish(draft, statement, card, context)


def finish_text(statement: Statement, card: Card, context: ReadContext) -> Record | Rejection:
    """Make the record of a text without an image; without a stated patient, it is a person's of its own."""
    path, _, part = statement.where.partition("#")
    alone = replace(statement, patient=statement.patient or f"text {statement.where}")
    return without_pixels(
        _finish(Draft(path=path, part=part, pixels=NO_PIXELS, **_said(alone)), alone, card, context)
    )


def _sets(store: RowStore, card: Card, context: ReadContext, file: str) -> Samples:
    for images, statements in store.sets(file):
        known = [store.record_of(image) for image in images]
        reason = _set_fault(known)
        if reason:
            yield from (Rejection(statement.where, reason) for statement in statements)
            continue
        whole, refused = merge(statements)
        yield from refused
        named = " ".join(record for record, _, _ in known)
        draft = Draft(
            path=known[0][2],
            part=f"set/{stable_id(*images)}",
            pixels=NO_PIXELS,
            compared_with=named,
            **_said(whole),
        )
        yield without_pixels(_finish(draft, replace(whole, split=known[0][1]), card, context))


def _set_fault(known: list[tuple[str, str, str]]) -> str:
    if not all(record for record, _, _ in known):
        return "image_of_set_refused"
    return "images_in_different_splits" if len({split for _, split, _ in known}) > 1 else ""


def without_pixels(made: Record | Rejection) -> Record | Rejection:
    """Take the stand-in pixels out of a record that has no image of its own."""
    if isinstance(made, Rejection):
        return made
    return replace(
        made, image=b"", image_format="", width=0, height=0, sha256="", perceptual_hash="", window=NOT_STATED
    )  # fmt: skip


def _said(statement: Statement) -> dict[str, Any]:
    return {
        name: getattr(statement, name)
        for name in ("patient", "study", "modality", "department", "body_part", "labels", "text", "text_kind",
                     "questions", "facts")
    }  # fmt: skip


def _finish(draft: Draft, statement: Statement, card: Card, context: ReadContext) -> Record | Rejection:
    """Finish a draft; what the row states of split, language and patient goes before the card's rule."""
    ruled = card
    if statement.patient:
        stated = card.patient.model_copy(update={"rule": "dicom", "pattern": ""})
        ruled = card.model_copy(update={"patient": stated})
    made = finish(draft, ruled, context)
    if isinstance(made, Rejection):
        return Rejection(statement.where or made.where, made.reason)
    return replace(made, split=statement.split or made.split, language=statement.language or made.language)
