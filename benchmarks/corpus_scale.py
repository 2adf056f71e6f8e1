"""Pairing, curation and checks of 10 k to 5.5 M synthetic rows: how time and memory grow, beside pandas.

Each size runs in processes of its own, so that its peak memory is its own. One makes so many pairs of annotated
records (classes, boxes, masks, reports) by the pair stage's own maker, with its parse-back and the default
settings, writes them as curation does and counts them as the check does. The other sends as many images and pairs
through duplicates, splits, firewall (words and altered copies, some planted) and the checks, by the functions that
the stages call. Making the synthetic rows is not timed. The peer is one plain pandas pass over the same rows:
drop_duplicates, a merge with the held-out hashes and a groupby of the patients.

    python benchmarks/corpus_scale.py [--sizes 10000,100000] [--jobs 2]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
SIZES = (10_000, 100_000, 1_000_000, 5_500_000)
BATCH, FRAME = 1 << 13, 50_000
HELD_OUT_SHARE, EQUAL_SHARE, PLANTED_SHARE = 0.01, 0.01, 0.0005
IMAGES_A_PATIENT = 8
PAIRS_A_RECORD, REFUSED_EVERY = 8.93, 50
TARGET_EXPONENT, TARGET_GB = 1.1, 4.0
DIGITS = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)


def hex_column(words: np.ndarray[Any, Any], digits: int) -> pa.Array:
    """Turn (N, words) of uint64 into an Arrow column of texts of so many hex digits, without Python objects."""
    places = words.view(np.uint8).reshape(len(words), -1)
    letters = np.empty((len(words), places.shape[1] * 2), dtype=np.uint8)
    letters[:, ::2], letters[:, 1::2] = DIGITS[places >> 4], DIGITS[places & 15]
    return fixed_column(np.ascontiguousarray(letters[:, :digits]), pa.string())


def fixed_column(rows: np.ndarray[Any, Any], kind: pa.DataType) -> pa.Array:
    """Wrap (N, width) bytes as an Arrow column of N texts or byte strings."""
    offsets = np.arange(len(rows) + 1, dtype=np.int64) * rows.shape[1]
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(rows)]
    return pa.Array.from_buffers(kind, len(rows), buffers)


def random_words(random: np.random.Generator, rows: int, words: int) -> np.ndarray[Any, Any]:
    """Return (rows, words) of uint64."""
    return random.integers(0, 2**64, size=(rows, words), dtype=np.uint64)


def synthetic_images(rows: int) -> tuple[pa.Table, int]:
    """Return an image table with planted duplicates and altered copies, and how many of the latter."""
    from components.pairs.fingerprint import BASE, CELLS, SEARCHED, crops, variants

    random = np.random.default_rng(rows)
    patient = np.arange(rows) // IMAGES_A_PATIENT
    drawn = random.random(patient[-1] + 1)[patient]
    split = np.where(drawn < HELD_OUT_SHARE / 2, 0, np.where(drawn < HELD_OUT_SHARE, 1, 2))
    held_out, train = np.flatnonzero(split < 2), np.flatnonzero(split == 2)
    thumbnails = random.integers(0, 256, size=(rows, CELLS), dtype=np.uint8)
    blobs = random.integers(0, 256, size=(len(held_out), 6, 6), dtype=np.uint8)
    bases = np.repeat(np.repeat(blobs, BASE // 6, axis=1), BASE // 6, axis=2).reshape(-1, BASE**2)
    planted = min(len(held_out), max(1, int(rows * PLANTED_SHARE)))
    flipped = variants(bases[:planted], SEARCHED)[:, len(crops(SEARCHED))]
    thumbnails[train[:planted]] = np.rint(flipped).astype(np.uint8)
    pixels, hashes = random_words(random, rows, 4), random_words(random, rows, 1)[:, 0]
    equal = random.integers(0, rows, size=int(rows * EQUAL_SHARE))
    pixels[equal] = pixels[random.integers(0, rows, size=len(equal))]
    keys = random_words(random, int(patient[-1]) + 1, 2)[patient]
    table = image_columns(rows, random, split, hashes)
    table |= {
        "sha256": hex_column(pixels, 64),
        "patient_key": hex_column(keys, 20),
        "study_key": hex_column(keys, 20),
    }
    table["thumbnail"] = fixed_column(thumbnails, pa.binary())
    lengths = np.where(split < 2, BASE**2, 0)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(bases)]
    table["base"] = pa.Array.from_buffers(pa.binary(), rows, buffers)
    return pa.table(table), planted


def image_columns(
    rows: int, random: np.random.Generator, split: np.ndarray[Any, Any], hashes: np.ndarray[Any, Any]
) -> dict[str, Any]:
    """Return the plain columns of an image table."""
    names = pa.array(["test", "validation", "train"])
    return {
        "record_id": hex_column(random_words(random, rows, 2), 20), "split": names.take(pa.array(split)),
        "perceptual_hash": hashes, "width": np.full(rows, 256, np.int32), "height": np.full(rows, 256, np.int32),
        "entropy": random.uniform(0.4, 8, rows), "source": pa.array(["fake"]).take(pa.array(np.zeros(rows, int))),
    }  # fmt: skip


def synthetic_pairs(images: pa.Table) -> Iterator[pa.Table]:
    """Yield one caption an image, with the columns that curation and checks read."""
    from components.quality.features import PAIR_COLUMNS

    random = np.random.default_rng(1)
    words = [f"word{number}" for number in range(500)]
    said = [" ".join(random.choice(words, size=int(random.integers(4, 30)))) for _ in range(4096)]
    asked, spoken = pa.array(["<image>\nDescribe this image.", *said]), pa.array(["human", "gpt"])
    plain = {
        "kind": "caption", "language": "en", "modality": "CT", "department": "Oncology", "task": "Bone",
        "source": "fake", "answer": "", "question_type": "caption",
    }  # fmt: skip
    for start in range(0, len(images), BATCH):
        part = images.slice(start, BATCH).combine_chunks()
        rows = len(part)
        turns = np.stack([np.zeros(rows, int), random.integers(1, 4097, size=rows)], axis=1).ravel()
        speakers = spoken.take(pa.array(np.tile([0, 1], rows)))
        talk = pa.StructArray.from_arrays([speakers, asked.take(pa.array(turns))], ["speaker", "value"])
        every = np.arange(rows + 1, dtype=np.int32)
        columns: dict[str, Any] = {
            name: pa.array([plain.get(name, "")]).take(pa.array(np.zeros(rows, int))) for name in PAIR_COLUMNS
        }
        ids = part["record_id"].combine_chunks()
        columns |= {
            "pair_id": ids, "record_ids": pa.ListArray.from_arrays(pa.array(every), ids),
            "conversations": pa.ListArray.from_arrays(pa.array(every * 2), talk),
            "patient_key": part["patient_key"], "split": part["split"],
            "options": pa.array([[]] * rows, pa.list_(pa.string())),
            "boxes": pa.array([[]] * rows, pa.list_(pa.list_(pa.float32()))),
            "generator": pa.StructArray.from_arrays([pa.array(["templates"] * rows)], ["name"]),
        }  # fmt: skip
        yield pa.table(columns)


class Clock:
    """Seconds by the name of what was done."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def on(self, name: str) -> Iterator[None]:
        """Add the time of the block."""
        started = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started


