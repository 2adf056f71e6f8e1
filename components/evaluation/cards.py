"""Model card and data card, written from artefacts only: every number stands beside the file and key it is from.

The text between the numbers holds no digit of its own; `check_sourced` refuses a page with a digit that no
artefact gave, so that a number typed by hand stops the stage.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from components.errors import BenchmarkError

OPEN, CLOSE = "\x02", "\x03"  # around what an artefact gave
SOURCED = re.compile(f"{OPEN}[^{CLOSE}]*{CLOSE}")
MISSING = "not recorded"
LIMITS = (
    "Made from public sample data; the scores say that the pipeline works, not that the model is clinically good.",
    "Not a medical device. Its answers must not reach a patient without a physician's own reading.",
    "Patients are few and none is known to represent a population; subgroups of a handful say little.",
    "Published scores of others are not comparable: their protocol differs.",
)
Key = tuple[str | int, ...]


class Artefacts:
    """Parsed artefacts by file name; gives values out marked as sourced."""

    def __init__(self, contents: Mapping[str, Any]) -> None:
        self.contents = contents

    def value(self, file: str, *keys: str | int) -> Any:
        """Return what lies in a file under the keys, None when it is not there."""
        found: Any = self.contents.get(file)
        for key in keys:
            try:
                found = found[key]
            except (KeyError, IndexError, TypeError):
                return None
        return found

    def row(self, name: str, file: str, *keys: str | int) -> str:
        """Return a table row: name, value, and where the value is from."""
        where = f"{file}: {'.'.join(str(key) for key in keys)}"
        return f"| {marked(name)} | {marked(written(self.value(file, *keys)))} | {marked(where)} |"


def marked(value: object) -> str:
    """Mark text as given by an artefact."""
    return f"{OPEN}{value}{CLOSE}"


def written(value: Any) -> str:
    """Write a value: up to four digits behind the point, a short hash, a list in words."""
    if value is None:
        return MISSING
    if isinstance(value, float):
        return f"{value:.4f}".rstrip("0").rstrip(".")
    if isinstance(value, list):
        return ", ".join(written(part) for part in value) or "none"
    return str(value)


def check_sourced(text: str, *, where: str) -> str:
    """Return the page without its marks.

    Raises:
        BenchmarkError: a digit stands outside what artefacts gave; the line is named.
    """
    for line in text.splitlines():
        own = SOURCED.sub("", line)
        if re.search(r"\d", own):
            raise BenchmarkError(
                f"a number without a source: {own.strip()!r}", where=where, fix="name its artefact"
            )
    return text.replace(OPEN, "").replace(CLOSE, "")


def model_card(artefacts: Artefacts, *, model: str, scores: str, use: str = "permitted_use.json") -> str:
    """Write the model card from the model's manifest, the metrics file and its permitted use, all by name."""
    lines = [
        "# Model card",
        "A vision-language model for questions about medical images, trained by this pipeline.",
        "## Training", *_table(_rows_below(artefacts, model, "details")),
        "## Permitted use",
        "The strictest terms of the sources it was trained on; what they do not state is forbidden.",
        *_table(_rows_below(artefacts, use, "permitted_use")),
        *_table(artefacts.row("trained on", use, "sources") for _ in (artefacts.value(use, "sources") or ())[:1]),
        "## Image minus blind",
        "How much better the model answers with a patient's image than with another patient's.",
        *_blind(artefacts, scores),
        "## Scores on held-out patients",
        *_table(_score_rows(artefacts, scores)),
        "## What these items can show", *_table(_rows_below(artefacts, scores, "details", "smallest_difference")),
        "## Limits", *(f"- {limit}" for limit in LIMITS),
    ]  # fmt: skip
    return check_sourced("\n".join(lines) + "\n", where="model card")


def data_card(artefacts: Artefacts, *, records: str, curated: str) -> str:
    """Write the data card from the manifests of records and curated pairs, both by name."""
    lines = [
        "# Data card",
        "Image-text pairs written from the annotations of public medical data.",
        "## Records", *_table(_rows_below(artefacts, records, "counts")),
        "## Sources", *_table(_rows_below(artefacts, records, "details", "sources")),
        "## Pairs", *_table(_rows_below(artefacts, curated, "counts")),
        *_table(_rows_below(artefacts, curated, "details")),
        "## Limits", *(f"- {limit}" for limit in LIMITS[:1]),
        "- Licences and terms are those of each source; `gmai sources` prints them.",
    ]  # fmt: skip
    return check_sourced("\n".join(lines) + "\n", where="data card")


def _table(rows: Iterable[str]) -> list[str]:
    found = list(rows)
    return ["| what | value | source |", "| --- | --- | --- |", *found] if found else [f"{MISSING}."]


def _rows_below(artefacts: Artefacts, file: str, *keys: str | int) -> Iterator[str]:
    """Yield a row for every plain value below the keys; a hash says nothing to a reader and is left out."""
    value = artefacts.value(file, *keys)
    if isinstance(value, Mapping):
        for name in sorted(value):
            if name not in ("digest", "part_hashes"):
                yield from _rows_below(artefacts, file, *keys, name)
    elif value is not None:
        yield artefacts.row(" ".join(str(key) for key in keys[1:]) or str(keys[-1]), file, *keys)


def _blind(artefacts: Artefacts, scores: str) -> list[str]:
    if artefacts.value(scores, "image_minus_blind") is None:
        return _table(_rows_below(artefacts, scores, "details", "no_blind"))
    return _table(artefacts.row(name, scores, "image_minus_blind", name) for name in ("value", "low", "high", "n"))


def _score_rows(artefacts: Artefacts, scores: str) -> Iterator[str]:
    for place, score in enumerate(artefacts.value(scores, "scores") or ()):
        if "/" not in score["benchmark"]:
            name = f"{score['benchmark']} {score['metric']}"
            for what in ("value", "low", "high", "baseline", "n"):
                yield artefacts.row(f"{name} {what}", scores, "scores", place, what)


def read_artefacts(paths: Mapping[str, Path]) -> dict[str, Any]:
    """Read JSON artefacts by name; one that is not there is left out, and its numbers are "not recorded"."""
    import json

    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.is_file()}
