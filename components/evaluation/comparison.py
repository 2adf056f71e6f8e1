"""`gmai compare A B`: two evaluations on the same items, patients kept whole, Holm over the parts.

Numbers of different protocols are not compared: each refusal names the parts of the protocol that differ. A and
B are folders that an evaluation wrote (`scores.json`, `predictions/`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from components.errors import BenchmarkError, DataError
from components.evaluation.corpus_numbers import (
    CorpusDifference,
    CorpusNumber,
    compare_corpus_numbers,
    read_corpus_numbers,
)
from components.evaluation.protocol import parts_of, why_not_comparable
from components.evaluation.scores import BREAKDOWNS, CLEAN, groups_of
from components.evaluation.statistics import FEWEST_CLUSTERS, PairedDifference, holm, paired_difference
from components.records import NOT_STATED
from components.tracking.tables import iterate_rows

SCORES, PREDICTIONS, MODEL = "scores.json", "predictions", "model"
NEEDED = ("item_id", "benchmark", "system", "metric", "score", "patient_key")
COLUMNS = (*NEEDED, *BREAKDOWNS, "is_seen")
Rows = dict[str, dict[str, Any]]  # item id -> prediction


@dataclass(frozen=True)
class Evaluated:
    """One evaluation as read back: its metrics file, the model's predictions by (benchmark, metric), and its
    numbers of many items by name.
    """

    name: str
    metrics: Mapping[str, Any]
    rows: Mapping[tuple[str, str], Rows]
    numbers: Mapping[str, CorpusNumber] = field(default_factory=dict)


@dataclass(frozen=True)
class Compared:
    """One number of A minus B's; or the reason why there is none."""

    benchmark: str
    metric: str
    difference: PairedDifference | CorpusDifference | None
    refusal: str = ""
    p_holm: float = 1.0

    @property
    def differs(self) -> bool:
        """True when the interval leaves out zero and the corrected test says so too."""
        return self.difference is not None and self.difference.differs and self.p_holm <= 0.05


def read_evaluated(folder: Path) -> Evaluated:
    """Read an evaluation's folder.

    Raises:
        BenchmarkError: it holds no evaluation, or a damaged one.
    """
    if not (folder / SCORES).is_file():
        raise BenchmarkError(f"no {SCORES} here", where=str(folder), fix="gmai evaluate")
    rows: dict[tuple[str, str], Rows] = {}
    for row in _predictions(folder / PREDICTIONS):
        if row["system"] == MODEL:
            rows.setdefault((row["benchmark"], row["metric"]), {})[row["item_id"]] = row
    return Evaluated(folder.as_posix(), _metrics(folder / SCORES), rows, _numbers(folder))


def _numbers(folder: Path) -> dict[str, CorpusNumber]:
    try:
        return read_corpus_numbers(folder)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BenchmarkError(f"the numbers of many items cannot be read: {error!r}", where=str(folder),
                             fix="gmai evaluate") from error  # fmt: skip