def run_ours(images: pa.Table, clock: Clock, limits: Any) -> tuple[dict[str, int], Any]:
    """Send an image table and its pairs through curation; return counts of reasons, and what the checks need."""
    from components.pairs.columns import keys_of
    from components.pairs.curate import Judge, mark_repeated, refuse_images
    from components.pairs.dedupe import no_reasons
    from components.pairs.firewall_index import FirewallIndex
    from components.pairs.pair_batches import pair_batch
    from components.pairs.split import check_patients

    with clock.on("split"):
        check_patients(images, where="synthetic")
    with clock.on("firewall"):
        copies = FirewallIndex(Path("unused")).update(images)
    plain = images.drop_columns(["thumbnail", "base"])
    with clock.on("dedupe"):
        refused = refuse_images(plain, limits, copies, no_reasons(len(plain)))
    with clock.on("firewall"):
        judge = Judge(plain, refused, bits=limits.near_duplicate_bits)
    for table in synthetic_pairs(plain):
        with clock.on("firewall"):
            judge.firewall.learn(pair_batch(table.to_batches()[0], judge._rows.rows))
    judge.firewall.close()
    reasons, said = [], []
    for table in synthetic_pairs(plain):
        with clock.on("firewall"):
            why, keys = judge.judge_batch(pair_batch(table.to_batches()[0], judge._rows.rows))
            reasons.append(why)
            said.append(keys)
    with clock.on("dedupe"):
        together = np.concatenate(reasons)
        mark_repeated(together, np.concatenate(said))
    names, counts = np.unique(np.array([reason for reason in together if reason]), return_counts=True)
    found = {str(name): int(count) for name, count in zip(names, counts, strict=True)}
    return found | {"copies": len(copies)}, keys_of(plain["record_id"])


