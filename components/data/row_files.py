"""Rows of JSON, JSONL, CSV and other delimited tables, one in memory at a time; `.gz` is read as it is.

A row that cannot be read is a Rejection that names the file and the row; a file that is not what the card says
(cut JSON, a wrong delimiter, a wrong encoding) is a DataError that names the file and the line.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

from pydantic import Field

from components.data.delimited import LONGEST_CELL, rows_by_name, take_header, text_cells
from components.data.json_rows import iterate_json
from components.data.reading import Rejection, find_files
from components.errors import CardInvalid, DataError
from components.records import Language, Split
from components.settings import Frozen, Words

MAX_LINE = LONGEST_CELL  # characters of one JSONL line
DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": "|"}


class FileGroup(Frozen):
    """Files of one glob, and what holds for all of their rows."""

    file: str = Field(min_length=1, description="glob of the files, inside the source")
    split: Split | None = Field(
        default=None, description="split of every row; the row's own column goes before it"
    )
    language: Language | None = Field(
        default=None, description="language of every row that does not state its own"
    )


class Table(FileGroup):
    """Files of rows written as text."""

    form: Literal["by ending", "json", "jsonl", "delimited"] = Field(
        default="by ending", description="`by ending` goes by .json, .jsonl, .csv, .tsv, .txt, each also with .gz"
    )
    section: str = Field(
        default="", description="key of a JSON object under which the rows lie; all keys if empty"
    )
    delimiter: str = Field(
        default="", description="of a delimited table; by ending: , of .csv, tab of .tsv, | of .txt"
    )
    header: Words = Field(default=(), description="column names of a delimited table without a header line")
    encoding: str = Field(
        default="utf-8", description="Python's name of the encoding; a byte-order mark is dropped"
    )
    only: dict[str, Words] = Field(
        default_factory=dict, description="column -> values; rows with others are left out uncounted"
    )


@dataclass(frozen=True, slots=True)
class Row:
    """One row: `where` is "file#number" (rows counted from 1), `values` its columns."""

    where: str
    values: dict[str, Any]
    table: FileGroup


def iterate_tables(root: Path, tables: tuple[Table, ...], *, needed: tuple[str, ...]) -> Iterator[Row | Rejection]:
    """Yield the rows of all tables, in the card's order and in name order of the files.

    Raises:
        CardInvalid: a delimited table's header lacks one of the `needed` columns.
        DataError: a file is cut short, not the stated form, or in another encoding.
        DatasetMissing: a glob matches nothing.
    """
    for table in tables:
        for path in find_files(root, table.file):
            relative = path.relative_to(root).as_posix()
            for row in _iterate_file(path, relative, table, needed):
                if isinstance(row, Rejection) or _is_wanted(row, table):
                    yield row


def value_at(values: dict[str, Any], column: str) -> Any:
    """Return a column's value; "a.b" goes into nested objects; None when it is not there."""
    if column in values:
        return values[column]
    found: Any = values
    for part in column.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _is_wanted(row: Row, table: Table) -> bool:
    return all(_word(value_at(row.values, column)) in kept for column, kept in table.only.items())


def _word(value: Any) -> str:
    """Write a value as JSON and YAML do: true, not True."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _iterate_file(path: Path, relative: str, table: Table, needed: tuple[str, ...]) -> Iterator[Row | Rejection]:
    form, ending = _form_of(path, table)
    readers: dict[str, Callable[[TextIO], Iterator[tuple[str, Any]]]] = {
        "json": lambda handle: iterate_json(handle, relative, section=table.section),
        "jsonl": _lines,
        "delimited": lambda handle: _delimited(handle, relative, table, ending, needed),
    }
    try:
        with _open(path, _encoding_of(table, relative)) as handle:
            for number, values in readers[form](handle):
                where = f"{relative}#{number}"
                yield Row(where, values, table) if isinstance(values, dict) else Rejection(where, _reason(values))
            if not path.stat().st_size:
                yield Rejection(relative, "file_empty")
    except UnicodeDecodeError as error:
        raise DataError(
            f"table_encoding_wrong: not {table.encoding} text: {error.reason} at byte {error.start} of a block",
            where=relative,
            fix="state the table's `encoding` in the card",
        ) from error  # fmt: skip
    except (EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"compressed file is cut short: {error}", where=relative, fix="fetch it again") from error


def _reason(values: Any) -> str:
    return values if isinstance(values, str) and values in ROW_FAULTS else "row_not_an_object"


ROW_FAULTS = ("row_not_json", "row_length_differs", "row_too_long")


def _form_of(path: Path, table: Table) -> tuple[str, str]:
    ending = Path(path.name.removesuffix(".gz")).suffix.lower()
    if table.form != "by ending":
        return table.form, ending
    known = {".json": "json", ".jsonl": "jsonl", **dict.fromkeys(DELIMITERS, "delimited")}
    if ending not in known:
        raise CardInvalid(f"cannot tell a table's form from {ending!r}", where=path.name, fix="state its `form`")
    return known[ending], ending


def _encoding_of(table: Table, relative: str) -> str:
    try:
        codec = codecs.lookup(table.encoding).name
    except LookupError as error:
        raise CardInvalid(f"no encoding named {table.encoding!r}", where=relative, fix="mend the card") from error
    return "utf-8-sig" if codec == "utf-8" else codec


def _open(path: Path, encoding: str) -> TextIO:
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.GzipFile(path), encoding=encoding, newline="")
    return path.open(encoding=encoding, newline="")


def _lines(handle: TextIO) -> Iterator[tuple[str, Any]]:
    number = 0
    while line := handle.readline(MAX_LINE):
        number += 1
        if len(line) == MAX_LINE and not line.endswith("\n"):
            while (rest := handle.readline(MAX_LINE)) and not rest.endswith("\n"):
                pass
            yield str(number), "row_too_long"
        elif line.strip():
            yield str(number), _parse_line(line)


def _parse_line(line: str) -> Any:
    try:
        values = json.loads(line)
    except (json.JSONDecodeError, RecursionError):
        return "row_not_json"
    return values if isinstance(values, dict) else None


def _delimited(
    handle: TextIO, relative: str, table: Table, ending: str, needed: tuple[str, ...]
) -> Iterator[tuple[str, Any]]:
    rows = text_cells(handle, table.delimiter or DELIMITERS.get(ending, ","), quoted=ending != ".txt")
    try:
        header = take_header(rows, table.header)
        _check_header(header, relative, (*needed, *table.only))
        for number, values in rows_by_name(header, rows):
            yield str(number), "row_length_differs" if values is None else values
    except csv.Error as error:
        raise DataError(f"not a delimited table: {error}", where=relative) from error


def _check_header(header: list[str], relative: str, needed: tuple[str, ...]) -> None:
    missing = [name for name in needed if name and name not in header]
    if missing:
        raise CardInvalid(
            f"table_columns_missing: no column {', '.join(missing)}; "
            f"the header has: {', '.join(header)[:300] or 'nothing'}",
            where=f"{relative}, line 1", fix="mend the card's columns, or state the table's `delimiter`",
        )  # fmt: skip
