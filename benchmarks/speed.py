"""Measure what a person waits for, and write figures/speed.json: `python benchmarks/speed.py`.

Run it after `make run`, on an otherwise idle machine. Each figure is the best of several runs (what the code
costs, without what the machine happened to do besides) except the stages' seconds, which are of the last run. The
peer is another command line of this kind that starts and says something: `ratio` is `gmai --help` over it. The
last line is JSON.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BINARIES = Path(sys.executable).parent
REPEATS = 5
# What is waited for: name, command, limit in seconds (issue 2, "Speed and size").
WAITS: tuple[tuple[str, list[str], float], ...] = (
    ("list the commands", ["gmai", "--help"], 0.3),
    ("`dvc repro` with nothing to do", ["dvc", "repro", "--quiet"], 2.5),
    ("`make run` with nothing to do", ["make", "--no-print-directory", "run"], 2.5),
)
PEER = ["mlflow", "--version"]
# `make run` after installation may take 600 s by the wall clock; it prints that itself. The sum of what the stages
# say of themselves leaves out their processes' starts and DVC's hashing, so no limit is set beside it.


def best_seconds(command: Sequence[str]) -> float:
    """Run a command several times; return the shortest wall time."""
    environment = {**os.environ, "PATH": f"{BINARIES}{os.pathsep}{os.environ['PATH']}"}
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def seconds_in_stages() -> float:
    """Sum the seconds that each stage's last execution took."""
    sidecars = (ROOT / "artifacts").rglob("*.run.json")
    return sum(json.loads(path.read_text()).get("seconds", 0.0) for path in sidecars)


def figure(name: str, seconds: float, *, limit: float | None, command: str) -> dict[str, Any]:
    """One row of the README's table."""
    return {"name": name, "value": round(seconds, 2), "unit": "s", "limit": limit, "command": command}


def main() -> None:
    """Measure and write."""
    figures = [figure(n, best_seconds(c), limit=limit, command=" ".join(c)) for n, c, limit in WAITS]
    figures.append(figure("inside the stages, all together", seconds_in_stages(), limit=None, command="make run"))
    ratio = round(figures[0]["value"] / best_seconds(PEER), 3)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    content = {
        "commit": commit.stdout.strip(), "cores": os.cpu_count(), "machine": platform.machine(),
        "python": platform.python_version(), "date": datetime.now(UTC).date().isoformat(),
        "repeats": REPEATS, "statistic": "minimum", "figures": figures,
    }  # fmt: skip
    (ROOT / "figures").mkdir(exist_ok=True)
    (ROOT / "figures" / "speed.json").write_text(json.dumps(content, indent=2) + "\n")
    for row in figures:
        limit = f" (limit {row['limit']} s)" if row["limit"] else ""
        print(f"{row['name']}: {row['value']} s{limit}")
    print(json.dumps({"name": "speed", "ratio": ratio, "target": 1.0, "peer": " ".join(PEER), **content}))


if __name__ == "__main__":
    main()
