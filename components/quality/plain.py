"""Judge the suite with pandas alone: the fallback, and the check on what Great Expectations says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from components.quality.suite import MAX_ROWS, Expectation, Outcome

if TYPE_CHECKING:
    import pandas as pd


def judge_plain(frame: pd.DataFrame, expectations: Sequence[Expectation], *, key: str) -> list[Outcome]:
    """Return one outcome an expectation; `key` is the column that names a row."""
    return [_judge(frame, expectation, key) for expectation in expectations]


def _judge(frame: pd.DataFrame, expectation: Expectation, key: str) -> Outcome:
    failing = frame[~_holds(frame, expectation)].head(MAX_ROWS)
    failed = int((~_holds(frame, expectation)).sum())
    rows = tuple(failing_row(row, expectation, key) for row in failing.to_dict("records"))
    return Outcome(expectation.name, len(frame), failed, rows)


def failing_row(row: dict, expectation: Expectation, key: str) -> dict[str, str]:
    """Name a failing row and what was observed in it."""
    observed = ", ".join(f"{column}={row[column]}" for column in expectation.columns)
    return {key: str(row[key]), "observed": observed}


def _holds(frame: pd.DataFrame, expectation: Expectation) -> pd.Series:
    column = frame[expectation.columns[0]]
    if expectation.rule == "filled":
        return column.astype("str").str.contains(r"\S", regex=True)
    if expectation.rule == "in_set":
        return column.isin(list(expectation.values))
    if expectation.rule == "equal_columns":
        return column == frame[expectation.columns[1]]
    above = column >= (expectation.low if expectation.low is not None else float("-inf"))
    return above & (column <= (expectation.high if expectation.high is not None else float("inf")))
