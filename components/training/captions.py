"""The training split's images and captions, for the contrastive initialisation of the image encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.tracking.tables import iterate_rows


def load_captions(work_root: Path, tokenizer: Any) -> tuple[list[int], list[list[int]]]:
    """Return the image-store rows and the caption token ids of every training caption, in pair order."""
    import pyarrow.parquet as pq

    index = pq.read_table(work_root / "packs" / "images" / "index.parquet").to_pydict()
    row_of = dict(zip(index["record_id"], index["row"], strict=True))
    rows: list[int] = []
    captions: list[list[int]] = []
    for pair in iterate_rows(work_root / "curated", ["kind", "split", "record_ids", "conversations"]):
        if pair["kind"] == "caption" and pair["split"] == "train":
            rows.append(row_of[pair["record_ids"][0]])
            captions.append(tokenizer.encode(pair["conversations"][-1]["value"], add_special_tokens=False))
    return rows, captions
