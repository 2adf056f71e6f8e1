"""Which images the encoder of a fresh model learns from, and which words each is drawn onto."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.records import NOT_STATED
from components.settings import Mixture
from components.training import pack
from components.training.captions import load_texts, phrases
from tests.fakes.models import tiny_vision
from tests.fakes.tables import make_pair, make_record, write_corpus

SILENT = {"modality": NOT_STATED, "body_part": NOT_STATED, "labels": ()}


@pytest.fixture
def corpus(tmp_path, processor):
    """Two images with words (one captioned in Chinese), two without, and one of the test split."""
    records = [
        make_record(0, patient="a", split="train", labels=()),
        make_record(1, patient="a", split="train", labels=(), plane="axial"),
        make_record(2, patient="b", split="train", **SILENT),
        make_record(3, patient="b", split="train", **SILENT),
        make_record(4, patient="c", split="test"),
    ]
    captions = ["A lung.", "一张图像。", "A dog.", "一张图像。", "A lung."]
    pairs = [
        make_pair(record, "Say.", said, kind="caption", language="en" if said.isascii() else "zh")
        for record, said in zip(records, captions, strict=True)
    ]
    pairs.append(make_pair(records[0], "Which?", "CT", question_type="modality"))
    root = write_corpus(tmp_path, records, pairs)
    needed = {record.record_id for record in records[:4]}
    folders = root / "packs" / "images", needed, root / "records"
    pack._write_images(*folders, processor.image_processor, tiny_vision())
    return root


def test_the_pack_stage_lays_each_records_words_beside_its_pixels(corpus) -> None:
    index = pq.read_table(corpus / "packs" / "images" / "index.parquet").to_pydict()
    stated = dict(zip(index["record_id"], index["words"], strict=True))
    assert stated["record000"] == ["CT", "chest"] and stated["record001"] == ["CT", "axial", "chest"]
    assert stated["record002"] == [] and "record004" not in stated
    assert len(np.load(corpus / "packs" / "images" / "pixels.npy")) == 4


def test_words_come_before_captions_and_a_thinned_language_gives_no_caption(corpus, processor) -> None:
    mixture = Mixture(kinds={"caption": 1.0}, languages={"zh": 0.1})
    rows, texts = load_texts(corpus, mixture, processor.tokenizer, seed=1)
    tokenizer = processor.tokenizer
    written = tuple((token,) for token in tokenizer.encode("A dog.", add_special_tokens=False))
    assert rows == [0, 1, 2]  # the Chinese caption of record 1 is not needed, that of record 3 is not read
    assert texts == [phrases(tokenizer, ["CT", "chest"]), phrases(tokenizer, ["CT", "axial", "chest"]), written]


def test_a_source_counts_as_often_as_the_mixture_says(corpus, processor) -> None:
    twice = Mixture(kinds={"caption": 1.0}, sources={"fake": 2.0})
    assert load_texts(corpus, twice, processor.tokenizer, seed=1)[0] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert load_texts(corpus, Mixture(kinds={"percept": 1.0}), processor.tokenizer, seed=1) == ([], [])
