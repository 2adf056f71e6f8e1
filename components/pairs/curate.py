"""The stage "curate": pairs that may be trained on and scored, each refused one with its reason.

Patients in two splits stop the stage. Images are refused for size, aspect, blankness and duplication; pairs for
a refused image, for repeating another pair's words on the same image, or for contaminating a held-out pair. The
pairs are read twice, batch by batch: once to judge, once to write; memory holds columns, never rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.data.reading import ReadContext
from components.data.tombstones import GONE, TOMBSTONES, Withdrawn, load_withdrawn
from components.pairs.benchmarks import (
    NO_PICTURE,
    Guarded,
    benchmark_pairs,
    benchmark_reasons,
    count_touched,
    own_copies,
    read_benchmarks,
)
from components.pairs.columns import KeyIndex, keys_of, split_ranks
from components.pairs.dedupe import Reasons, exact_duplicates, near_duplicates, no_reasons
from components.pairs.firewall import EXTRA_BITS, TRAIN, Firewall, ImageLinks
from components.pairs.firewall_index import Links, load_index
from components.pairs.images import quality_reasons
from components.pairs.measure import measure_images
from components.pairs.pair_batches import BATCH_ROWS, PairBatch, read_batches
from components.pairs.rejected import RejectedWriter
from components.pairs.split import check_patients
from components.pairs.touched import touched_items, write_touched
from components.pairs.withdrawal import told, withdrawn_pairs, withdrawn_reasons
from components.pairs.within_training import COMPARED_WITHIN, training_duplicates
from components.records import pair_schema
from components.settings import Curate, Settings, load_secrets
from components.tracking.stage import StageWork, open_stage
from components.tracking.tables import ShardWriter, shards_below

if TYPE_CHECKING:
    import pyarrow as pa

IMAGE_INDEX = "images.parquet"
INDEX_COLUMNS = ("record_id", "split", "sha256", "entropy", "width", "height", "brightness")
COMPARED = ["record_id", "split", "sha256", "perceptual_hash"]
COUNTED = ("split", "kind", "modality")
MISSING, SAID_BEFORE, COPY = "record_missing", "duplicate_text", "altered_copy_of_held_out_image"


@dataclass(frozen=True, slots=True)
class Curated:
    """What became of the pairs: counts by column of the kept, by reason of the refused."""

    kept: dict[str, Counter[str]] = field(default_factory=lambda: {column: Counter() for column in COUNTED})
    refused: Counter[str] = field(default_factory=Counter)
    images: Counter[str] = field(default_factory=Counter)
    touched: dict[str, int] = field(default_factory=dict)
    benchmarks: dict[str, dict[str, int]] = field(default_factory=dict)


def run_curate(settings: Settings) -> None:
    """Run the stage: artifacts/records + artifacts/pairs -> artifacts/curated.

    Raises:
        DataError: a patient is in two splits, or there are no shards.
    """
    root = settings.work_root
    inputs = [root / "records", root / "pairs", *([TOMBSTONES] if TOMBSTONES.is_file() else [])]
    inputs += [path for one in settings.curate.benchmarks if (path := Path(one.data)).exists()]
    secret = load_secrets().patient_key.get_secret_value().encode()
    context = ReadContext(max_side=settings.ingest.max_side, secret=secret)
    with open_stage(
        "curate", settings, output=root / "curated", inputs=inputs, sections=["curate", "seed"]
    ) as work:
        curated = curate(
            root / "records", root / "pairs", work.scratch, settings.curate, withdrawn=load_withdrawn(),
            context=context,
        )  # fmt: skip
        _count(work, curated)
        _print(curated)


def curate(
    records: Path, pairs: Path, output: Path, limits: Curate, *, context: ReadContext,
    withdrawn: Withdrawn | None = None,
) -> Curated:  # fmt: skip
    """Judge all images and pairs below two folders and write what stays, what goes, and what was touched.

    `context` is what ingest read the records with: the benchmarks are read with the same.
    """
    import pyarrow as pa

    index = load_index(Path(limits.index))
    guarded = read_benchmarks(limits.benchmarks, context, recall=index.recall) if limits.benchmarks else None
    images = measure_images(records, recall=index.recall)
    withdrawn = withdrawn or Withdrawn()
    gone = withdrawn_reasons(images, withdrawn)
    index.forget_pictures()
    here = images.filter(_is_empty(gone)) if (gone != "").any() else images
    check_patients(here, where=str(records))
    here = pa.concat_tables([here, guarded.images]) if guarded else here
    copies = index.update(here)
    index.save(here)
    images = images.drop_columns(["thumbnail", "base"])
    del here
    refused = refuse_images(images, limits, copies, gone, guarded)
    judge = open_judge(images, refused, guarded, bits=limits.near_duplicate_bits)
    reasons = judge.judge(pairs, withdrawn_pairs(pairs, withdrawn))
    if guarded:
        reasons = np.where(reasons == "", benchmark_pairs(pairs, guarded), reasons)
    curated = write_curated(pairs, output, reasons, judge.hidden, shard_bytes=limits.shard_megabytes << 20)
    curated.images.update(reason for reason in refused.tolist() if reason)
    is_here = np.concatenate([gone == "", guarded.has_picture]) if guarded else gone == ""
    items = touched_items(judge.images, copies, judge.said_rows(), is_here, bits=limits.near_duplicate_bits)
    curated.touched.update(write_touched(output, items))
    if guarded:
        curated.benchmarks.update(count_touched(guarded, items))
    _write_index(output / IMAGE_INDEX, images.filter(_is_empty(refused)))
    return curated


def open_judge(images: pa.Table, refused: Reasons, guarded: Guarded | None, *, bits: int) -> Judge:
    """Return a judge over the corpus's images and, behind them, the benchmarks', whose words it has learnt."""
    import pyarrow as pa

    if guarded is None:
        return Judge(images, refused, bits=bits)
    theirs = no_reasons(len(guarded))
    theirs[~guarded.has_picture] = NO_PICTURE
    table = pa.concat_tables([images, guarded.images.select(images.column_names)])
    judge = Judge(table, np.concatenate([refused, theirs]), bits=bits)
    for batch, items in guarded.batches(len(images)):
        judge.firewall.learn(batch, items)
    return judge


def refuse_images(
    images: pa.Table, limits: Curate, copies: Links, gone: Reasons, guarded: Guarded | None = None
) -> Reasons:
    """Return why each image may not be used: `gone`, quality, duplicates, benchmarks, altered copies."""
    quality = quality_reasons(
        images, min_side=limits.min_side, max_aspect=limits.max_aspect, min_entropy=limits.min_entropy
    )
    reasons = np.where(gone == "", quality, gone)
    for find in (exact_duplicates, lambda rest: near_duplicates(rest, bits=limits.near_duplicate_bits)):
        rows = np.flatnonzero(reasons == "")
        reasons[rows] = find(images.select(COMPARED).take(rows))
    refuses_copies = limits.altered_copies == "refuse"
    if guarded:
        found = benchmark_reasons(
            images, guarded, copies, bits=limits.near_duplicate_bits, refuses_copies=refuses_copies
        )
        reasons = np.where(reasons == "", found, reasons)
        copies = own_copies(images, copies)
    if limits.training_duplicate_bits is not None:
        rows = np.flatnonzero(reasons == "")
        compared = images.select(list(COMPARED_WITHIN)).take(rows)
        reasons[rows] = training_duplicates(compared, bits=limits.training_duplicate_bits)
    if refuses_copies:
        pixels = keys_of(images["sha256"])
        is_copy = np.isin(pixels, keys_of(sorted({ours for ours, _ in copies})))
        reasons[is_copy & (split_ranks(images) == TRAIN) & (reasons == "")] = COPY
    return reasons


class Judge:
    """Decides about pairs; an image table and its reasons are the ground it stands on."""

    def __init__(self, images: pa.Table, refused: Reasons, *, bits: int) -> None:
        self.images, self.refused = images, refused
        self._is_gone = (refused == GONE[0]) | (refused == GONE[1])
        self.pixels = keys_of(images["sha256"])
        self._rows = KeyIndex(keys_of(images["record_id"]))
        self.links = ImageLinks(images, bits=bits + EXTRA_BITS, is_usable=refused == "")
        self.firewall = Firewall(self.links)
        self.hidden = np.zeros(0, dtype=bool)  # pairs that speak of something withdrawn

    def judge(self, pairs: Path, gone: Reasons) -> Reasons:
        """Return the reason to refuse each pair below a folder, "" for none; `gone` has the withdrawn ones's."""
        for batch in self._batches(pairs, gone):
            self.firewall.learn(batch)
        self.firewall.close()
        parts = [(*self.judge_batch(batch), self._speaks_of_gone(batch)) for batch in self._batches(pairs, gone)]
        reasons = np.concatenate([no_reasons(0), *(part for part, _, _ in parts)])
        said = np.concatenate([np.empty(0, np.uint64), *(keys for _, keys, _ in parts)])
        self.hidden = np.concatenate([self.hidden[:0], *(hidden for _, _, hidden in parts)]) | (gone != "")
        reasons = np.where(gone == "", reasons, gone)
        mark_repeated(reasons, said)
        return reasons

    def _batches(self, pairs: Path, gone: Reasons) -> Iterator[PairBatch]:
        """Yield the pairs; the words of a withdrawn one are nobody's, so that they guard nothing."""
        done = 0
        for batch in read_batches(pairs, self._rows.rows):
            is_here = gone[done : done + len(batch)] == ""
            done += len(batch)
            yield batch if is_here.all() else replace(batch, is_source=batch.is_source & is_here)

    def _speaks_of_gone(self, batch: PairBatch) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Tell which pairs are about a withdrawn image, whatever else they are refused for."""
        is_hidden = np.zeros(len(batch), dtype=bool)
        found = batch.images >= 0
        is_hidden[batch.owners[found][self._is_gone[batch.images[found]]]] = True
        return is_hidden

    def judge_batch(self, batch: PairBatch) -> tuple[Reasons, np.ndarray[Any, np.dtype[np.uint64]]]:
        """Return the reasons of a batch, repetition left out, and the keys by which repetition is seen."""
        reasons = self.firewall.reasons(batch)
        entries = np.where(batch.images < 0, MISSING, self.refused[batch.images])
        bad = np.flatnonzero(entries != "")[::-1]  # backwards: a pair's first bad image names the reason
        reasons[batch.owners[bad]] = entries[bad]
        return reasons, batch.said(self.pixels)

    def said_rows(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return the rows of held-out images whose words a training pair repeated."""
        alike = np.flatnonzero(np.isin(self.links.held_group, sorted(self.firewall.touched_words)))
        return np.union1d(alike, self.firewall.repeated_items())


