"""Items that show a training picture are found by pixels and by near hashes; others are clean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from components.evaluation import contamination
from components.evaluation.contamination import (
    Seen,
    copies_seen,
    items_seen,
    patients_seen,
    pictures_trained_on,
    words_seen,
)
from tests.fakes.alterations import ALTERATIONS, altered, encoded, make_picture
from tests.fakes.items import make_item
from tests.fakes.tables import make_pair, make_record, pairs_of, write_corpus

LONG = "Which of the many small round nodules near the upper pole of the left kidney is calcified"


def test_equal_and_nearly_equal_pictures_are_seen() -> None:
    rows = {
        "same": {"sha256": "a", "perceptual_hash": "ffffffffffffffff"},
        "near": {"sha256": "b", "perceptual_hash": "000000000000000f"},
        "far": {"sha256": "c", "perceptual_hash": "00000000000000ff"},
        "none": {"sha256": "d", "perceptual_hash": ""},
    }
    items = [make_item(item_id=name, record_ids=(name,)) for name in rows]
    both = make_item(item_id="both", record_ids=("far", "near"))
    seen = Seen(frozenset({"a"}), frozenset({"0000000000000000"}))
    assert items_seen([*items, both], rows, seen) == {"same", "near", "both"}
    assert items_seen(items, rows, Seen(frozenset(), frozenset())) == set()


def test_only_pictures_of_training_pairs_count(tmp_path: Path) -> None:
    records = [make_record(0, patient="a", split="train"), make_record(1, patient="b", split="test"),
               make_record(2, patient="c", split="train")]  # fmt: skip
    write_corpus(tmp_path, records, [pair for record in records[:2] for pair in pairs_of(record)])
    seen = pictures_trained_on(tmp_path / "records", tmp_path / "curated")
    assert seen.pixels == {"record000"} and seen.perceptual == {"0" * 16}


@pytest.mark.parametrize("kind", ALTERATIONS)
def test_a_published_picture_of_which_training_saw_an_altered_copy_is_not_clean(tmp_path: Path, kind: str) -> None:
    pictures = {f"{number}.png": encoded(make_picture(number)) for number in range(4)} | {"torn.png": b"torn"}
    trained = make_record(0, patient="a", split="train", image=encoded(altered(make_picture(2), kind, seed=1)))
    unused = make_record(1, patient="b", split="train", image=encoded(make_picture(3)))
    root = write_corpus(tmp_path, [trained, unused], pairs_of(trained))
    found = copies_seen(pictures, root / "records", root / "curated", index=tmp_path / "no memory")
    assert found == {"2.png"}
    assert copies_seen({"torn.png": b"torn"}, root / "records", root / "curated", index=tmp_path) == set()


def source_pair(record, said: str):
    pair = make_pair(record, "What is asked?", said)
    return replace(pair, pair_id=said[:20], generator=replace(pair.generator, name="source"))


def test_thirteen_words_of_a_training_source_make_an_item_seen(tmp_path: Path, monkeypatch) -> None:
    train, test = (make_record(n, patient=split, split=split) for n, split in enumerate(("train", "test")))
    other = LONG.replace("kidney", "lung").replace("upper", "lower")
    made = make_pair(train, "What?", other)  # a template's words are everybody's
    root = write_corpus(
        tmp_path, [train, test], [source_pair(train, f"Asked: {LONG}."), source_pair(test, other), made]
    )
    items = [make_item(item_id="said", question=LONG), make_item(item_id="other", question=other),
             make_item(item_id="short", question="What is asked?")]  # fmt: skip
    assert words_seen(items, root / "curated") == {"said"}
    assert words_seen([], root / "curated") == set()
    monkeypatch.setattr(contamination, "MOST_SHARED", 1)
    again = make_item(item_id="again", question=LONG)
    assert words_seen([*items, again], root / "curated") == set()  # a form of words that the items share


def test_a_patient_of_training_makes_an_item_seen(tmp_path: Path) -> None:
    records = [make_record(0, patient="a", split="train"), make_record(1, patient="b", split="test")]
    root = write_corpus(tmp_path, records, [pair for record in records for pair in pairs_of(record)])
    items = [make_item(item_id=name, patient_key=name) for name in ("a", "b", "c")]
    assert patients_seen(items, root / "curated") == {"a"}
