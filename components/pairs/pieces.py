"""Pairs of a large corpus, made piece by piece: by several processes or machines, written in the records' order.

A piece is some thousand neighbouring records. What couples records (how common labels are, which slices a study
has, how often each type is asked) is counted first: each piece is looked at alone and the counts are joined. Then
each piece is made with what its own records need of them. Whoever makes a piece writes its pairs beside the
output, and one process puts them into the shards in order, so the bytes are the same for any number of processes,
and none but the first holds more than a piece. Several machines share a file system for it, as they do in ingest.
"""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.data.backends import Call, pool
from components.data.tombstones import Withdrawn
from components.pairs.augment import Augmenter, balanced_shares, count_types, is_off
from components.pairs.faithfulness import Faithfulness
from components.pairs.generate import PairGenerator, TemplateGenerator
from components.pairs.parse_back import Known, contradictions, is_told, known_of
from components.pairs.rejected import RejectedWriter, pair_row
from components.pairs.surroundings import Partner, Surroundings, look_at, only_of, study_of
from components.pairs.withdrawal import present_records
from components.records import Pair, Record, pair_schema, record_from_row
from components.settings import Augmentation
from components.tracking.tables import ShardWriter, Span, iterate_spans, read_spans

if TYPE_CHECKING:
    import pyarrow as pa

REGION_COLUMNS = ("label", "box.list.element", "side", "area_fraction", "area_mm2")
UNREAD_COLUMNS = ("image", "regions")
PIECE_RECORDS = 2000
RECORDS_A_WORKER = 8
BATCH_ROWS = 1000
Spans = tuple[Span, ...]
Make = Callable[[Record], list[Pair]]
Numbered = Iterator[tuple[int, Any]]


@dataclass(frozen=True, slots=True)
class Machines:
    """Who makes pieces: so many processes of one of joblib's backends."""

    jobs: int = 1
    backend: str = "sequential"
    address: str = ""

    def map(self, function: Callable[..., Any], rows: Iterable[tuple[Any, ...]], *, number: int) -> Numbered:
        """Yield (place, result) of each row of arguments, in no order; a single one is done here."""
        if self.jobs == 1 or number < 2:
            yield from ((place, function(*row)) for place, row in enumerate(rows))
            return
        calls: Iterator[Call] = ((place, function, row) for place, row in enumerate(rows))
        with pool(min(self.jobs, number), self.backend, address=self.address) as run:
            yield from run(calls)


@dataclass
class Tally:
    """Pairs by each column worth a table, and the reasons of the refused ones."""

    kept: dict[str, Counter[str]] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    withdrawn: Counter[str] = field(default_factory=Counter)  # records, by reason
    faithfulness: Faithfulness = field(default_factory=Faithfulness)

    def add(self, pair: Pair) -> None:
        """Count a pair; a refused one by its first reason alone."""
        self.faithfulness.add(pair)
        if pair.rejected_reason:
            self.reasons[pair.rejected_reason] += 1
            return
        for column in ("kind", "language", "source", "question_type", "modality", "split"):
            self.kept.setdefault(column, Counter())[getattr(pair, column)] += 1

    def join(self, other: Tally) -> None:
        """Add what was counted elsewhere."""
        for column, counts in other.kept.items():
            self.kept.setdefault(column, Counter()).update(counts)
        self.reasons.update(other.reasons)
        self.withdrawn.update(other.withdrawn)
        self.faithfulness.join(other.faithfulness)

    def details(self) -> dict[str, dict[str, int]]:
        """Return the counts as plain, sorted mappings."""
        return {column: dict(sorted(counts.items())) for column, counts in sorted(self.kept.items())}


