"""Delimited text tables and workbooks, row by row; a wrong delimiter or encoding is named, not guessed around.

What a row may say beside its labels (facts, age, patient, split) is the same for every reader that takes a
table, and is here too. A table that cannot be read at all raises; a bad row is a rejection.
"""

from __future__ import annotations

import csv
import difflib
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from components.data.deidentify import band_of_years
from components.data.delimited import rows_by_name, take_header, text_cells
from components.data.faults import Refused
from components.data.reading import Rejection
from components.data.spreadsheet import read_cells
from components.errors import DataError
from components.records import Split
from components.settings import Frozen, Words

DELIMITERS = (",", ";", "\t", "|")
BLANK = frozenset({"", "nan", "na", "n/a", "none", "null"})


class TableFormat(Frozen):
    """How a table's text is cut into cells."""

    delimiter: str = Field(default=",", min_length=1, max_length=1, description='one character; "\\t" for TSV')
    encoding: str = Field(default="utf-8-sig", description="Python's name of the encoding")
    header: Words = Field(default=(), description="the columns' names, for a table without a first row")
    sheet: str = Field(default="", description="of an .xlsx workbook: the sheet's name; empty is the first")


class RowMeaning(Frozen):
    """What the columns say beside the labels."""

    facts: dict[str, str] = Field(default_factory=dict, description="fact -> column that states it")
    fact_values: dict[str, dict[str, str]] = Field(
        default_factory=dict, description='fact -> cell -> plain words, such as sex: {M: male}; "" states nothing'
    )
    age_column: str = Field(default="", description="age in years; only its decade is kept, as `age band`")
    patient_column: str = Field(default="", description="who it is, for the card's patient rule `column`")
    study_column: str = Field(default="", description="the examination a picture belongs to")
    split_column: str = Field(default="", description="the source's published split")
    splits: dict[str, Split] = Field(default_factory=dict, description="cell of split_column -> split")

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that is named here."""
        named = (self.age_column, self.patient_column, self.study_column, self.split_column)
        return (*self.facts.values(), *(column for column in named if column))


@dataclass(frozen=True, slots=True)
class Meaning:
    """What one row says beside its labels; empty where it says nothing."""

    facts: tuple[tuple[str, str], ...] = ()
    patient: str = ""
    study: str = ""
    split: str = ""


def is_blank(cell: str) -> bool:
    """Tell whether a cell says nothing."""
    return cell.strip().lower() in BLANK


def meaning_of(row: Mapping[str, str], options: RowMeaning) -> Meaning:
    """Read facts, patient and split off a row; Refused (`split_not_known`) for a split nobody mapped."""
    split = ""
    if options.split_column:
        cell = row[options.split_column].strip()
        split = options.splits.get(cell, "")
        if not split:
            raise Refused("split_not_known", cell)
    facts = {name: _plain(name, row[column], options) for name, column in options.facts.items()}
    if options.age_column:
        facts["age band"] = band_of_years(row[options.age_column])
    patient = row[options.patient_column].strip() if options.patient_column else ""
    study = row[options.study_column].strip() if options.study_column else ""
    return Meaning(tuple(sorted((name, text) for name, text in facts.items() if text)), patient, study, split)


def _plain(name: str, cell: str, options: RowMeaning) -> str:
    text = "" if is_blank(cell) else cell.strip()
    return options.fact_values.get(name, {}).get(text, text)


def read_rows(
    path: Path, where: str, table: TableFormat, needed: Iterable[str]
) -> Iterator[tuple[int, dict[str, str]] | Rejection]:
    """Yield (row number from 1, column -> cell) a row; a row with too many or few cells is `row_malformed`.

    Raises:
        DataError: `table_encoding_wrong`, `table_delimiter_wrong`, `table_columns_missing`,
            `table_columns_repeated`, `table_empty` or `table_missing`; the message says what was found.
    """
    try:
        rows = _cells(path, table)
        names = take_header(rows, table.header)
        _check_header(names, table, needed, where)
        for number, row in rows_by_name(names, rows):
            yield Rejection(f"{where}#row/{number}", "row_malformed") if row is None else (number, row)
    except (UnicodeError, LookupError) as error:
        raise _fault("encoding_wrong", where, f"not {table.encoding}: {error}", "options: encoding") from error
    except FileNotFoundError as error:
        raise _fault("missing", where, "no such file", "gmai sources") from error
    except (csv.Error, Refused, zlib.error) as error:
        raise _fault("malformed", where, str(error), "mend the table, or options: delimiter") from error


def _cells(path: Path, table: TableFormat) -> Iterator[list[str]]:
    """Yield the cells of each row; a workbook leaves out its last blank ones, so short rows are filled up."""
    if path.suffix.lower() == ".xlsx":
        width = len(table.header)
        for cells in read_cells(path, table.sheet):
            width = width or len(cells)
            yield [*cells, *[""] * (width - len(cells))]
        return
    with path.open(newline="", encoding=table.encoding) as handle:
        yield from text_cells(handle, table.delimiter)


def _check_header(names: list[str], table: TableFormat, needed: Iterable[str], where: str) -> None:
    if not any(names):
        raise _fault("empty", where, "there is no header row", "bring the file again")
    missing = sorted(set(needed) - set(names))
    if not missing:
        repeated = sorted({name for name in needed if names.count(name) > 1})
        if repeated:
            raise _fault("columns_repeated", where, f"two columns are named {repeated[0]!r}", "options: header")
        return
    text = table.delimiter.join(names)
    others = [mark for mark in DELIMITERS if mark != table.delimiter and len(names) < len(text.split(mark))]
    if others and not table.header:
        raise _fault("delimiter_wrong", where, f"the header looks cut by {others[0]!r}", "options: delimiter")
    near = difflib.get_close_matches(missing[0], names, n=3)
    told = f"no column {missing[0]!r}; {'near are' if near else 'there are'} {', '.join(near or names[:12])}"
    raise _fault("columns_missing", where, told, "options: the columns' names, or header")


def _fault(reason: str, where: str, told: str, fix: str) -> DataError:
    return DataError(f"table_{reason}: {told}", where=where, fix=fix)
