"""Ingest of 2-D pictures beside the bare loop that nothing can beat: decode, resize, encode, on one core.

Real pictures of artifacts/records (made first, if absent) are written as files of a folder; the reader
`image_pairs` turns them into records and Parquet shards as the stage does (hashes, checks, patients, splits,
writing), and a bare loop decodes, resizes and encodes the same files. `ratio` is ours over the bare loop's
pictures a second; both run in turn, several times, and the best of each counts. The second peer is `datasets.map`
of Hugging Face, which does the bare loop's work over as many processes as ingest uses: `peer_ratio`.
`python benchmarks/ingest_vs_decode.py [--pictures 600]`.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
SIDE, MAX_SIDE, REPEATS, PROCESSES, TARGET = 512, 384, 3, 2, 0.8


def write_pictures(folder: Path, number: int) -> None:
    """Write real pictures, enlarged to SIDE pixels, as the PNG files of two classes, a first and a second each."""
    from PIL import Image

    from components.tracking.tables import iterate_rows
    from flows.run import make_available

    make_available(ROOT, Path("artifacts/records"), target="ingest")
    rows = iterate_rows(ROOT / "artifacts" / "records", ["image"])
    for place, row in zip(range(number), rows, strict=False):
        target = folder / ("same" if place % 4 < 2 else "different") / f"{place // 2:06d}{'ab'[place % 2]}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(io.BytesIO(row["image"])) as picture:
            picture.convert("RGB").resize((SIDE, SIDE)).save(target, compress_level=1)


def bare(path: Path) -> int:
    """Decode, resize and encode one picture; return the encoded size."""
    from components.data.image import encode_png, open_pixels, resize, stored_size

    pixels = open_pixels(path)
    return len(encode_png(resize(pixels, stored_size(*pixels.shape[:2], max_side=MAX_SIDE))))


def ingest(folder: Path, output: Path) -> int:
    """Bring a source of the pictures in as the stage does, in this process; return how many records it has."""
    from components.data.card import parse_card
    from components.data.portions import SourceJob
    from components.data.source_update import update_source

    answers = dict.fromkeys(
        ("may_leave_machine", "may_reach_third_party_model", "may_be_redistributed", "commercial_use"), "yes"
    )
    card = parse_card(
        {
            "name": "pictures", "title": "t", "citation": "c", "url": "u", "revision": "1", "obtain": "o",
            "licence": "CC0", "terms": answers, "modality": "Dermoscopy", "department": "Dermatology",
            "task": "Disease Diagnosis", "body_part": "skin", "language": "en", "reader": "image_pairs",
            "options": {"classes": {"same": "same", "different": "different"}, "first": "*a.png",
                        "first_ending": "a.png", "second_ending": "b.png"},
            "patient": {"rule": "file"}, "split": {"rule": "fixed", "default": "train"}, "tolerance": 0.0,
            "num_samples": 0,
        },
        where="benchmark",
    )  # fmt: skip
    job = SourceJob(
        card=card, root=folder, output=output, max_side=MAX_SIDE, shard_bytes=256 << 20, secret=b"benchmark"
    )
    result = update_source(job)
    if result.error:
        raise SystemExit(result.error)
    return result.kept


def best_rates(runs: dict[str, Callable[[], int]]) -> dict[str, float]:
    """Run each several times, in turn; return the best pictures a second of each."""
    rates = dict.fromkeys(runs, 0.0)
    for _ in range(REPEATS):
        for name, run in runs.items():
            started = time.perf_counter()
            number = run()
            rates[name] = max(rates[name], number / (time.perf_counter() - started))
    return rates


def map_datasets(paths: Sequence[Path]) -> int:
    """Do the bare loop's work by Hugging Face `datasets.map`."""
    datasets: Any = importlib.import_module("datasets")
    table = datasets.Dataset.from_dict({"path": [str(path) for path in paths]})
    done = table.map(lambda row: {"size": bare(Path(row["path"]))}, num_proc=PROCESSES, load_from_cache_file=False)
    return len(done)


def ingest_side_by_side(folder: Path, output: Path) -> int:
    """Bring two halves in at once, as the stage does with two sources."""
    from joblib import Parallel, delayed

    halves = [(folder / half, output / half) for half in ("one", "two")]
    return sum(Parallel(n_jobs=PROCESSES)(delayed(ingest)(*half) for half in halves))


def main() -> None:
    """Measure, print the rates and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=600)
    number = parser.parse_args().pictures // 4 * 4
    with tempfile.TemporaryDirectory() as scratch:
        folder, halves = Path(scratch) / "pictures", Path(scratch) / "halves"
        write_pictures(folder, number)
        for half in ("one", "two"):
            write_pictures(halves / half, number // 8 * 4)
        paths = sorted(folder.rglob("*.png"))
        name = "datasets.map"
        fresh = iter(range(10_000))
        rates = best_rates(
            {
                "bare loop": lambda: len([bare(path) for path in paths]),
                "ingest": lambda: ingest(folder, Path(scratch) / f"out{next(fresh)}"),
                name: lambda: map_datasets(paths),
                "ingest side by side": lambda: ingest_side_by_side(halves, Path(scratch) / f"out{next(fresh)}"),
            }
        )
    for label, rate in rates.items():
        print(f"{label:<26} {rate:8.1f} pictures a second")
    content = {
        "name": "ingest_vs_decode", "ratio": round(rates["ingest"] / rates["bare loop"], 3), "target": TARGET,
        "peer": name, "peer_ratio": round(rates["ingest side by side"] / rates[name], 3), "pictures": number,
        "rates": {label: round(rate, 1) for label, rate in rates.items()},
    }  # fmt: skip
    print(json.dumps(content))


if __name__ == "__main__":
    main()
