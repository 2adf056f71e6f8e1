"""Records' pairs side by side: threads where a generator waits for a model, processes where it computes.

Processes are joblib's, here or on a cluster (`components/data/backends.py`). Each is handed a part of the shards
and what its records need of the rest of the corpus: the counts of its sources, and the other images of its
studies. Parts come back in order, so the files are those of one process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from components.data.backends import pool
from components.pairs.augment import count_types
from components.pairs.making import Making
from components.pairs.reading import Part, Reading, studies_of
from components.pairs.rejected import pair_row
from components.pairs.surroundings import Surroundings, study_name
from components.pairs.tally import Tally
from components.records import Pair, Record, pair_schema

if TYPE_CHECKING:
    import pyarrow as pa

RECORDS_A_THREAD = 8
ROWS_A_PART = 1000


@dataclass(frozen=True)
class Crew:
    """Who works: `threads` of one process, or `jobs` processes of a joblib backend, maybe at an address.

    `sees_images` says that the generator looks at the pictures, so that their bytes are read.
    """

    threads: int = 1
    jobs: int = 1
    backend: str = "loky"
    address: str = ""
    sees_images: bool = False


@dataclass(frozen=True)
class MadePart:
    """The pairs of one part: a table of the kept ones, rows of the refused ones, and what was counted."""

    kept: pa.Table
    refused: list[dict[str, Any]]
    tally: Tally
    rows: int


def in_threads(
    make: Callable[[Record], list[Pair]], records: Iterable[Record], threads: int
) -> Iterator[list[Pair]]:
    """Yield each record's pairs in the records' order, a few records in work at a time."""
    if threads == 1:
        yield from map(make, records)
        return
    waiting = iter(records)
    with ThreadPoolExecutor(threads) as workers:
        while batch := list(islice(waiting, RECORDS_A_THREAD * threads)):
            yield from workers.map(make, batch)


def make_parts(
    reading: Reading, making: Making, surroundings: Mapping[str, Surroundings], crew: Crew
) -> Iterator[MadePart]:
    """Yield the pairs of every part of the shards, in order, made by several processes."""
    with pool(crew.jobs, crew.backend, address=crew.address) as run:

        def over_parts(function: Callable[..., Any], making: Making) -> Iterator[Any]:
            calls = (
                (number, function, (part, reading, making, _around(part, surroundings)))
                for number, part in enumerate(reading.parts(ROWS_A_PART))
            )
            return in_order(run(calls))

        if making.counts_first:
            counts: Counter[str] = Counter()
            for some in over_parts(count_part, making):
                counts.update(some)
            making = replace(making, counts=counts)
        yield from over_parts(make_part, making)


def in_order(numbered: Iterable[tuple[int, Any]]) -> Iterator[Any]:
    """Yield results by their number, 0 first; what comes early waits."""
    early: dict[int, Any] = {}
    wanted = 0
    for number, result in numbered:
        early[number] = result
        while wanted in early:
            yield early.pop(wanted)
            wanted += 1


def make_part(part: Part, reading: Reading, making: Making, surroundings: Mapping[str, Surroundings]) -> MadePart:
    """Make one part's pairs; the same in any process."""
    import pyarrow as pa

    tally, kept, refused = Tally(), [], []
    for record in reading.records_of(part):
        for pair in making.pairs_of(record, surroundings):
            tally.add(pair)
            (refused if pair.rejected_reason else kept).append(pair_row(pair))
    return MadePart(pa.Table.from_pylist(kept, schema=pair_schema()), refused, tally, part.rows)


def count_part(
    part: Part, reading: Reading, making: Making, surroundings: Mapping[str, Surroundings]
) -> Counter[str]:
    """Count one part's plain pairs by type of question."""
    return count_types(pair for record in reading.records_of(part) for pair in making.plain(record, surroundings))


def _around(part: Part, surroundings: Mapping[str, Surroundings]) -> dict[str, Surroundings]:
    """Return what a part's records need of the surroundings: their sources', with their studies alone."""
    wanted: dict[str, set[str]] = {}
    for row in studies_of(part).to_pylist():
        wanted.setdefault(row["source"], set()).add(study_name(row["patient_key"], row["study_key"]))
    return {
        source: surroundings[source].of_studies(names)
        for source, names in wanted.items()
        if source in surroundings
    }
