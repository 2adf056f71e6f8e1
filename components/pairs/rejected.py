"""Refused pairs, written beside the shards under a name that no reader of shards matches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from components.records import Pair, pair_schema

REJECTED = "rejected.parquet"
PAIR_FIELDS = tuple(field.name for field in fields(Pair))
GENERATOR_FIELDS = ("name", "version", "prompt_hash", "model", "seed")


def write_rejected(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write refused pairs, each with its reason in `rejected_reason`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(list(rows), schema=pair_schema()), path, compression="zstd")


def pair_row(pair: Pair) -> dict[str, Any]:
    """Return a pair as one Arrow row (dataclasses.asdict copies deeply and takes a third of the stage's time)."""
    row = {name: getattr(pair, name) for name in PAIR_FIELDS}
    row["conversations"] = [{"speaker": turn.speaker, "value": turn.value} for turn in pair.conversations]
    row["generator"] = {name: getattr(pair.generator, name) for name in GENERATOR_FIELDS}
    return row
