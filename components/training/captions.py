"""The texts that a stage's images are matched with by the contrastive initialisation of the ViT.

An image's text is what its record states of it in the fewest words ("CT", "axial", "chest"), laid beside the
image by the pack stage, or its caption where it states nothing. A sentence's many little words would draw every
image to the same place: measured on this corpus, a language model that starts from such words tells images apart
after 30 steps of 1,024 tokens, and from whole captions not after 40. A text is a list of phrases, a phrase a few
tokens: a body part of four tokens weighs no more than a plane of one.

The images are those that the mixture's kinds and sources ask a caption of, in any language, since the words are
English all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.pairs.mixture import choose_pairs
from components.records import Pair, pair_from_row
from components.settings import Mixture
from components.tracking.tables import iterate_rows

CAPTION_KINDS = ("caption", "report")
Phrase = tuple[int, ...]
Text = tuple[Phrase, ...]


def load_texts(work_root: Path, mixture: Mixture, tokenizer: Any, *, seed: int) -> tuple[list[int], list[Text]]:
    """Return image-store rows and the text of each: a mixture's captioned training images, in corpus order.

    An image whose record states no word and whose caption is in a language that the mixture thins out is left out.
    """
    import pyarrow.parquet as pq

    index = pq.read_table(work_root / "packs" / "images" / "index.parquet").to_pydict()
    row_of = dict(zip(index["record_id"], index["row"], strict=True))
    words_of = dict(zip(index["record_id"], index["words"], strict=True))
    rows: list[int] = []
    texts: list[Text] = []
    for pair in _captions(work_root / "curated", mixture, seed=seed):
        (record_id,) = pair.record_ids
        if words_of[record_id]:
            text = phrases(tokenizer, words_of[record_id])
        elif mixture.languages.get(pair.language, 1.0) >= 1.0:
            ids = tokenizer.encode(pair.conversations[1].value, add_special_tokens=False)
            text = tuple((token,) for token in ids)
        else:
            continue
        rows.append(row_of[record_id])
        texts.append(text)
    return rows, texts


def phrases(tokenizer: Any, words: Sequence[str]) -> Text:
    """Encode words as they stand inside a sentence, each with the blank before it."""
    return tuple(tuple(tokenizer.encode(f" {word}", add_special_tokens=False)) for word in words)


def _captions(curated: Path, mixture: Mixture, *, seed: int) -> list[Pair]:
    """Return the training pairs that caption one image, as often as the mixture's kinds and sources ask."""
    pairs = [
        pair_from_row(row)
        for row in iterate_rows(curated)
        if row["split"] == "train" and row["kind"] in CAPTION_KINDS and len(row["record_ids"]) == 1
    ]
    return choose_pairs(pairs, mixture.model_copy(update={"languages": {}}), seed=seed)