@dataclass(frozen=True)
class Making:
    """How pairs are made of any record, in values that any process can be sent.

    With several `threads` a few records wait for their generator at once; the order of pairs stays. `counts` is
    how often each type is asked, where balance needs it; `max_text` the longest answer, in characters.
    """

    generator: PairGenerator
    kinds: tuple[str, ...]
    augmentation: Augmentation = Augmentation()
    counts: Counter[str] = field(default_factory=Counter)
    max_text: int | None = None
    withdrawn: Withdrawn = Withdrawn()
    threads: int = 1
    with_images: bool = False

    def records(
        self, spans: Spans, *, gone: Counter[str] | None = None, with_images: bool = False
    ) -> Iterator[Record]:
        """Yield a piece's records that were not withdrawn; `gone` counts the others by reason."""
        found = read_some(spans, with_images=with_images)
        return present_records(found, self.withdrawn, Counter() if gone is None else gone)

    def pairs(self, spans: Spans, surroundings: Mapping[str, Surroundings]) -> Iterator[Pair]:
        """Yield a piece's pairs, each refused one with its reason."""
        make = self._maker(surroundings)
        made = _side_by_side(make, self.records(spans, with_images=self.with_images), self.threads)
        return (within(pair, self.max_text) for pairs in made for pair in pairs)

    def plain_pairs(self, spans: Spans, surroundings: Mapping[str, Surroundings]) -> Iterator[Pair]:
        """Yield a piece's pairs as they are before anything is varied."""
        for record in self.records(spans, with_images=self.with_images):
            yield from verified(record, self.generator, around=surroundings[record.source], kinds=self.kinds)

    def _maker(self, surroundings: Mapping[str, Surroundings]) -> Make:
        def make(record: Record) -> list[Pair]:
            around = surroundings[record.source]
            return list(verified(record, self.generator, around=around, kinds=self.kinds))

        if is_off(self.augmentation):
            return make
        templates: Any = getattr(self.generator, "templates", self.generator)

        def again(record: Record, other: TemplateGenerator, wanted: Sequence[str]) -> Iterator[Pair]:
            return verified(record, other, around=surroundings[record.source], kinds=wanted)

        shares = balanced_shares(self.counts, balance=self.augmentation.balance)
        augmenter = Augmenter(self.augmentation, templates, again, shares)
        return lambda record: augmenter.vary(make(record), record, kinds=self.kinds)


def look_at_piece(spans: Spans, making: Making) -> tuple[dict[str, Surroundings], Counter[str]]:
    """Return what a piece's records say of their sources, and how many of them were withdrawn, by reason."""
    gone: Counter[str] = Counter()
    return look_at(making.records(spans, gone=gone)), gone


def count_piece(spans: Spans, making: Making, surroundings: Mapping[str, Surroundings]) -> Counter[str]:
    """Return how often a piece asks each type that balance looks at."""
    return count_types(making.plain_pairs(spans, surroundings))


def make_piece(spans: Spans, making: Making, surroundings: Mapping[str, Surroundings], target: Path) -> Tally:
    """Make a piece's pairs and write them to `target`: kept.arrow and refused.arrow."""
    tally = Tally()
    target.mkdir(parents=True)
    with _Rows(target / "kept.arrow") as kept, _Rows(target / "refused.arrow") as refused:
        for pair in making.pairs(spans, surroundings):
            tally.add(pair)
            (refused if pair.rejected_reason else kept).write(pair_row(pair))
    return tally


