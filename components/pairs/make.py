"""The stage "pair": records without their image bytes become image-text pairs, each read back before it is kept.

Two passes over the record shards, one row group in memory at a time: the first looks around (how common each
label is), the second writes. A pair whose text the annotation does not support goes to `rejected.parquet`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from components.pairs.generate import PairGenerator, TemplateGenerator
from components.pairs.parse_back import Known, contradictions, known_of
from components.pairs.rejected import REJECTED, pair_row, write_rejected
from components.pairs.surroundings import Partner, Surroundings, look_around
from components.records import Pair, Record, pair_schema, record_from_row
from components.settings import Settings
from components.tracking.stage import StageWork, open_stage
from components.tracking.tables import ShardWriter, iterate_rows, shards_below

REGION_COLUMNS = ("label", "box.list.element", "side", "area_fraction", "area_mm2")
UNREAD_COLUMNS = ("image", "regions")


@dataclass
class Tally:
    """Pairs by each column worth a table, and the reasons of the refused ones."""

    kept: dict[str, Counter[str]] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, pair: Pair) -> None:
        """Count a pair; a refused one by its first reason alone."""
        if pair.rejected_reason:
            self.reasons[pair.rejected_reason] += 1
            return
        for column in ("kind", "language", "source", "question_type", "modality", "split"):
            self.kept.setdefault(column, Counter())[getattr(pair, column)] += 1

    def details(self) -> dict[str, dict[str, int]]:
        """Return the counts as plain, sorted mappings."""
        return {column: dict(sorted(counts.items())) for column, counts in sorted(self.kept.items())}


def run_pair(settings: Settings) -> None:
    """Run the stage: artifacts/records -> artifacts/pairs.

    Raises:
        DataError: there are no record shards.
    """
    from components.pairs.preview import write_preview

    root = settings.work_root
    generator = TemplateGenerator(
        seed=settings.seed, chinese_share=settings.pair.chinese_share,
        max_questions=settings.pair.max_questions, max_regions=settings.pair.max_regions,
    )  # fmt: skip
    with open_stage(
        "pair", settings, output=root / "pairs", inputs=[root / "records"], sections=["pair", "seed"]
    ) as work:
        tally = write_pairs(
            root / "records", work.scratch, generator, kinds=settings.pair.kinds,
            shard_bytes=settings.pair.shard_megabytes << 20,
        )  # fmt: skip
        _count(work, tally)
        with TemporaryDirectory() as folder:
            page = write_preview(root / "records", work.scratch, Path(folder) / "pairs.html")
            work.run.log_artifact(page)
        _print(tally)


def _count(work: StageWork, tally: Tally) -> None:
    kept = sum(tally.kept.get("kind", Counter()).values())
    work.count(read=kept + sum(tally.reasons.values()), kept=kept, rejected=tally.reasons)
    work.details |= tally.details()


def write_pairs(
    records: Path, output: Path, generator: PairGenerator, *, kinds: Sequence[str], shard_bytes: int
) -> Tally:
    """Make, verify and write the pairs of all records below a folder; return what was counted."""
    tally = Tally()
    surroundings = look_around(read_records(records))
    refused: list[dict[str, Any]] = []
    total = sum(count_rows(path) for path in shards_below(records))
    with ShardWriter(output, pair_schema(), shard_bytes=shard_bytes) as writer:
        for record in _with_progress(read_records(records), total):
            for pair in verified(record, generator, around=surroundings[record.source], kinds=kinds):
                tally.add(pair)
                refused.append(pair_row(pair)) if pair.rejected_reason else writer.write(pair_row(pair))
    write_rejected(output / REJECTED, refused)
    return tally


def verified(
    record: Record, generator: PairGenerator, *, around: Surroundings, kinds: Sequence[str]
) -> Iterator[Pair]:
    """Yield a record's pairs, the ones that contradict the annotation with their first reason."""
    known = known_of(record)
    partners = {partner.record_id: partner for partner in around.partners_of(record)}
    for pair in generator.generate(record, around=around, kinds=kinds):
        images = [
            known if record_id == record.record_id else _known_partner(partners.get(record_id), known)
            for record_id in pair.record_ids
        ]
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


def read_records(folder: Path) -> Iterator[Record]:
    """Yield the records that were not refused, without image bytes and masks."""
    for row in iterate_rows(folder, columns=_columns()):
        record = record_from_row(row)
        if not record.rejected_reason:
            yield record


def _columns() -> list[str]:
    import dataclasses

    plain = [f.name for f in dataclasses.fields(Record) if f.name not in UNREAD_COLUMNS]
    return plain + [f"regions.list.element.{name}" for name in REGION_COLUMNS]


def count_rows(shard: Path) -> int:
    """Return a shard's number of rows, from its footer."""
    import pyarrow.parquet as pq

    return pq.read_metadata(shard).num_rows


def _with_progress(records: Iterable[Record], total: int) -> Iterable[Record]:
    from rich.progress import track

    return track(records, description="pairs", total=total, transient=True)


def _print(tally: Tally) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Pairs kept", title_justify="left")
    table.add_column("by"), table.add_column("pairs", overflow="fold")
    for column, counts in tally.details().items():
        table.add_row(column, "  ".join(f"{name} {count:,}" for name, count in counts.items()))
    if tally.reasons:
        table.add_row("refused", "  ".join(f"{name} {count:,}" for name, count in sorted(tally.reasons.items())))
    Console().print(table)
