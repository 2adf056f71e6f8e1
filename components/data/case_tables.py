"""What a source's table (CSV or TSV, such as BIDS participants.tsv) says of each case: class, sex, age, facts.

Ages become decades and sexes the two words of the records before they leave this module. Refused, counted:
two differing rows of one case (`row_repeated`), a case without its row where the table gives its class
(`row_missing`), a class the card does not know (`class_not_in_vocabulary`).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from components.data.card import Card
from components.data.case_paths import fill
from components.data.deidentify import band_of_years
from components.data.faults import Refused
from components.data.reading import Rejection, resolve_inside
from components.errors import DataError, DatasetMissing
from components.settings import Frozen

SEXES = {"m": "male", "male": "male", "f": "female", "female": "female"}
UNSTATED = {"", "n/a", "na", "nan", "none", "null", "unknown", "-"}


class CaseTable(Frozen):
    """A table with one row a case."""

    file: str = Field(description="CSV or TSV (by its suffix) inside the source, with a header line")
    key: str = Field(description="column that names the case, such as participant_id")
    matches: str = Field(
        default="{case}",
        description="what the key must equal, from names captured by the path, such as sub-{case}",
    )
    delimiter: str = Field(default="", max_length=1, description="defaults to tab for .tsv, comma otherwise")
    label: str = Field(default="", description="column of the class; its values go through the card's label_map")
    sex: str = Field(default="", description="column of M/F or male/female")
    age: str = Field(default="", description="column of the age in years; only its decade is kept")
    facts: dict[str, str] = Field(default_factory=dict, description="column -> name of the fact its value states")


class CaseRules(Frozen):
    """What path and table say of a whole image: its class and facts. Words may hold {names} the path captures."""

    class_from: str = Field(
        default="", description="words made of captured names, such as {grade}: the image's class, by label_map"
    )
    table: CaseTable | None = Field(default=None, description="table of class, sex, age and facts of each case")
    facts_from: dict[str, str] = Field(
        default_factory=dict, description="fact -> words made of captured names, such as {phase}"
    )


@dataclass(frozen=True, slots=True)
class Said:
    """What is said of a whole image: canonical labels and facts."""

    classes: tuple[str, ...]
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CaseRows:
    """A table's rows by key, and the rows refused."""

    table: CaseTable
    rows: Mapping[str, Mapping[str, str]]
    refused: tuple[Rejection, ...]


def read_case_table(root: Path, table: CaseTable) -> CaseRows:
    """Read a table whole.

    Raises DatasetMissing when it is absent, DataError when it has not the columns or is not UTF-8 text.
    """
    path = resolve_inside(root, table.file)
    if not path.is_file():
        raise DatasetMissing(
            "table_missing: table of cases is absent", where=str(path), fix="gmai sources; gmai sample-data"
        )
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            delimiter = table.delimiter or ("\t" if path.suffix == ".tsv" else ",")
            found = list(csv.DictReader(handle, delimiter=delimiter))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"table_encoding_wrong: not a table: {error}", where=str(path), fix="save it as UTF-8"
        ) from error
    wanted = {table.key, table.label, table.sex, table.age, *table.facts} - {""}
    missing = sorted(wanted - set(found[0] if found else ()))
    if missing:
        raise DataError(
            f"table_columns_missing: table has no column {missing[0]!r}",
            where=str(path),
            fix="mend the card's options",
        )
    return _by_key(table, found)


def _by_key(table: CaseTable, found: list[dict[str, str]]) -> CaseRows:
    rows: dict[str, Mapping[str, str]] = {}
    refused = []
    for number, row in enumerate(found, start=2):
        key = (row[table.key] or "").strip()
        if rows.setdefault(key, row) != row:
            refused.append(Rejection(f"{table.file}#row {number}", "row_repeated"))
    return CaseRows(table, rows, tuple(refused))


def said_of_case(rules: CaseRules, rows: CaseRows | None, card: Card, names: Mapping[str, str]) -> Said:
    """Put together what path and table say of a case.

    Raises Refused("class_not_in_vocabulary") and, where the table gives the class, ("row_missing").
    """
    facts = {name: fill(words, names) for name, words in rules.facts_from.items()}
    classes = _class_term(card, fill(rules.class_from, names)) if rules.class_from else ()
    if rows is None:
        return Said(classes, facts)
    row = rows.rows.get(fill(rows.table.matches, names))
    if row is None and rows.table.label:
        raise Refused("row_missing")
    classes += _class_term(card, _text(row or {}, rows.table.label))
    return Said(tuple(dict.fromkeys(classes)), {**facts, **_facts_of_row(rows.table, row or {})})


def _class_term(card: Card, said: str) -> tuple[str, ...]:
    """The canonical label of a class; none when the source leaves it open or the card drops it."""
    term = card.term(said)
    if said and term is None:
        raise Refused("class_not_in_vocabulary")
    return (term.label,) if term and term.label else ()


def _facts_of_row(table: CaseTable, row: Mapping[str, str]) -> dict[str, str]:
    """Return what a row states of its case; what it leaves open is left out."""
    facts = {name: _text(row, column) for column, name in table.facts.items()}
    facts["sex"] = SEXES.get(_text(row, table.sex).lower(), "")
    facts["age band"] = band_of_years(_text(row, table.age))
    return {name: value for name, value in facts.items() if value}


def _text(row: Mapping[str, str], column: str) -> str:
    value = (row.get(column) or "").strip() if column else ""
    return "" if value.lower() in UNSTATED else value