def _metrics(path: Path) -> Mapping[str, Any]:
    """Read a metrics file as far as a comparison needs it."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        for row in found["scores"]:
            _ = row["benchmark"], row["metric"], row["fingerprint"]
    except (ValueError, KeyError, TypeError) as error:
        raise BenchmarkError(f"this is no metrics file of an evaluation: {error!r}", where=str(path),
                             fix="gmai evaluate") from error  # fmt: skip
    return found


def _predictions(folder: Path) -> list[dict[str, Any]]:
    """Read the predictions that a comparison needs."""
    import pyarrow as pa

    try:
        rows = [{name: row[name] for name in NEEDED} | _groups_of(row) for row in iterate_rows(folder, COLUMNS)]
    except (DataError, OSError, pa.ArrowException, KeyError) as error:
        raise BenchmarkError(f"the predictions cannot be read: {error}", where=str(folder),
                             fix="gmai evaluate") from error  # fmt: skip
    if not rows:
        raise BenchmarkError("no predictions here", where=str(folder), fix="gmai evaluate")
    return rows


def _groups_of(row: Mapping[str, Any]) -> dict[str, Any]:
    groups = {name: row.get(name) or NOT_STATED for name in BREAKDOWNS}  # an older evaluation kept fewer
    return {**groups, "is_seen": row.get("is_seen")}


def compare_evaluations(first: Evaluated, second: Evaluated, *, resamples: int, seed: int) -> list[Compared]:
    """Compare every number both hold, whole benchmarks and their parts.

    Raises:
        BenchmarkError: they share no benchmark, or no number may be compared; the message names what differs.
    """
    shared = [key for key in first.rows if key in second.rows]
    if not shared:
        raise BenchmarkError("the two evaluations share no benchmark", where=f"{first.name}, {second.name}")
    found = [one for key in shared for one in _compare(key, first, second, resamples=resamples, seed=seed)]
    found += _compare_numbers(first, second)
    if all(one.refusal for one in found):
        reasons = sorted({f"{one.benchmark}: {one.refusal}" for one in found})
        raise BenchmarkError(
            "not compared; " + "; ".join(reasons), where=f"{first.name}, {second.name}",
            fix="evaluate both models with one protocol",
        )  # fmt: skip
    return found


def _compare(
    key: tuple[str, str], first: Evaluated, second: Evaluated, *, resamples: int, seed: int
) -> Iterator[Compared]:
    benchmark, metric = key
    if refusal := _refusal(first, second, benchmark):
        yield Compared(benchmark, metric, None, refusal)
        return
    ours, theirs = first.rows[key], second.rows[key]
    if ours.keys() != theirs.keys():
        absent = len(ours.keys() ^ theirs.keys())
        yield Compared(benchmark, metric, None, f"{absent} items are in the predictions of one of them alone")
        return
    whole = _difference(ours, theirs, sorted(ours), resamples=resamples, seed=seed)
    yield Compared(benchmark, metric, whole, p_holm=whole.p)
    if clean := sorted(name for name in ours if ours[name]["is_seen"] is theirs[name]["is_seen"] is False):
        part = _difference(ours, theirs, clean, resamples=resamples, seed=seed)
        yield Compared(f"{benchmark}/{CLEAN}", metric, part, p_holm=part.p)
    for column in BREAKDOWNS:
        parts = [
            Compared(
                f"{benchmark}/{column}={value}",
                metric,
                _difference(ours, theirs, sorted(ids), resamples=resamples, seed=seed),
            )
            for value, ids in groups_of({name: row[column] for name, row in ours.items()}).items()
        ]
        corrected = holm({one.benchmark: one.difference.p for one in parts if one.difference})
        yield from (replace(one, p_holm=corrected[one.benchmark]) for one in parts)


def _compare_numbers(first: Evaluated, second: Evaluated) -> Iterator[Compared]:
    """Compare the numbers of many items (mAP, CIDEr, …) of the benchmarks whose protocols agree."""
    allowed = {
        name: number
        for name, number in first.numbers.items()
        if not _refusal(first, second, name.split(" ", maxsplit=1)[0].split("/")[0])
    }
    try:
        found = compare_corpus_numbers(allowed, second.numbers)
    except ValueError:  # other items: the rows of the predictions say which
        return
    yield from (Compared(one.benchmark, one.metric, one, p_holm=one.p) for one in found)


def _refusal(first: Evaluated, second: Evaluated, benchmark: str) -> str:
    ours, theirs = (_score_of(one.metrics, benchmark) for one in (first, second))
    if ours is None or theirs is None:
        return "its score is not in both metrics files"
    our_parts, their_parts = (parts_of(one.metrics, benchmark) for one in (first, second))
    return why_not_comparable(ours, theirs, our_parts=our_parts, their_parts=their_parts)


def _score_of(metrics: Mapping[str, Any], benchmark: str) -> Mapping[str, Any] | None:
    return next((row for row in metrics["scores"] if row["benchmark"] == benchmark), None)


def _difference(ours: Rows, theirs: Rows, ids: Sequence[str], *, resamples: int, seed: int) -> PairedDifference:
    first, second = ([rows[name]["score"] for name in ids] for rows in (ours, theirs))
    return paired_difference(
        first, second, [ours[name]["patient_key"] for name in ids], resamples=resamples, seed=seed
    )


def print_comparison(found: Sequence[Compared], first: str, second: str) -> None:
    """Print one line a number: A minus B with interval, p, and whether they differ; then what is not compared."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("score", overflow="fold")  # the name alone gives way where the terminal is narrow
    for column in ("difference", "95 %", "p (Holm)", "n/patients", ""):
        table.add_column(column, no_wrap=True)
    for one in found:
        if one.difference is not None:
            table.add_row(f"{one.benchmark} {one.metric}", *cells_of(one), style="bold" if one.differs else "")
    console = Console()
    console.print(f"{first} minus {second}")
    console.print(table)
    for one in found:
        if one.difference is None:
            console.print(f"{one.benchmark} {one.metric}: {cells_of(one)[-1]}")


def cells_of(one: Compared) -> tuple[str, str, str, str, str]:
    """Write a comparison in five cells: difference, interval, p, sizes, verdict."""
    if one.difference is None:
        return ("", "", "", "", f"not compared: {one.refusal}")
    interval = one.difference.interval
    return (
        f"{interval.value:+.3f}", f"{interval.low:+.3f} to {interval.high:+.3f}", f"{one.p_holm:.3f}",
        f"{interval.n}/{interval.num_clusters}", _verdict(one, interval.num_clusters),
    )  # fmt: skip


def _verdict(one: Compared, patients: int) -> str:
    if one.differs:
        return "differs"
    return "" if patients >= FEWEST_CLUSTERS else "too few patients"
