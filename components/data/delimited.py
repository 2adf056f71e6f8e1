"""Delimited text cut into rows: the part that tables of labels and tables of statements share.

Which delimiter, encoding and quoting, and what a fault is called, the two say themselves (`tables.py`,
`row_files.py`); what a header and a row are is the same.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import TextIO

LONGEST_CELL = 16 << 20  # characters


def text_cells(handle: TextIO, delimiter: str, *, quoted: bool = True) -> Iterator[list[str]]:
    """Yield the cells of each line; without `quoted`, a quotation mark is a letter like any other.

    Raises csv.Error with the line's number, as for a cell of more than LONGEST_CELL.
    """
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader(handle, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)
    try:
        yield from reader
    except csv.Error as error:
        raise csv.Error(f"{error}, line {reader.line_num}") from error


def take_header(rows: Iterator[list[str]], stated: Sequence[str]) -> list[str]:
    """Return the columns' names: those that the card states, else the cells of the first row, which is taken."""
    return list(stated) or [name.strip() for name in next(rows, [])]


def rows_by_name(names: Sequence[str], rows: Iterable[list[str]]) -> Iterator[tuple[int, dict[str, str] | None]]:
    """Yield (row number from 1, column -> cell), None for a row with too many or few cells.

    Empty rows are counted and passed over.
    """
    for number, cells in enumerate(rows, start=1):
        if cells:
            yield number, dict(zip(names, cells, strict=True)) if len(cells) == len(names) else None