class _Rows:
    """Writes pairs to an Arrow file, a batch of BATCH_ROWS in memory."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._writer = pa.ipc.new_file(path, pair_schema(), options=options)
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> _Rows:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._flush()
        self._writer.close()

    def write(self, row: dict[str, Any]) -> None:
        """Add one row."""
        self._rows.append(row)
        if len(self._rows) >= BATCH_ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=pair_schema()))
            self._rows = []


def write_pieces(made: Numbered, folder: Path, kept: ShardWriter, refused: RejectedWriter) -> Iterator[Tally]:
    """Put pieces below a folder into the shards in their order, whatever order they come in; yield their tallies.

    A piece's own files are removed as soon as they are in. Memory holds one batch.
    """
    waiting: dict[int, Tally] = {}
    following = 0
    for number, tally in made:
        waiting[number] = tally
        while following in waiting:
            _put(folder / str(following), kept, refused)
            yield waiting.pop(following)
            following += 1


def _put(piece: Path, kept: ShardWriter, refused: RejectedWriter) -> None:
    for table in _tables(piece / "kept.arrow"):
        kept.write_table(table)
    for table in _tables(piece / "refused.arrow"):
        for row in table.to_pylist():
            refused.write(row)
    shutil.rmtree(piece)


def _tables(path: Path) -> Iterator[pa.Table]:
    import pyarrow as pa

    with pa.ipc.open_file(path) as file:
        for number in range(file.num_record_batches):
            yield pa.Table.from_batches([file.get_batch(number)])


def needed_by(spans: Spans, surroundings: Mapping[str, Surroundings]) -> dict[str, Surroundings]:
    """Return the surroundings that a piece's records need."""
    columns = ["source", "patient_key", "study_key"]
    studies: dict[str, set[str]] = defaultdict(set)
    for row in read_spans(spans, columns).group_by(columns).aggregate([]).to_pylist():
        if row["source"] in surroundings:  # it is not where all of a source was withdrawn
            studies[row["source"]].add(study_of(row["patient_key"], row["study_key"]))
    return only_of(surroundings, studies)


def within(pair: Pair, max_text: int | None) -> Pair:
    """Return the pair, refused as `text_too_long` when an assistant's turn has more characters than that."""
    if max_text is None or pair.rejected_reason:
        return pair
    longest = max((len(turn.value) for turn in pair.conversations if turn.speaker == "gpt"), default=0)
    return pair if longest <= max_text else replace(pair, rejected_reason="text_too_long")


def _side_by_side(make: Make, records: Iterable[Record], threads: int) -> Iterator[list[Pair]]:
    """Yield each record's pairs in the records' order, a few records in work at a time."""
    if threads == 1:
        yield from map(make, records)
        return
    waiting = iter(records)
    with ThreadPoolExecutor(threads) as workers:
        while batch := list(islice(waiting, RECORDS_A_WORKER * threads)):
            yield from workers.map(make, batch)


def verified(
    record: Record, generator: PairGenerator, *, around: Surroundings, kinds: Sequence[str]
) -> Iterator[Pair]:
    """Yield a record's pairs, the ones that contradict the annotation with their first reason.

    A pair that its generator refused already passes as it is.
    """
    known = known_of(record)
    partners = {partner.record_id: partner for partner in around.partners_of(record)}
    for pair in generator.generate(record, around=around, kinds=kinds):
        if pair.rejected_reason:
            yield pair
            continue
        images = (
            [known]
            if is_told(pair)
            else [
                known if record_id == record.record_id else _known_partner(partners.get(record_id), known)
                for record_id in pair.record_ids
            ]
        )
        reasons = contradictions(pair, images)
        yield replace(pair, rejected_reason=reasons[0]) if reasons else pair


def _known_partner(partner: Partner | None, known: Known) -> Known:
    """What is known of the second image; of a pair that the source itself compares, only the modality."""
    if partner is None:
        return Known(known.modality)
    return Known(
        known.modality, present=frozenset(partner.present), absent=frozenset(partner.absent),
        counts=dict(partner.counts),
    )  # fmt: skip


def read_some(spans: Spans, *, with_images: bool = False) -> Iterator[Record]:
    """Yield a piece's records that were not refused, without masks and, unless asked for, without image bytes."""
    for row in iterate_spans(spans, columns=_columns() + (["image"] if with_images else [])):
        record = record_from_row(row)
        if not record.rejected_reason:
            yield record


def _columns() -> list[str]:
    import dataclasses

    plain = [f.name for f in dataclasses.fields(Record) if f.name not in UNREAD_COLUMNS]
    return plain + [f"regions.list.element.{name}" for name in REGION_COLUMNS]
