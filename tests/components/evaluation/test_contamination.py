"""Items that show a training picture are found by pixels and by near hashes; others are clean."""

from __future__ import annotations

from pathlib import Path

from components.evaluation.contamination import Seen, items_seen, pictures_trained_on
from tests.fakes.items import make_item
from tests.fakes.tables import make_record, pairs_of, write_corpus


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
