"""Rows of Hugging Face Parquet files, a few in memory at a time, and the class names in their metadata.

An image is a struct {bytes, path}, plain bytes, or a list of either; files that hold paths alone are refused
row by row (`image_bytes_missing`), for the bytes are elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.data.faults import Refused
from components.data.reading import find_files
from components.data.row_files import FileGroup, Row
from components.errors import CardInvalid, DataError

BATCH_ROWS = 32
METADATA_KEY = b"huggingface"


def iterate_parquet(
    root: Path, files: tuple[FileGroup, ...], columns: tuple[str, ...], images: tuple[str, ...]
) -> Iterator[tuple[Row, list[tuple[str, bytes]] | Refused]]:
    """Yield each row with its images' (path, bytes), or with the fault of its images.

    Class numbers are replaced by their names. Columns are those before the first dot of what is asked for.

    Raises:
        CardInvalid: a file lacks a column.
        DataError: a file is not Parquet, or is cut short.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = sorted({name.split(".")[0] for name in (*columns, *images)})
    for group in files:
        for path in find_files(root, group.file):
            relative = path.relative_to(root).as_posix()
            try:
                with pq.ParquetFile(path) as file:
                    _check_columns(file.schema_arrow.names, wanted, relative)
                    names = class_names(file.schema_arrow.metadata or {})
                    batches = file.iter_batches(batch_size=BATCH_ROWS, columns=wanted)
                    yield from _rows(batches, relative, group, images, names)
            except (pa.ArrowException, OSError) as error:
                raise DataError(
                    f"parquet_unreadable: not a whole Parquet file: {error}", where=relative, fix="fetch it again"
                ) from error


def _check_columns(found: list[str], wanted: list[str], relative: str) -> None:
    missing = [name for name in wanted if name not in found]
    if missing:
        raise CardInvalid(
            f"table_columns_missing: no column {', '.join(missing)}; the file has: {', '.join(found)}",
            where=relative,
            fix="mend the card's columns",
        )  # fmt: skip


def _rows(
    batches: Any, relative: str, group: FileGroup, images: tuple[str, ...], names: dict[str, list[str]]
) -> Iterator[tuple[Row, list[tuple[str, bytes]] | Refused]]:
    number = 0
    for batch in batches:
        for values in batch.to_pylist():
            number += 1
            found: list[tuple[str, bytes]] | Refused
            try:
                found = [one for column in images for one in _pictures(values.pop(column))]
            except Refused as fault:
                found = fault
            named = {column: _named(value, names.get(column)) for column, value in values.items()}
            yield Row(f"{relative}#{number}", named, group), found


def _pictures(value: Any) -> list[tuple[str, bytes]]:
    if value is None:
        return []
    if isinstance(value, list):
        return [picture for one in value for picture in _pictures(one)]
    if isinstance(value, bytes):
        return [("", value)]
    if not isinstance(value, dict) or "bytes" not in value:
        raise Refused("image_not_bytes")
    if not value["bytes"]:
        raise Refused("image_bytes_missing")
    return [(Path(value.get("path") or "").name, value["bytes"])]


def _named(value: Any, names: list[str] | None) -> Any:
    """Replace class numbers by names; -1, Hugging Face's "no label", becomes None."""
    if names is None or value is None:
        return value
    if isinstance(value, list):
        return [_named(one, names) for one in value]
    if isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    return None if value == -1 else f"class {value}"


def class_names(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """Return column -> names of every ClassLabel (or list of them) in a schema's Hugging Face metadata."""
    try:
        features = json.loads(metadata.get(METADATA_KEY, b"{}")).get("info", {}).get("features", {})
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError):
        return {}
    found: dict[str, list[str]] = {}
    for column, feature in features.items():
        inner = feature[0] if isinstance(feature, list) and feature else feature
        inner = inner.get("feature", inner) if isinstance(inner, dict) else {}
        if isinstance(inner, dict) and inner.get("_type") == "ClassLabel" and inner.get("names"):
            found[column] = list(inner["names"])
    return found
