"""Published benchmarks behind the firewall: read through their cards as held-out rows, never written as pairs.

`curate.benchmarks` names a card and the folder of the benchmark's files. Its items outside training become rows of
the image table with the split `benchmark` (a mere text is a row without a picture), and their words held-out ones.
A training image goes when it shares pixels, a patient or a study with one of them, or is a near duplicate or an
altered copy of one; a training text goes when it repeats 13 of their words. What is not stated guards nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.data.card import Card
from components.data.catalog import CARDS, find_reader, load_cards
from components.data.reading import ReadContext, Rejection
from components.errors import DataError, DatasetMissing
from components.pairs.columns import arrow_compute, keys_of, split_ranks
from components.pairs.dedupe import Reasons, has_near, no_reasons
from components.pairs.firewall import TRAIN
from components.pairs.firewall_index import Links
from components.pairs.images import ImageFacts, Measured, image_table, measure
from components.pairs.pair_batches import BATCH_ROWS, PairBatch
from components.pairs.source_text import dialogues_of, with_options
from components.records import Record
from components.settings import BenchmarkFiles
from components.tracking.tables import read_table

if TYPE_CHECKING:
    import pyarrow as pa

SPLIT = "benchmark"
NO_PICTURE = "no_picture"
SAME, NEAR, COPY, PATIENT, STUDY = (
    "duplicate_of_benchmark_image", "near_duplicate_of_benchmark_image", "altered_copy_of_benchmark_image",
    "patient_of_benchmark", "study_of_benchmark",
)  # fmt: skip
Recall = Callable[[str], Measured | None]
Rows = np.ndarray[Any, np.dtype[np.int64]]


@dataclass
class Guarded:
    """The held-out items: an image table, a row an item, and what is said in which row of which rows' images."""

    images: pa.Table
    said: list[tuple[int, tuple[int, ...], str]] = field(default_factory=list)  # (row, rows shown, text)
    refused: dict[str, dict[str, int]] = field(default_factory=dict)  # benchmark -> reason -> rows of its files

    def __len__(self) -> int:
        return len(self.images)

    @property
    def has_picture(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which rows show something."""
        return np.asarray(arrow_compute().greater(self.images["width"], 0), dtype=bool)

    def batches(self, first_row: int) -> Iterator[tuple[PairBatch, Rows]]:
        """Yield the words as held-out pairs, and the row of each; the table's rows begin at `first_row`."""
        for start in range(0, len(self.said), BATCH_ROWS):
            part = self.said[start : start + BATCH_ROWS]
            lengths = [len(shown) for _, shown, _ in part]
            images = np.array([row for _, shown, _ in part for row in shown], dtype=np.int64) + first_row
            no, yes = np.zeros(len(part), dtype=bool), np.ones(len(part), dtype=bool)
            offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
            rows = np.array([row for row, _, _ in part], dtype=np.int64) + first_row
            yield PairBatch(images, offsets, no, yes, [text for _, _, text in part]), rows


def read_benchmarks(
    wanted: Sequence[BenchmarkFiles], context: ReadContext, *, recall: Recall, cards: Path = CARDS
) -> Guarded:
    """Read the held-out items of all named benchmarks.

    Raises:
        CardInvalid: no card of that name.
        DatasetMissing: the files are not there.
        DataError: a benchmark has no item outside its training split.
    """
    facts: list[ImageFacts] = []
    guarded = Guarded(image_table([]))
    for files, card in zip(wanted, load_cards(cards, names=[one.name for one in wanted]), strict=True):
        reasons: Counter[str] = Counter()
        rows: dict[str, int] = {}
        said: list[tuple[Record, str]] = []
        for record in _held_out(card, Path(files.data), context, reasons):
            rows[record.record_id] = len(facts)
            facts.append(_facts_of(record, recall))
            said += [(replace(record, image=b""), text) for text in texts_of(record)]
        if not rows:
            raise DataError(
                f"benchmark {card.name} has no item outside training: {dict(reasons)}", where=str(files.data),
                fix="name the folder of its files, or give its card a `split`",
            )  # fmt: skip
        guarded.refused[card.name] = dict(sorted(reasons.items()))
        for record, text in said:
            shown = tuple(rows[name] for name in record.image_ids if name in rows)
            guarded.said.append((rows[record.record_id], shown, text))
    guarded.images = image_table(facts)
    return guarded


def _held_out(card: Card, root: Path, context: ReadContext, reasons: Counter[str]) -> Iterator[Record]:
    if not root.is_dir():
        raise DatasetMissing(f"no files of benchmark {card.name}", where=str(root), fix=card.obtain)
    chosen = without_training(card)
    for sample in find_reader(card.reader).read(root, chosen, context):
        if isinstance(sample, Rejection):
            reasons[sample.reason] += 1
        elif sample.split != "train":
            yield sample


def without_training(card: Card) -> Card:
    """Return the card without the tables that it gives to training: a picture in both is the benchmark's."""
    options = {
        name: [row for row in value if not (isinstance(row, dict) and row.get("split") == "train")]
        if isinstance(value, list)
        else value
        for name, value in card.options.items()
    }
    return card.model_copy(update={"options": options})


def _facts_of(record: Record, recall: Recall) -> ImageFacts:
    known = recall(record.sha256) if record.width else Measured()
    measured = known if known and (known.base or not record.width) else measure(record.image, with_base=True)
    return ImageFacts(
        record.record_id, record.patient_key, SPLIT, record.sha256, int(record.perceptual_hash or "0", 16),
        record.width, record.height, measured.entropy, record.study_key, record.source, measured.brightness,
        measured.thumbnail, measured.base,
    )  # fmt: skip


def texts_of(record: Record) -> Iterator[str]:
    """Yield what a record says in its own words, put as a pair of it would be: its text, each conversation."""
    if record.text.strip():
        yield record.text.strip()
    for turns in dialogues_of(record.questions):
        asked = (with_options(turn.question.strip(), turn.options) for turn in turns)
        yield "\x1f".join(f"{question}\x1f{turn.answer}" for question, turn in zip(asked, turns, strict=True))


def benchmark_reasons(
    images: pa.Table, guarded: Guarded, copies: Links, *, bits: int, refuses_copies: bool
) -> Reasons:
    """Return why each training image of the corpus may not stand beside the benchmarks, "" where it may."""
    reasons = no_reasons(len(images))
    rows = np.flatnonzero(split_ranks(images) == TRAIN)
    theirs = guarded.images.filter(arrow_compute().greater(guarded.images["width"], 0))
    mine = {name: keys_of(images[name].take(rows)) for name in ("sha256", "patient_key", "study_key")}
    if refuses_copies:
        known = set(theirs["sha256"].to_pylist())
        copied = keys_of(sorted({ours for ours, shown in copies if shown in known}))
        reasons[rows[np.isin(mine["sha256"], copied)]] = COPY
    hashes = np.asarray(images["perceptual_hash"])[rows]
    reasons[rows[has_near(hashes, np.asarray(theirs["perceptual_hash"]), bits=bits)]] = NEAR
    for reason, name, table in ((STUDY, "study_key", guarded.images), (PATIENT, "patient_key", guarded.images),
                                (SAME, "sha256", theirs)):  # fmt: skip
        reasons[rows[np.isin(mine[name], _stated(table[name]))]] = reason
    return reasons


def benchmark_pairs(pairs: Path, guarded: Guarded) -> Reasons:
    """Return PATIENT for each training pair of a benchmark's patient, whatever it shows; "" for the others."""
    table = read_table(pairs, ["patient_key", "split"])
    reasons = no_reasons(len(table))
    is_theirs = np.isin(keys_of(table["patient_key"]), _stated(guarded.images["patient_key"]))
    reasons[is_theirs & (split_ranks(table) == TRAIN)] = PATIENT
    return reasons


def own_copies(images: pa.Table, copies: Links) -> Links:
    """Return the copies of the corpus's own held-out images: the benchmarks' are told apart by their reason."""
    held_out = images.filter(arrow_compute().not_equal(images["split"], "train"))
    known = set(held_out["sha256"].to_pylist())
    return {pair: likeness for pair, likeness in copies.items() if pair[1] in known}


def count_touched(guarded: Guarded, items: pa.Table) -> dict[str, dict[str, int]]:
    """Return, by benchmark, how many items it holds out, how many training touches, and what was refused of it."""
    touched = items.filter(arrow_compute().equal(items["split"], SPLIT)).to_pylist()
    held = Counter(guarded.images["source"].to_pylist())
    return {
        name: {
            "items": held[name], "touched": len({row["record_id"] for row in touched if row["source"] == name}),
            **{f"refused {reason}": number for reason, number in reasons.items()},
        }
        for name, reasons in sorted(guarded.refused.items())
    }  # fmt: skip


def _stated(column: Any) -> Any:
    return keys_of([value for value in column.to_pylist() if value])
