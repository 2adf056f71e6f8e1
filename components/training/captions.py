"""The texts that a stage's images are matched with by the contrastive initialisation of the ViT.

An image's text is what the corpus says of it in the fewest words: the short answers of its own perception
questions ("CT axial chest lung tumour"), or its caption where it has none. A sentence's many little words would
draw every image to the same place: measured on this corpus, a language model that starts from answer words tells
images apart after 30 steps of 1,024 tokens, and from whole captions not after 40. The images are those that the
mixture's packs hold a caption of, so the mixture (kinds, sources) holds here too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from components.tracking.tables import iterate_rows

CAPTION_KINDS = ("caption", "report")
NO_WORDS = frozenset({"yes", "no", "是", "否"})


def load_captions(
    work_root: Path, mixture: str, tokenizer: Any, *, languages: Iterable[str]
) -> tuple[list[int], list[list[int]]]:
    """Return image-store rows and text token ids of a mixture's captioned training images, in pack order.

    `languages` are those whose answers are taken.
    """
    import pyarrow.parquet as pq

    packs = work_root / "packs"
    index = pq.read_table(packs / "images" / "index.parquet").to_pydict()
    row_of = dict(zip(index["record_id"], index["row"], strict=True))
    captions, words = _texts(work_root / "curated", frozenset(languages))
    rows: list[int] = []
    texts: list[list[int]] = []
    for pack in iterate_rows(packs / mixture / "train", ["pair_ids"]):
        for record_id, caption in (captions[pair_id] for pair_id in pack["pair_ids"] if pair_id in captions):
            said = "".join(f" {word}" for word in sorted(words[record_id])) or caption
            rows.append(row_of[record_id])
            texts.append(tokenizer.encode(said, add_special_tokens=False))
    return rows, texts


def _texts(curated: Path, languages: frozenset[str]) -> tuple[dict[str, tuple[str, str]], dict[str, set[str]]]:
    """Return {pair id: (record id, caption)} and {record id: answer words} of pairs about one image."""
    captions: dict[str, tuple[str, str]] = {}
    words: defaultdict[str, set[str]] = defaultdict(set)
    wanted = ["pair_id", "kind", "record_ids", "conversations", "language", "answer", "options"]
    for pair in iterate_rows(curated, wanted):
        if len(pair["record_ids"]) != 1:
            continue
        if pair["kind"] in CAPTION_KINDS:
            captions[pair["pair_id"]] = pair["record_ids"][0], pair["conversations"][1]["value"]
        elif pair["kind"] == "percept" and pair["options"] and pair["language"] in languages:
            answer = pair["answer"]
            if answer not in NO_WORDS and not answer.isdecimal():
                words[pair["record_ids"][0]].add(answer)
    return captions, words