def run_checks(images: pa.Table, record_keys: Any, clock: Clock) -> int:
    """Judge the synthetic pairs by the pair suite; return how many expectations failed."""
    import pandas as pd

    from components.quality.check import make_judge
    from components.quality.features import corpus_facts, shard_features
    from components.quality.suite import merge_outcomes, pair_expectations

    suite = pair_expectations(min_text=1, max_text=2000)
    with clock.on("checks"):
        splits = images["split"].combine_chunks().dictionary_encode()
        records = pd.DataFrame(
            {
                "modality": pd.Categorical.from_codes(np.zeros(len(images), np.int8), ["CT"]),
                "num_statements": np.ones(len(images), np.int32), "boxes_valid": np.ones(len(images), bool),
                "split": pd.Categorical.from_codes(np.asarray(splits.indices), splits.dictionary.to_pylist()),
                "shortest_side": np.full(len(images), 256, np.int32),
            },
            index=pd.Index(record_keys, name="record_id"),
        )  # fmt: skip
        ids = images.select(["patient_key", "split"]).append_column("pair_id", images["record_id"])
        facts = corpus_facts(ids, records)
        judge = make_judge(suite, key="pair_id")
    parts, waiting = [], []
    for table in synthetic_pairs(images):
        waiting.append(table)
        if sum(map(len, waiting)) >= FRAME:
            with clock.on("checks"):
                parts.append(judge(shard_features(pa.concat_tables(waiting), facts)))
            waiting = []
    if waiting:
        with clock.on("checks"):
            parts.append(judge(shard_features(pa.concat_tables(waiting), facts)))
    return sum(not merge_outcomes(list(column)).passed for column in zip(*parts, strict=True))


def run_pairing(rows: int, jobs: int) -> dict[str, Any]:
    """Make some `rows` pairs of annotated records on disk, write and count them; return the times in seconds.

    `peak_gb` is that of this process or of its largest worker, whichever is more.
    """
    from tests.fakes.annotated_records import write_records

    clock, records = Clock(), round(rows / PAIRS_A_RECORD)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_records(folder / "records", records)
        with clock.on("pair"):
            tally = make_pairs(folder, jobs)
        pairs = sum(tally.kept["kind"].values())
        with clock.on("write"):
            write_and_count(folder, pairs, records)
    uses = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "records": records, "pairs": pairs, "refused": dict(tally.reasons), "kinds": dict(tally.kept["kind"]),
        "jobs": jobs, "seconds": {name: round(value, 3) for name, value in clock.seconds.items()},
        "pairs_a_second": round(pairs / clock.seconds["pair"]), "peak_gb": round(max(uses) / (1 << 20), 3),
    }  # fmt: skip


def make_pairs(folder: Path, jobs: int) -> Any:
    """Run the pair stage's maker as the default settings have it; return its tally."""
    from joblib.externals.loky import get_reusable_executor

    from components.pairs.make import open_generator, write_pairs
    from components.pairs.pieces import Machines
    from components.settings import load_settings

    settings = load_settings(ROOT / "params.yaml")
    options = settings.pair
    tally = write_pairs(
        folder / "records", folder / "pairs", open_generator(settings), kinds=options.kinds,
        shard_bytes=options.shard_megabytes << 20, augmentation=options.augmentation, choices=options.choices,
        max_text=settings.check.max_text, machines=Machines(jobs, options.backend),
    )  # fmt: skip
    get_reusable_executor().shutdown(wait=True)  # so that the workers' memory is counted
    return tally


def write_and_count(folder: Path, pairs: int, records: int) -> None:
    """Write the pairs as curation does, every REFUSED_EVERY-th refused, and read them back into a profile."""
    import pyarrow.parquet as pq

    from components.pairs.curate import write_curated
    from components.pairs.dedupe import no_reasons
    from components.quality.check import read_profile
    from components.tracking.tables import count_rows, shards_below

    assert sum(count_rows(path) for path in shards_below(folder / "pairs")) == pairs
    reasons = no_reasons(pairs)
    reasons[::REFUSED_EVERY] = "duplicate_text"
    write_curated(folder / "pairs", folder / "curated", reasons, np.zeros(pairs, bool), shard_bytes=256 << 20)
    sides = np.full(records, 384, np.int32)
    images = {"width": sides, "height": sides, "entropy": np.linspace(1, 8, records)}
    pq.write_table(pa.table(images), folder / "curated" / "images.parquet")
    profile = read_profile(folder / "curated")
    assert sum(profile["answer length"].values()) == pairs - len(reasons[::REFUSED_EVERY])


