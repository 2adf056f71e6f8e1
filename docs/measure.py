"""Run benchmarks and drills, keep what they print, and write docs/figures.md from it.

    python docs/measure.py benchmarks/ingest_vs_decode.py            run one, keep its figure, write the page
    python docs/measure.py drills/malformed_inputs.py -- --tries 9   arguments behind -- go to the script
    python docs/measure.py                                           write the page from what is kept
    python docs/measure.py --check                                   exit 1 when the page differs from what is kept

A script prints one JSON object as its last line; it is kept in figures/measured/NAME.json with the command, the
commit and the processors it ran on. No number of the page is typed by hand. docs/training_speed.md is written with
it, from what benchmarks/training_profile.py printed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from components.tracking.commit import write_bytes, write_json

ROOT = Path(__file__).parents[1]
KEPT, PAGE, SPEED_PAGE = Path("figures/measured"), Path("docs/figures.md"), Path("docs/training_speed.md")
OPENING = """# Measured figures

Written by `docs/measure.py` from what the scripts of `benchmarks/` and `drills/` printed. A ratio is ours over
the peer's, measured in the same run on the same machine; a target is the issue's, and a miss stays here.
"""
SPEED_OPENING = """# Where a training step's time goes

Written by `docs/measure.py` from what `benchmarks/training_profile.py` printed. A step is a micro-batch of the
preset's packs, forward, backward and the optimiser, on an otherwise idle machine.
"""


class MeasurementFailed(SystemExit):
    """A script ended badly, or its last line is not one JSON object."""


def measure(root: Path, script: str, arguments: list[str]) -> dict[str, Any]:
    """Run a script and return what is kept of it.

    Raises:
        MeasurementFailed: as it says.
    """
    command = [script, *arguments]
    done = subprocess.run([sys.executable, *command], cwd=root, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, end="")
    if done.returncode:
        raise MeasurementFailed(f"{' '.join(command)} ended with exit code {done.returncode}")
    try:
        result = json.loads((done.stdout.strip().splitlines() or [""])[-1])
    except json.JSONDecodeError as error:
        raise MeasurementFailed(f"the last line of {script} is not JSON: {error}") from error
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    return {
        "command": " ".join([".venv/bin/python", *command]), "commit": commit.stdout.strip(),
        "machine": f"{os.cpu_count()} x {platform.machine()}", "result": result,
    }  # fmt: skip


def keep(root: Path, script: str, kept: Mapping[str, Any]) -> Path:
    """Write one measurement; return its file."""
    path = root / KEPT / f"{Path(script).stem}.json"
    write_json(path, kept)
    return path


def flat(values: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted name, text) of every value of a nested result, in its order."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from flat(value, f"{name}.{key}" if name else str(key))
    elif isinstance(values, list):
        for number, value in enumerate(values):
            yield from flat(value, f"{name}.{number}")
    else:
        yield name, f"{values:.4g}" if isinstance(values, float) else str(values)


def page(root: Path) -> str:
    """Return docs/figures.md as what is kept makes it."""
    parts = [OPENING]
    for path in sorted((root / KEPT).glob("*.json")):
        kept = json.loads(path.read_text())
        rows = [f"| {name} | {text} |" for name, text in flat(kept["result"]) if name != "name"]
        where = f"`{kept['command']}` at {kept['commit'][:10]} on {kept['machine']}"
        parts += [f"\n## {path.stem}\n\n{where}\n\n| figure | value |\n| --- | --- |\n" + "\n".join(rows) + "\n"]
    return "".join(parts)


def speed_page(root: Path) -> str:
    """Return docs/training_speed.md: where a step's time goes, and what was tried, as the profile was kept."""
    path = root / KEPT / "training_profile.json"
    if not path.is_file():
        return f"{SPEED_OPENING}\n_Not measured yet: `python docs/measure.py benchmarks/training_profile.py`._\n"
    kept = json.loads(path.read_text())
    result, parts = kept["result"], [SPEED_OPENING]
    parts.append(
        f"\n`{kept['command']}` at {kept['commit'][:10]} on {kept['machine']}, in {result['precision']}: "
        f"stage III reaches {result['ratio']:.1%} of the rate of {result['peer']} (aim: {result['target']:.0%}).\n"
    )
    for name, stage in result["stages"].items():
        share = [f"| {kind} | {value:.1%} |" for kind, value in stage["share"].items()]
        tried = [f"| {switch} | {row['seconds']:g} | {row['times']:g} |" for switch, row in stage["tried"].items()]
        parts.append(
            f"\n## Stage {name}: {stage['seconds']:g} s a step, utilisation {stage['utilisation']:.1%}\n\n"
            + "\n".join(["| where the time goes | share |", "| --- | --- |", *share, ""])
            + "\n".join(["\n| what was tried | s a step | times as fast |", "| --- | --- | --- |", *tried, ""])
        )
    return "".join(parts)


def main() -> None:
    """Measure, if a script is named; then write the page, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("script", nargs="?", default="")
    parser.add_argument("arguments", nargs="*")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--root", type=Path, default=ROOT)
    chosen = parser.parse_args()
    if chosen.script:
        keep(chosen.root, chosen.script, measure(chosen.root, chosen.script, chosen.arguments))
    pages = {PAGE: page(chosen.root), SPEED_PAGE: speed_page(chosen.root)}
    for name, text in pages.items():
        target = chosen.root / name
        if not chosen.check:
            write_bytes(target, text.encode())
        elif not target.is_file() or target.read_text() != text:
            raise SystemExit(f"{name}: run docs/measure.py")


if __name__ == "__main__":
    main()
