"""The captions that a stage's packs hold, with their images, for the contrastive initialisation of the ViT.

They are read through the packs, so the stage's mixture (which kinds, how often each source) holds here too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.tracking.tables import iterate_rows

CAPTION_KINDS = ("caption", "report")


def load_captions(work_root: Path, mixture: str, tokenizer: Any) -> tuple[list[int], list[list[int]]]:
    """Return image-store rows and caption token ids of a mixture's training packs, in pack order."""
    import pyarrow.parquet as pq

    packs = work_root / "packs"
    index = pq.read_table(packs / "images" / "index.parquet").to_pydict()
    row_of = dict(zip(index["record_id"], index["row"], strict=True))
    wanted = ["pair_id", "kind", "record_ids", "conversations"]
    pairs = {
        pair["pair_id"]: (pair["record_ids"][0], pair["conversations"][-1]["value"])
        for pair in iterate_rows(work_root / "curated", wanted)
        if pair["kind"] in CAPTION_KINDS and len(pair["record_ids"]) == 1
    }
    rows: list[int] = []
    captions: list[list[int]] = []
    for pack in iterate_rows(packs / mixture / "train", ["pair_ids"]):
        for record_id, text in (pairs[pair_id] for pair_id in pack["pair_ids"] if pair_id in pairs):
            rows.append(row_of[record_id])
            captions.append(tokenizer.encode(text, add_special_tokens=False))
    return rows, captions