def run_peer(images: pa.Table) -> float:
    """Return the seconds of the plain pandas pass."""
    import pandas as pd

    frame: pd.DataFrame = images.select(
        ["record_id", "patient_key", "split", "sha256", "perceptual_hash"]
    ).to_pandas()
    started = time.perf_counter()
    order = frame["split"].map({"test": 0, "validation": 1, "train": 2})
    single = frame.assign(order=order).sort_values(["order", "record_id"]).drop_duplicates("sha256")
    held_out = single[single["split"] != "train"]
    single.merge(held_out[["perceptual_hash", "record_id"]], on="perceptual_hash", how="left")
    frame.groupby("patient_key")["split"].nunique()
    return time.perf_counter() - started


def run_one(rows: int) -> dict[str, Any]:
    """Measure one size in this process."""
    from components.settings import load_settings

    limits = load_settings(ROOT / "params.yaml").curate
    clock = Clock()
    images, planted = synthetic_images(rows)
    counts, keys = run_ours(images, clock, limits)
    plain = images.drop_columns(["thumbnail", "base"])
    del images
    failed = run_checks(plain, keys, clock)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
    same_work = clock.seconds["split"] + clock.seconds["dedupe"]
    return {
        "rows": rows, "seconds": {name: round(value, 3) for name, value in clock.seconds.items()},
        "total_seconds": round(sum(clock.seconds.values()), 3), "peak_gb": round(peak, 3),
        "peer_seconds": round(run_peer(plain), 3), "same_work_seconds": round(same_work, 3),
        "counts": counts, "planted": planted, "expectations_failed": failed,
    }  # fmt: skip


def measured(rows: int, jobs: int) -> dict[str, Any]:
    """Measure one size, pairing and the rest each in a process of its own."""
    parts = []
    for step in ("--pairing", "--one"):
        command = [sys.executable, __file__, step, str(rows), "--jobs", str(jobs)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        parts.append(json.loads(done.stdout.splitlines()[-1]))
    pairing, rest = parts
    return {
        **rest, "seconds": {**pairing.pop("seconds"), **rest["seconds"]},
        "peak_gb": max(pairing["peak_gb"], rest["peak_gb"]), "pairing": pairing,
    }  # fmt: skip


def exponent(results: list[dict[str, Any]], seconds_of: Callable[[dict[str, float]], float]) -> float:
    """Return the slope of log time over log rows, without the first size where there are three."""
    used = results[1:] if len(results) > 2 else results
    rows, seconds = [row["rows"] for row in used], [seconds_of(row["seconds"]) for row in used]
    return round(float(np.polyfit(np.log(rows), np.log(seconds), 1)[0]), 3) if len(used) > 1 else float("nan")


def main() -> None:
    """Measure every size in its own process and print, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--jobs", type=int, default=2, help="processes that make pairs")
    parser.add_argument("--one", type=int, help="measure one size of curation and checks in this process")
    parser.add_argument("--pairing", type=int, help="measure one size of pairing in this process")
    asked = parser.parse_args()
    if asked.one or asked.pairing:
        print(json.dumps(run_one(asked.one) if asked.one else run_pairing(asked.pairing, asked.jobs)))
        return
    results = []
    for size in map(int, asked.sizes.split(",")):
        one = measured(size, asked.jobs)
        results.append(one | {"total_seconds": round(sum(one["seconds"].values()), 3)})
        told = " ".join(f"{name} {value:.1f}" for name, value in one["seconds"].items())
        print(f"{size:>9,} rows {results[-1]['total_seconds']:8.1f} s {one['peak_gb']:.2f} GB  {told}", flush=True)
    last = results[-1]
    content = {
        "name": "corpus_scale", "exponent": exponent(results, lambda seconds: sum(seconds.values())),
        "target": TARGET_EXPONENT, "pairing_exponent": exponent(results, lambda seconds: seconds["pair"]),
        "peak_gb": max(row["peak_gb"] for row in results), "target_gb": TARGET_GB,
        "peer": "pandas drop_duplicates, merge, groupby",
        "ratio": round(last["same_work_seconds"] / last["peer_seconds"], 3), "sizes": results,
    }  # fmt: skip
    print(json.dumps(content))


if __name__ == "__main__":
    main()
