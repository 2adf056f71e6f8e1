"""A source of cases as its reader opened it: its files, its table, its card; the same from case to case.

The readers of volumes, DICOM series and annotated slides find their cases by path templates and take the same
words about a case from path and table (`case_tables`); this is the part they share.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from components.data.card import Card
from components.data.case_paths import SourceTree, list_files
from components.data.case_tables import CaseRows, CaseRules, Said, read_case_table, said_of_case
from components.data.reading import ReadContext, Rejection
from components.errors import DatasetMissing

Rules = TypeVar("Rules", bound=CaseRules)


@dataclass(frozen=True, slots=True)
class CaseSource(Generic[Rules]):
    """All that stays the same from case to case. `max_side` is the longest stored side in pixels."""

    tree: SourceTree
    card: Card
    options: Rules
    rows: CaseRows | None
    max_side: int

    @property
    def refused(self) -> tuple[Rejection, ...]:
        """The links and the table's rows that were refused before any case was read."""
        return (*self.tree.refused, *(self.rows.refused if self.rows else ()))

    def find(
        self, template: str, *, exclude: Sequence[str] = (), optional: bool = False
    ) -> list[tuple[str, dict[str, str]]]:
        """List the files that fit a template and no glob of `exclude`, each with what the template captured.

        Raises DatasetMissing when there is none, unless that is `optional`.
        """
        fitting = self.tree.match(template)
        found = [one for one in fitting if not any(fnmatch.fnmatchcase(one[0], glob) for glob in exclude)]
        if not found and not optional:
            # What is there may be a link that was refused: then that is the reason.
            reason = next((one.reason for one in self.tree.refused), "file_missing")
            raise DatasetMissing(
                f"{reason}: no file matches {template!r}", where=str(self.tree.root), fix="gmai sources"
            )
        return found

    def said_of(self, names: Mapping[str, str], classes: Sequence[str] = ()) -> Said:
        """Put together what path and table say of a case, `classes` first; raises as `said_of_case` does."""
        said = said_of_case(self.options, self.rows, self.card, names)
        return replace(said, classes=tuple(dict.fromkeys((*classes, *said.classes))))


def open_cases(root: Path, card: Card, options: Rules, context: ReadContext) -> CaseSource[Rules]:
    """List a source's files and read its table.

    Raises:
        DatasetMissing: the table is absent.
        DataError: the table cannot be read, or lacks a column.
    """
    rows = read_case_table(root, options.table) if options.table else None
    return CaseSource(list_files(root), card, options, rows, context.max_side)
