"""Which column of a row says what: the part of the options that every reader of tables has.

A row becomes a Statement: the images it names and what it says of them. What cannot be a Statement is a
Rejection with its reason; nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from pydantic import Field

from components.data.card import Card
from components.data.faults import Refused
from components.data.paths import check_stays
from components.data.reading import Rejection
from components.data.row_files import Row, Table, value_at
from components.records import Language, Modality, SourceQuestion, Split
from components.settings import Frozen, Words

COLUMN = re.compile(r"\{([^{}]+)\}")
CHINESE = re.compile(r"[\u3400-\u9fff]")
WORDS: dict[str, Language] = {"en": "en", "zh": "zh"}
SPLITS: dict[str, Split] = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation", "validate": "validation",
    "validation": "validation", "dev": "validation", "test": "test", "testing": "test",
}  # fmt: skip


class ColumnMapping(Frozen):
    """The columns that say what is known of a row's image."""

    id: str = Field(default="", description="column of a row's id; a second row of a file with it is refused")
    split: str = Field(default="", description="column of the split; goes before the table's and the card's")
    splits: dict[str, Split] = Field(
        default_factory=lambda: dict(SPLITS), description="the column's words -> split"
    )
    language: str = Field(default="", description="column of the row's language")
    languages: dict[str, Language] = Field(
        default_factory=lambda: dict(WORDS), description="the column's words -> language"
    )
    patient: str = Field(default="", description="column of the patient's id; goes before the card's rule; hashed")
    study: str = Field(default="", description="column of the study's id; hashed")
    modality: str = Field(default="", description="column of the modality")
    modalities: dict[str, Modality] = Field(default_factory=dict, description="the column's words -> modality")
    body_part: str = Field(default="", description="column of the body part, taken in lower case")
    labels: Words = Field(default=(), description="columns of labels (or lists), by the card's label_map")
    facts: dict[str, str] = Field(default_factory=dict, description="fact's name -> column that states it")

    def columns(self) -> tuple[str, ...]:
        """Return the columns that a row must have."""
        plain = (self.id, self.split, self.language, self.patient, self.study, self.modality, self.body_part)
        return tuple(name for name in (*plain, *self.labels, *self.facts.values()) if name)


class RowMapping(ColumnMapping):
    """Tables whose rows name their images by path, and the columns of those rows."""

    tables: tuple[Table, ...] = Field(min_length=1, description="files of rows, in the order they are read")
    image: str = Field(
        default="",
        description='path of a row\'s image with columns in braces: "imgs/{img_name}"; a column may hold a list. '
        "Empty: the rows have no image",
    )
    remove_prefix: str = Field(
        default="", description="cut from the front of the path that `image` gives, if there"
    )
    archives: Words = Field(
        default=(), description="globs of zip and tar files that hold the images; empty: they lie as files"
    )

    def columns(self) -> tuple[str, ...]:
        """Return the columns that a row must have, those of the image's path too."""
        return (*COLUMN.findall(self.image), *super().columns())


@dataclass(frozen=True, slots=True)
class Statement:
    """What one row says. `images` are paths inside the source or its archives; none for text alone.

    Empty text means that the row (or the card, where it has a value) does not say.
    """

    where: str
    id: str = ""
    images: tuple[str, ...] = ()
    text: str = ""
    text_kind: str = ""
    questions: tuple[SourceQuestion, ...] = ()
    split: str = ""
    language: str = ""
    patient: str = ""
    study: str = ""
    modality: str = ""
    department: str = ""
    body_part: str = ""
    labels: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    views: tuple[str, ...] = ()  # of each image, where the source states them

    def bare(self, index: int) -> Statement:
        """Return what is said of one image of several by itself: no text, its own view."""
        return replace(self.only(index), id="", text="", text_kind="", questions=())

    def only(self, index: int) -> Statement:
        """Return the statement as made of one of its images alone."""
        view = (("view", self.views[index]),) if self.views and self.views[index] else ()
        own = "" if index else self.id
        return replace(self, id=own, images=(self.images[index],), facts=(*self.facts, *view), views=())


def state_row(row: Row, mapping: ColumnMapping, card: Card) -> Statement | Rejection:
    """Read the columns that all kinds of rows share."""
    try:
        return Statement(
            where=row.where, id=_plain(row, mapping.id), images=images_of(row, mapping),
            split=_split(row, mapping), language=_language(row, mapping), patient=_plain(row, mapping.patient),
            study=_plain(row, mapping.study), modality=_modality(row, mapping),
            body_part=_plain(row, mapping.body_part).lower(), labels=_labels(row, mapping, card),
            facts=tuple((name, said) for name, column in mapping.facts.items() if (said := _plain(row, column))),
        )  # fmt: skip
    except Refused as fault:
        return Rejection(row.where, fault.reason)


