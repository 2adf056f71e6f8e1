"""The cells of an .xlsx workbook, as text: a zip archive of XML (ECMA-376), with no formula evaluated.

Only values that the file itself holds are read. Refused: what is no workbook, and parts that unpack to more
than `LARGEST_BYTES`.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from components.data.faults import Refused
from components.data.markup import LARGEST_BYTES, parse_xml

LETTERS = re.compile(r"([A-Z]{1,3})\d+")
MOST_COLUMNS = 1000


def read_cells(path: Path, sheet: str = "") -> Iterator[list[str]]:
    """Yield the rows of a sheet (by name, or the first one) as lists of cells; empty rows are left out.

    Raises Refused: `sheet_missing`, `workbook_malformed`, `file_empty`.
    """
    if path.stat().st_size == 0:
        raise Refused("file_empty", path.name)
    try:
        with zipfile.ZipFile(path) as archive:
            part = _part_of(archive, sheet)
            shared = _shared_texts(archive)
            document = _parse(archive, part)
    except (zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError, EOFError) as error:
        raise Refused("workbook_malformed", f"{path.name}: {error}") from error
    for row in document.iterfind("{*}sheetData/{*}row"):
        cells = _cells(row, shared)
        if any(cells):
            yield cells


def _parse(archive: zipfile.ZipFile, name: str) -> Element:
    if archive.getinfo(name).file_size > LARGEST_BYTES:
        raise Refused("xml_too_large", name)
    with archive.open(name) as stream:
        return parse_xml(stream.read(LARGEST_BYTES + 1))


def _part_of(archive: zipfile.ZipFile, sheet: str) -> str:
    """Return the archive's part that holds the sheet."""
    sheets = {
        str(item.get("name")): next((value for key, value in item.attrib.items() if key.endswith("id")), "")
        for item in _parse(archive, "xl/workbook.xml").iterfind("{*}sheets/{*}sheet")
    }
    wanted = sheets.get(sheet) if sheet else next(iter(sheets.values()), None)
    if wanted is None:
        raise Refused("sheet_missing", f"{sheet!r}; there are {', '.join(sheets)}")
    for relation in _parse(archive, "xl/_rels/workbook.xml.rels"):
        if relation.get("Id") == wanted:
            target = str(relation.get("Target"))
            return target.removeprefix("/") if target.startswith("/") else f"xl/{target}"
    raise Refused("workbook_malformed", f"no part {wanted!r}")


def _shared_texts(archive: zipfile.ZipFile) -> list[str]:
    if "xl/sharedStrings.xml" not in archive.namelist():
        return []
    return [_text(item) for item in _parse(archive, "xl/sharedStrings.xml").iterfind("{*}si")]


def _text(item: Element) -> str:
    return "".join(part.text or "" for part in item.iter() if part.tag in ("t", "{*}t") or part.tag.endswith("}t"))


def _cells(row: Element, shared: list[str]) -> list[str]:
    cells: list[str] = []
    for place, cell in enumerate(row.iterfind("{*}c")):
        match = LETTERS.fullmatch(str(cell.get("r") or ""))
        column = _number(match[1]) if match else place
        if not len(cells) <= column < MOST_COLUMNS:
            raise Refused("workbook_malformed", f"cell {cell.get('r')}")
        cells += [""] * (column - len(cells)) + [_value(cell, shared)]
    return cells


def _number(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number - 1


def _value(cell: Element, shared: list[str]) -> str:
    kind, text = cell.get("t", "n"), cell.findtext("{*}v") or ""
    if kind == "inlineStr":
        return _text(cell)
    if kind != "s":
        return text
    if not text.isdecimal() or int(text) >= len(shared):
        raise Refused("workbook_malformed", f"shared text {text!r}")
    return shared[int(text)]
