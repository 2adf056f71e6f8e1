"""Statements gathered by the image they speak of, on disk: a temporary SQLite file, sorted by the database.

Rows of one image lie anywhere in a table, and a corpus has millions; memory stays that of one image.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import tempfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any

from components.data.row_mapping import Statement
from components.records import SourceQuestion, stable_id

TABLES = (
    "CREATE TABLE said (image TEXT, number INTEGER PRIMARY KEY, statement TEXT, file TEXT)",
    "CREATE TABLE sets (number INTEGER PRIMARY KEY, images TEXT, statement TEXT, file TEXT)",
    "CREATE TABLE alone (number INTEGER PRIMARY KEY, statement TEXT, file TEXT)",
    "CREATE TABLE seen (id BLOB PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE found (image TEXT PRIMARY KEY, record TEXT, split TEXT, path TEXT) WITHOUT ROWID",
)
FIELDS = tuple(field.name for field in dataclasses.fields(Statement))


class RowStore:
    """A scratch database for the time of one read; use as a context manager."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="gmai-rows-")
        self._base = sqlite3.connect(Path(self._folder.name) / "rows.db", isolation_level=None)

    def __enter__(self) -> RowStore:
        for command in ("PRAGMA journal_mode=OFF", "PRAGMA synchronous=OFF", *TABLES, "BEGIN"):
            self._base.execute(command)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._base.close()
        self._folder.cleanup()

    def is_new(self, *parts: str) -> bool:
        """Remember these parts; False when they were remembered before."""
        key = bytes.fromhex(stable_id(*parts))
        return self._base.execute("INSERT OR IGNORE INTO seen VALUES (?)", (key,)).rowcount == 1

    def add(self, statement: Statement) -> None:
        """Keep a statement under its image; of several images, under the set, and a bare one under each."""
        file = file_of(statement.where)
        if not statement.images:
            self._base.execute("INSERT INTO alone (statement, file) VALUES (?, ?)", (_write(statement), file))
        elif len(statement.images) == 1:
            self._say(statement.images[0], statement)
        else:
            for index, image in enumerate(statement.images):
                self._say(image, statement.bare(index))
            images = json.dumps(statement.images)
            row = (images, _write(statement), file)
            self._base.execute("INSERT INTO sets (images, statement, file) VALUES (?, ?, ?)", row)

    def _say(self, image: str, statement: Statement) -> None:
        row = (image, _write(statement), file_of(statement.where))
        self._base.execute("INSERT INTO said (image, statement, file) VALUES (?, ?, ?)", row)

    def files(self) -> list[str]:
        """Return the files whose rows are here, in name order."""
        parts = " UNION ".join(f"SELECT file FROM {table}" for table in ("said", "sets", "alone"))
        return [file for (file,) in self._base.execute(f"{parts} ORDER BY file").fetchall()]

    def images_of(self, file: str) -> Iterator[str]:
        """Yield the images that a file's rows name, each once."""
        query = "SELECT DISTINCT image FROM said WHERE file = ? ORDER BY image"
        yield from (image for (image,) in self._base.cursor().execute(query, (file,)))

    def images_are_shared(self) -> bool:
        """Tell whether rows of two files speak of one image."""
        query = "SELECT 1 FROM said GROUP BY image HAVING COUNT(DISTINCT file) > 1 LIMIT 1"
        return self._base.execute(query).fetchone() is not None

    def is_loose(self) -> bool:
        """Tell whether each row speaks of one image, or its whole file of none."""
        query = "SELECT 1 FROM sets UNION ALL SELECT 1 FROM alone WHERE file IN (SELECT file FROM said) LIMIT 1"
        return self._base.execute(query).fetchone() is None

    def files_alone(self) -> list[str]:
        """Return the files with rows that speak of no image, in name order."""
        return [file for (file,) in self._base.execute("SELECT DISTINCT file FROM alone ORDER BY file").fetchall()]

    def index(self) -> None:
        """Build the index that `of` needs; called once, after the last `add`."""
        self._base.execute("CREATE INDEX by_image ON said (image, number)")

    def index_files(self) -> None:
        """Build the indexes that make reading file by file cheap; called once, after the last `add`."""
        for table in ("said", "sets", "alone"):
            self._base.execute(f"CREATE INDEX {table}_by_file ON {table} (file)")

    def by_image(self, file: str = "") -> Iterator[tuple[str, list[Statement]]]:
        """Yield each image with all that is said of it (in one file, if named), in the images' order."""
        yield from self._grouped("SELECT image, statement FROM said {} ORDER BY image, number", file)

    def of(self, image: str) -> list[Statement]:
        """Return what is said of one image, in the rows' order."""
        rows = self._base.execute("SELECT statement FROM said WHERE image = ? ORDER BY number", (image,))
        return [_read(text) for (text,) in rows.fetchall()]

    def unfound(self) -> Iterator[tuple[str, list[Statement]]]:
        """Yield the images that were never marked as found, with what is said of them."""
        yield from self._grouped(
            "SELECT image, statement FROM said WHERE image NOT IN (SELECT image FROM found) ORDER BY image, number"
        )

    def mark(self, image: str, record: str = "", split: str = "", path: str = "") -> None:
        """Remember that an image was found, with its record ("" when it was refused), split and path."""
        self._base.execute("INSERT OR IGNORE INTO found VALUES (?, ?, ?, ?)", (image, record, split, path))

    def is_marked(self, image: str) -> bool:
        """Tell whether an image was found before."""
        return self._base.execute("SELECT 1 FROM found WHERE image = ?", (image,)).fetchone() is not None

    def record_of(self, image: str) -> tuple[str, str, str]:
        """Return (record id, split, path) of an image; empty when it gave no record."""
        query = "SELECT record, split, path FROM found WHERE image = ?"
        row = self._base.execute(query, (image,)).fetchone()
        return (row[0], row[1], row[2]) if row else ("", "", "")

    def sets(self, file: str = "") -> Iterator[tuple[tuple[str, ...], list[Statement]]]:
        """Yield each set of several images with all that is said of it as a whole (in one file, if named)."""
        for images, said in self._grouped("SELECT images, statement FROM sets {} ORDER BY images, number", file):
            yield tuple(json.loads(images)), said

    def alone(self, file: str = "") -> Iterator[Statement]:
        """Yield the statements without an image (of one file, if named), in the rows' order."""
        for _, said in self._grouped("SELECT number, statement FROM alone {} ORDER BY number", file):
            yield from said

    def _grouped(self, query: str, file: str = "") -> Iterator[tuple[Any, list[Statement]]]:
        rows = self._base.cursor().execute(query.format("WHERE file = ?" if file else ""), (file,) if file else ())
        for key, group in groupby(rows, key=lambda row: row[0]):
            yield key, [_read(text) for _, text in group]


def file_of(where: str) -> str:
    """Return the file of a row's place."""
    return where.partition("#")[0]


def _write(statement: Statement) -> str:
    plain: list[Any] = [getattr(statement, name) for name in FIELDS]
    plain[FIELDS.index("questions")] = [
        (q.question, q.answer, q.options, q.question_type) for q in statement.questions
    ]
    return json.dumps(plain)


def _read(text: str) -> Statement:
    values: dict[str, Any] = dict(zip(FIELDS, json.loads(text), strict=True))
    values["questions"] = tuple(SourceQuestion(q, a, tuple(o), kind) for q, a, o, kind in values["questions"])
    values["facts"] = tuple((name, said) for name, said in values["facts"])
    values |= {name: tuple(values[name]) for name in ("images", "labels", "views")}
    return Statement(**values)
