from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from components.pairs.columns import KeyIndex, arrow_compute, keys_of, mixed, runs
from components.pairs.firewall import CONTAMINATES, REPEATS, Firewall, ImageLinks
from components.pairs.grams import grams_of
from components.pairs.images import ImageFacts, image_table
from components.pairs.pair_batches import PairBatch, pair_batch

LONG = "The liver lies in the upper left part of the image and covers about twelve per cent of it."


def facts(name: str, split: str, bits: int) -> ImageFacts:
    return ImageFacts(name, name, split, name, bits, 64, 64, 5.0)


IMAGES = [
    facts("a", "train", 0b11),
    facts("b", "train", 0xFFFF),
    facts("t", "test", 0),
    facts("v", "validation", 1),
    facts("u", "test", 0xFF0000),
]
INDEX = KeyIndex(keys_of([one.record_id for one in IMAGES]))


def row(record_id: str, said: str, split: str = "train", name: str = "templates") -> dict:
    turns = [{"speaker": "human", "value": "<image>\nDescribe."}, {"speaker": "gpt", "value": said}]
    return {"record_ids": [record_id], "split": split, "conversations": turns, "generator": {"name": name}}


def batch(*rows: dict) -> PairBatch:
    return pair_batch(pa.RecordBatch.from_pylist(list(rows)), INDEX.rows)


def firewall(*held_out: dict, bits: int = 2) -> Firewall:
    made = Firewall(ImageLinks(image_table(IMAGES), bits=bits, is_usable=np.ones(len(IMAGES), dtype=bool)))
    made.learn(batch(*held_out))
    made.close()
    return made


def test_grams_are_thirteen_words_and_a_short_text_is_one() -> None:
    grams = grams_of(["One, two!", LONG, "这是腹部的轴位图像可见肝脏和脾", "one two", ""])
    assert np.bincount(grams.rows).tolist() == [1, 19 - 13 + 1, 3, 1, 1]
    assert grams.words.tolist() == [2, 19, 15, 2, 0]
    first = {row: set(grams.keys[grams.rows == row].tolist()) for row in range(5)}
    assert first[0] == first[3] != first[4]


def test_a_gram_is_the_same_wherever_it_stands_and_its_order_counts() -> None:
    words = [f"w{number}" for number in range(20)]
    grams = grams_of([" ".join(words), " ".join(words[3:17]), " ".join(words[::-1])])
    rows = [set(grams.keys[grams.rows == row].tolist()) for row in range(3)]
    assert len(rows[0]) == 8
    assert rows[1] < rows[0]
    assert not rows[0] & rows[2]
    assert len(grams_of([]).keys) == 0


def test_links_join_training_images_to_alike_held_out_ones() -> None:
    links = ImageLinks(image_table(IMAGES), bits=2, is_usable=np.ones(5, dtype=bool))
    assert links.is_linked[links.train_group].tolist() == [True, False, False, False, False]
    linked = links.linked_to(links.train_group[:1])
    assert [name.record_id for name, group in zip(IMAGES, links.held_group, strict=True) if group in linked] == [
        "t",
        "v",
    ]
    unusable = ImageLinks(image_table(IMAGES), bits=2, is_usable=np.array([True, True, False, True, True]))
    assert len(unusable.linked_to(unusable.train_group[:1])) == 1


def test_a_training_pair_goes_only_when_image_and_words_both_match() -> None:
    wall = firewall(row("t", LONG, "test"), row("u", "Another text.", "test"))
    rows = (
        row("a", LONG), row("a", LONG + " And more."), row("a", "Something else."), row("b", LONG),
        row("t", LONG, "test"),
    )  # fmt: skip
    assert wall.reasons(batch(*rows)).tolist() == [CONTAMINATES, CONTAMINATES, "", "", ""]
    assert [
        IMAGES[place].record_id for place in range(5) if wall.links.held_group[place] in wall.touched_words
    ] == ["t"]


def test_a_sources_own_words_count_without_its_image_and_short_or_made_ones_do_not() -> None:
    wall = firewall(row("u", LONG, "test", "source"), row("u", "Normal.", "test", "source"))
    rows = (row("b", f"Seen: {LONG}", name="source"), row("b", LONG), row("b", "Normal.", name="source"))
    assert wall.reasons(batch(*rows)).tolist() == [REPEATS, "", ""]


def test_without_alike_images_no_words_are_kept() -> None:
    wall = firewall(row("u", LONG, "test"))
    assert wall._speakers == {}


def test_a_batch_knows_its_images_its_words_and_what_is_said_of_which_pixels() -> None:
    two = row("a", LONG) | {"record_ids": ["a", "nowhere"]}
    swapped = row("a", LONG) | {"record_ids": ["b", "a"]}
    whole = batch(row("a", LONG), two, row("b", LONG), row("a", LONG), swapped, row("a", "x") | {"record_ids": []})
    assert whole.images.tolist() == [0, 0, -1, 1, 0, 1, 0]
    assert whole.owners.tolist() == [0, 1, 1, 2, 3, 4, 4]
    assert whole.texts[0] == f"<image>\nDescribe.\x1f{LONG}"
    said = whole.said(keys_of([one.sha256 for one in IMAGES])).tolist()
    assert said[0] == said[3]
    assert len(set(said)) == 5


def test_keys_are_the_same_for_ever_and_an_index_finds_its_rows() -> None:
    assert keys_of(["a", "b"]).tolist() == keys_of(pa.chunked_array([["a"], ["b"]])).tolist()
    assert keys_of(["liver"])[0] == 11196448038541410716
    assert INDEX.rows(keys_of(["v", "nobody", "a"])).tolist() == [3, -1, 0]
    assert KeyIndex(keys_of([])).rows(keys_of(["a"])).tolist() == [-1]
    one, other = keys_of(["a"]), keys_of(["b"])
    assert mixed(one, other)[0] != mixed(other, one)[0]
    assert list(runs(np.array([4, 4, 1, 4]))) == [(0, 2), (2, 3), (3, 4)]
    assert list(runs(np.array([]))) == []
    assert arrow_compute().sum(pa.array([1, 2])).as_py() == 3


@pytest.mark.parametrize("number", [0, 1, 70_000])
def test_keys_do_not_depend_on_how_many_there_are(number: int) -> None:
    names = [f"r{place}" for place in range(number)]
    assert keys_of(names)[-1:].tolist() == keys_of(names[-1:]).tolist()
