"""Rows of published files: JSON, JSON lines, CSV, TSV and Parquet, and the pictures they name.

A row that does not fit is refused with a reason, never repaired; a path never leaves the benchmark's folder.
Parquet rows carry their pictures as Hugging Face `datasets` writes them: {"bytes": …, "path": …}.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from components.errors import BenchmarkError
from components.records import stable_id

Row = dict[str, Any]
MAX_FIELD_CHARACTERS = 1 << 28  # a base64 picture is one field of a TSV
SMALL_BATCH = 64


def read_json(path: Path) -> Any:
    """Read a JSON file; BenchmarkError says where it breaks."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BenchmarkError(f"this is no JSON: {error}", where=str(path)) from error


def read_json_rows(path: Path) -> list[Row]:
    """Read a JSON list of objects; BenchmarkError when it is something else."""
    rows = read_json(path)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BenchmarkError("expected a list of objects", where=str(path))
    return rows


def read_json_lines(path: Path) -> Iterator[Row]:
    """Yield one object a line; BenchmarkError names the line that breaks."""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                yield json.loads(line)
            except ValueError as error:
                raise BenchmarkError(f"this is no JSON: {error}", where=f"{path}:{number}") from error


def read_delimited(path: Path, *, delimiter: str = ",") -> Iterator[Row]:
    """Yield a CSV's rows, columns named in lower case; BenchmarkError when the file is not text."""
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    with path.open(encoding="utf-8-sig", newline="") as lines:
        try:
            for row in csv.DictReader(lines, delimiter=delimiter):
                yield {str(name).strip().lower(): value for name, value in row.items() if name}
        except (csv.Error, UnicodeDecodeError) as error:
            raise BenchmarkError(f"this is no table: {error}", where=str(path)) from error


def read_parquet(paths: Iterable[Path]) -> Iterator[Row]:
    """Yield the rows of Parquet files, few at a time, for they hold pictures."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in paths:
        try:
            for batch in pq.ParquetFile(path).iter_batches(batch_size=SMALL_BATCH):
                yield from batch.to_pylist()
        except pa.ArrowInvalid as error:
            raise BenchmarkError(f"this is no Parquet file: {error}", where=str(path)) from error


def text_of(row: Mapping[str, Any], *names: str) -> str:
    """Return the first of these columns that is there, as stripped text ("" when none is)."""
    for name in names:
        value = row.get(name)
        if value is not None and str(value).strip() and str(value) != "nan":
            return str(value).strip()
    return ""


def find_picture(folder: Path, relative: str, roots: Sequence[str]) -> Path | None:
    """Return the picture's file below one of the roots, or None; a path that leaves the folder is not found."""
    if not relative or PurePosixPath(relative).is_absolute() or ".." in PurePosixPath(relative).parts:
        return None
    for root in roots:
        path = folder / root / relative
        if path.is_file() and path.resolve().is_relative_to(folder.resolve()):
            return path
    return None


def find_pictures(
    folder: Path, names: Sequence[str], roots: Sequence[str], *, benchmark: str
) -> dict[str, Path | bytes] | None:
    """Return {picture name: file} in the order given, or None when one is absent."""
    found: dict[str, Path | bytes] = {}
    for name in names:
        path = find_picture(folder, name, roots)
        if path is None:
            return None
        found[f"{benchmark}/{name}"] = path
    return found


def embedded_picture(value: Any, *, benchmark: str) -> dict[str, Path | bytes] | None:
    """Return {name: bytes} of a picture inside a Parquet row, named by its content; None when there is none."""
    content = value.get("bytes") if isinstance(value, Mapping) else value
    if not isinstance(content, bytes) or not content:
        return None
    return {f"{benchmark}/{stable_id(content.hex())}": content}