def images_of(row: Row, mapping: ColumnMapping) -> tuple[str, ...]:
    """Return the paths of a row's images; Refused for one that is not named or leaves the source."""
    if not isinstance(mapping, RowMapping) or not mapping.image:
        return ()
    paths = [mapping.image]
    for column in COLUMN.findall(mapping.image):
        value = value_at(row.values, column)
        values = value if isinstance(value, list) else [value]
        paths = [path.replace(f"{{{column}}}", _path_text(one)) for path in paths for one in values]
    if not paths:
        raise Refused("image_not_named")
    return tuple(check_path(path.removeprefix(mapping.remove_prefix)) for path in paths)


def check_path(path: str) -> str:
    """Return the path in plain form; Refused when it is absolute, climbs or is no path at all."""
    if "\0" in path:
        raise Refused("image_not_named")
    if "\\" in path:
        raise Refused("path_escapes_source", path)
    check_stays(path)
    pure = PurePosixPath(path)
    if not pure.name:
        raise Refused("image_not_named")
    return pure.as_posix()


def _path_text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise Refused("image_not_named")
    return whole_text(str(value).strip(), fault="image_not_named")


def whole_text(text: str, *, fault: str) -> str:
    """Return a text that can be stored; Refused for half of a surrogate pair, which JSON escapes can hold."""
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise Refused(fault)
    return text


def plain_text(value: Any, *, fault: str) -> str:
    """Return text as it is and a number as its digits; "" for nothing, Refused for anything else."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value != value:  # noqa: PLR0124
        raise Refused(fault)
    return whole_text(str(value).strip(), fault="text_not_unicode")


def is_chinese(text: str) -> bool:
    """Tell whether a text has Chinese characters."""
    return bool(CHINESE.search(text))


def add_words(
    statement: Statement | Rejection, say: Callable[[Statement], tuple[Statement, str]]
) -> Statement | Rejection:
    """Let `say` add a row's text or questions to its statement, and check the language of what it says.

    `say` returns the statement with its words, and those of them that show the language. What it raises as
    Refused becomes a Rejection; so does a text that is asked for and empty (`text_empty`). A Rejection stays one.
    """
    if isinstance(statement, Rejection):
        return statement
    try:
        full, words = say(statement)
    except Refused as fault:
        return Rejection(statement.where, fault.reason)
    if full.text_kind and not full.text:
        return Rejection(statement.where, "text_empty")
    return with_language(full, words)


def with_language(statement: Statement, text: str) -> Statement | Rejection:
    """Refuse a text whose script contradicts the language that its row states."""
    if statement.language and text and statement.language != ("zh" if is_chinese(text) else "en"):
        return Rejection(statement.where, "language_contradicts_text")
    return replace(statement, language=statement.language or ("zh" if is_chinese(text) else ""))


def _plain(row: Row, column: str) -> str:
    return plain_text(value_at(row.values, column), fault="column_not_text") if column else ""


def _split(row: Row, mapping: ColumnMapping) -> str:
    if not mapping.split:
        return row.table.split or ""
    return _named(_plain(row, mapping.split).lower(), mapping.splits, "split_unknown")


def _language(row: Row, mapping: ColumnMapping) -> str:
    if not mapping.language:
        return row.table.language or ""
    return _named(_plain(row, mapping.language), mapping.languages, "language_unknown")


def _modality(row: Row, mapping: ColumnMapping) -> str:
    return (
        _named(_plain(row, mapping.modality), mapping.modalities, "modality_not_mapped")
        if mapping.modality
        else ""
    )


def _named(word: str, names: Any, fault: str) -> str:
    if word not in names:
        raise Refused(fault)
    return names[word]


def _labels(row: Row, mapping: ColumnMapping, card: Card) -> tuple[str, ...]:
    found: list[str] = []
    for column in mapping.labels:
        value = value_at(row.values, column)
        for one in value if isinstance(value, list) else [value]:
            word = plain_text(one, fault="column_not_text")
            term = card.term(word) if word else None
            if word and term is None:
                raise Refused("label_not_in_vocabulary")
            found += [term.label] if term and term.label else []
    return tuple(sorted(set(found)))
