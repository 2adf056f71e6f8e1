"""Conversations without an image, and of several turns, are packed and trained on like the others."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from components.model.packing import visible
from components.records import Generator, Pair, Turn, record_schema
from components.tracking.tables import write_table
from components.training import pack
from components.training.datamodule import Collator
from components.training.stored_packs import PackDataset
from tests.fakes.models import tiny_model, tiny_vision

TALK = (Turn("human", "Hi?"), Turn("gpt", "Yes."), Turn("human", "So?"), Turn("gpt", "Go."))


def pair(name: str, conversations: tuple[Turn, ...] = TALK, record_ids: tuple[str, ...] = ()) -> Pair:
    return Pair(
        pair_id=name, record_ids=record_ids, source="s", kind="text_only", conversations=conversations,
        language="en", generator=Generator("source", "1", "", "none", 0), modality="CT", department="Oncology",
        task="Counting", patient_key=name, split="train", licence="CC0",
    )  # fmt: skip


@pytest.fixture
def encoded(processor, tmp_path):
    settings = SimpleNamespace(model=tiny_model())
    work = SimpleNamespace(count=lambda **counts: None, scratch=tmp_path)

    def encode(pairs):
        return pack._encode(pairs, processor, settings, work, {})

    return encode


def packs_of(pairs, encoded, rows=None):
    return list(pack._packs(pairs, encoded(pairs), rows or {}, max_length=400, seed=1))


def test_two_texts_share_a_pack_but_not_a_segment(encoded, processor) -> None:
    (made,) = packs_of([pair("a"), pair("b")], encoded)
    assert made.images == () and sorted(made.pair_ids) == ["a", "b"]
    assert Counter(made.segments.tolist()).keys() == {0, 1} and not (made.branches == 0).any()
    sees = visible(made.segments, made.branches)
    assert not sees[made.segments == 1][:, made.segments == 0].any()
    said = processor.tokenizer.decode(made.ids[made.supervised & (made.segments == 0)])
    assert said == "Yes.<|im_end|>Go.<|im_end|>"  # both answers of the conversation are learnt


def test_text_alone_is_packed_beside_an_image(encoded) -> None:
    shown = (Turn("human", "<image>\nWhat?"), Turn("gpt", "This."))
    (made,) = packs_of([pair("a"), pair("b", shown, ("r1",))], encoded, {"r1": (0,)})
    assert made.images == (0,) and len(set(made.segments.tolist())) == 2


def test_a_batch_without_any_image_has_no_pixels_and_a_store_without_images_is_empty(
    tmp_path, encoded, processor
) -> None:
    (made,) = packs_of([pair("a")], encoded)
    write_table(tmp_path / "packs", [pack.pack_row(made, {"a": "text_only"})], pack.pack_schema())
    write_table(tmp_path / "records", [], record_schema())
    folders = tmp_path / "images", set(), tmp_path / "records"
    rows = pack._write_images(*folders, processor.image_processor, tiny_vision())
    pixels = np.load(tmp_path / "images" / "pixels.npy")
    assert rows == {} and pixels.shape == (0, 32, 32, 3) and pixels.dtype == np.uint8
    dataset = PackDataset(tmp_path / "packs")
    batch = Collator(pixels, processor.image_processor, pad_id=0)([dataset[0]])
    assert batch.pixels is None and len(batch.images) == 0 and (batch.labels != -100).any()
