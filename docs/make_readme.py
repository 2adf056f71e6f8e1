"""Write the README's generated parts from what runs left: `python docs/make_readme.py [--check]`.

The table of scores comes from metrics/evaluation.json, the table of measurements from figures/*.json; no
number of them is typed by hand. `--check` writes nothing and ends with exit code 1 when the README differs.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
NOT_YET = "_Not measured yet: `make run` writes it._"


def results_table(root: Path) -> str:
    """The headline scores beside their baselines, and the command that made them."""
    path = root / "metrics" / "evaluation.json"
    if not path.is_file():
        return NOT_YET
    metrics = json.loads(path.read_text())
    gain = metrics["image_minus_blind"]
    known = [f"**{gain['value']:+.3f}**", _interval(gain), "0", gain["n"]] if gain else ["not known", "", "0", 0]
    rows: list[list[Any]] = [["**closed questions: image minus blind**", *known]]
    for score in metrics["scores"]:
        if "/" not in score["benchmark"]:
            name = f"{score['benchmark'].replace('_', ' ')}: {score['metric'].replace('_', ' ')}"
            rows.append([name, _number(score["value"]), _interval(score), _number(score["baseline"]), score["n"]])
    head = ["score on held-out patients", "value", "95 % interval", "majority baseline", "n"]
    return _table(head, rows) + "\n\nMade by `make run`; from `metrics/evaluation.json`."


def figures_table(root: Path) -> str:
    """Every measurement in figures/, with the command that repeats it."""
    rows: list[list[Any]] = []
    for path in sorted((root / "figures").glob("*.json")):
        for figure in json.loads(path.read_text()).get("figures", []):
            limit = f"at most {figure['limit']:g}" if figure.get("limit") is not None else ""
            rows.append([figure["name"], f"{figure['value']:g} {figure['unit']}", limit, f"`{figure['command']}`"])
    return _table(["measured", "value", "limit", "command"], rows) if rows else NOT_YET


PARTS = {"results": results_table, "figures": figures_table}


def rendered(text: str, root: Path) -> str:
    """Return the README with every generated part replaced; ValueError when a marker is missing."""
    for name, make in PARTS.items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"README.md must hold {begin} and {end} once")
        before, rest = text.split(begin)
        text = f"{before}{begin}\n{make(root)}\n{end}{rest.split(end)[1]}"
    return text


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"  # none: not defined, as the calibration of a majority


def _interval(score: dict[str, Any]) -> str:
    return f"{_number(score['low'])} to {_number(score['high'])}"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def main() -> None:
    """Rewrite README.md, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only")
    only_check = parser.parse_args().check
    readme = ROOT / "README.md"
    current = readme.read_text()
    fresh = rendered(current, ROOT)
    if only_check and fresh != current:
        raise SystemExit("README.md is not current: run `python docs/make_readme.py`")
    if not only_check:
        readme.write_text(fresh)


if __name__ == "__main__":
    main()