def mark_repeated(reasons: Reasons, said: np.ndarray[Any, np.dtype[np.uint64]]) -> None:
    """Refuse, among pairs that may stay, all that say what an earlier one says; changes `reasons` in place."""
    kept = np.flatnonzero(reasons == "")
    _, first = np.unique(said[kept], return_index=True)
    is_repeated = np.ones(len(kept), dtype=bool)
    is_repeated[first] = False
    reasons[kept[is_repeated]] = SAID_BEFORE


def write_curated(
    pairs: Path, output: Path, reasons: Reasons, hidden: np.ndarray[Any, np.dtype[np.bool_]], *, shard_bytes: int
) -> Curated:
    """Write pairs without a reason to shards, the others with theirs beside them, hidden ones without words."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    counts, done = Curated(), 0
    with ShardWriter(output, pair_schema(), shard_bytes=shard_bytes) as writer, RejectedWriter(output) as refused:
        for path in shards_below(pairs):
            for batch in pq.ParquetFile(path).iter_batches(batch_size=BATCH_ROWS):
                table = pa.Table.from_batches([batch]).cast(pair_schema())
                why, is_hidden = reasons[done : done + len(table)], hidden[done : done + len(table)]
                done += len(table)
                kept = table.filter(_is_empty(why))
                writer.write_table(kept)
                for column, counter in counts.kept.items():
                    counter.update(kept[column].to_pylist())
                refused.write_without_words(_with_reasons(table, why), is_hidden[why != ""])
    counts.refused.update(reason for reason in reasons.tolist() if reason)
    return counts


def _with_reasons(table: pa.Table, reasons: Reasons) -> pa.Table:
    import pyarrow as pa

    rows = np.flatnonzero(reasons != "")
    place = table.schema.get_field_index("rejected_reason")
    named = pa.array(reasons[rows].tolist(), pa.string())
    return table.take(rows).set_column(place, table.schema.field(place), named)


def _is_empty(reasons: Reasons) -> Any:
    import pyarrow as pa

    return pa.array(np.asarray(reasons == "", dtype=bool))


def _write_index(path: Path, images: pa.Table) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, whole, real = pa.string(), pa.int32(), pa.float32()
    types = dict(zip(INDEX_COLUMNS, (text, text, text, real, whole, whole, real), strict=True))
    table = images.select(list(INDEX_COLUMNS)).cast(pa.schema(types)).combine_chunks()
    pq.write_table(table, path, compression="zstd")


def _count(work: StageWork, curated: Curated) -> None:
    kept = sum(curated.kept["split"].values())
    work.count(read=kept + sum(curated.refused.values()), kept=kept, rejected=curated.refused)
    work.details |= {name: dict(sorted(counts.items())) for name, counts in curated.kept.items()}
    work.details["images_refused"] = dict(sorted(curated.images.items()))
    work.details["held_out_touched"] = dict(sorted(curated.touched.items()))
    work.details |= {"benchmarks": curated.benchmarks} if curated.benchmarks else {}


def _print(curated: Curated) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Curated pairs", title_justify="left")
    table.add_column("by"), table.add_column("pairs", overflow="fold")
    rows: dict[str, Any] = {**curated.kept, "refused": curated.refused, "images refused": curated.images}
    rows["held-out items touched"] = curated.touched
    rows |= {f"benchmark {name}": counts for name, counts in curated.benchmarks.items()}
    for column, counts in rows.items():
        table.add_row(column, "  ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "none")
    Console().print(table)
    if gone := Counter({reason: number for reason, number in curated.images.items() if reason in GONE}):
        print(told(gone))
