"""How long `dvc status` takes with the whole corpus in place: `python benchmarks/dvc_status.py`.

5.5 million records of some 50 kB lie in 1,025 shards of 256 MB. `dvc status` looks at names, sizes and times, not
at bytes, so the shards here are small and as many. The peer is the layout that DVC's users are warned of: a
tracked file a picture. It has `--pictures` of them (the full number would take hours to add), and its time is
taken times 5.5 million over that number. `ratio` is the shards' seconds over the peer's. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RECORDS, RECORD_BYTES, SHARD_BYTES = 5_500_000, 50_000, 256 << 20
TARGET_SECONDS, REPEATS = 2.0, 5
DVC = [str(Path(sys.executable).with_name("dvc"))]


def make_project(folder: Path, *, files: int, in_folder: int) -> None:
    """Write `files` small files, some in each folder, and let DVC track them."""
    for number in range(files):
        path = folder / "data" / f"source-{number // in_folder:05d}" / f"part-{number:07d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(number))
    for command in (["init", "--no-scm", "--quiet"], ["add", "--quiet", "data"]):
        subprocess.run(DVC + command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def status_seconds(folder: Path) -> float:
    """Return the best time of several calls; the first, which fills DVC's own records, is left out."""
    taken = []
    for _ in range(REPEATS + 1):
        started = time.perf_counter()
        subprocess.run([*DVC, "status", "--quiet"], cwd=folder, check=True)
        taken.append(time.perf_counter() - started)
    return min(taken[1:])


def main() -> None:
    """Measure both layouts and print, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=20_000)
    number = parser.parse_args().pictures
    shards = -(-RECORDS * RECORD_BYTES // SHARD_BYTES)
    with tempfile.TemporaryDirectory() as scratch:
        sides = {"shards": (shards, 8), "pictures": (number, 1000)}
        seconds: dict[str, float] = {}
        for name, (files, in_folder) in sides.items():
            folder = Path(scratch) / name
            folder.mkdir()
            make_project(folder, files=files, in_folder=in_folder)
            seconds[name] = status_seconds(folder)
            print(f"dvc status of {files:,} {name}: {seconds[name]:.2f} s", flush=True)
    content: dict[str, Any] = {
        "name": "dvc_status", "seconds": round(seconds["shards"], 3), "target_seconds": TARGET_SECONDS,
        "shards": shards, "records": RECORDS, "peer": "a tracked file a picture",
        "peer_seconds": round(seconds["pictures"] * RECORDS / number, 1), "peer_measured_with": number,
    }  # fmt: skip
    content |= {"ratio": round(content["seconds"] / content["peer_seconds"], 5), "target": 1.0}
    print(json.dumps(content))


if __name__ == "__main__":
    main()
