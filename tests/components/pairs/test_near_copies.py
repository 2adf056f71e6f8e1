from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.pairs import near_copies
from components.pairs.fingerprint import BASE, CELLS, SEARCHED, crops, normalised, variants
from components.pairs.firewall_index import FirewallIndex, load_index
from components.pairs.images import ImageFacts, image_table, measure
from components.pairs.near_copies import band_cells, expand, find_copies
from components.pairs.picture_column import Pictures
from components.pairs.touched import touched_items, write_touched
from tests.fakes.alterations import ALTERATIONS, altered, encoded, make_picture


def thumbnail(picture) -> np.ndarray:
    return np.frombuffer(measure(encoded(picture), with_base=False).thumbnail, np.uint8)


def base(picture) -> np.ndarray:
    return np.frombuffer(measure(encoded(picture), with_base=True).base, np.uint8)


@pytest.mark.parametrize("kind", ALTERATIONS)
def test_an_altered_copy_is_found_among_others(kind: str) -> None:
    held_out = [make_picture(number) for number in range(6)]
    train = [make_picture(100 + number) for number in range(20)] + [altered(p, kind, seed=1) for p in held_out]
    found = find_copies(np.stack([thumbnail(p) for p in train]), np.stack([base(p) for p in held_out]))
    assert list(zip(found.train.tolist(), found.held_out.tolist(), strict=True)) == [(20 + n, n) for n in range(6)]
    assert found.likeness.min() >= near_copies.LIKENESS


def test_flat_images_are_not_each_others_copies() -> None:
    flat = np.full((3, CELLS), 9, np.uint8)
    assert len(find_copies(flat, np.full((2, BASE * BASE), 9, np.uint8)).train) == 0
    assert not normalised(flat).any()


def test_nothing_is_found_in_nothing() -> None:
    assert len(find_copies(np.empty((0, CELLS), np.uint8), base(make_picture(1))[None]).train) == 0
    assert len(find_copies(thumbnail(make_picture(1))[None], np.empty((0, BASE * BASE), np.uint8)).train) == 0


def test_the_first_variant_is_the_image_itself_and_the_flips_turn_it() -> None:
    picture = make_picture(3)
    turned = variants(base(picture)[None], SEARCHED)[0]
    number = len(crops(SEARCHED))
    assert turned.shape == (4 * number, CELLS)
    mine = thumbnail(picture).astype(float).reshape(16, 16)
    assert np.abs(turned[0].reshape(16, 16) - mine).max() < 2
    assert np.allclose(turned[number].reshape(16, 16), turned[0].reshape(16, 16)[:, ::-1])


def test_the_sampled_cells_never_change_because_an_index_rests_on_them() -> None:
    cells = band_cells()
    assert cells.shape == (near_copies.BANDS, near_copies.BAND_CELLS)
    assert cells[0].tolist() == band_cells()[0].tolist()
    assert all(2 <= cell // 16 < 14 and 2 <= cell % 16 < 14 for cell in cells.ravel().tolist())


def test_a_join_is_expanded_in_bounded_parts(monkeypatch) -> None:
    monkeypatch.setattr(near_copies, "MOST_CANDIDATES", 4)
    parts = list(expand(np.array([0, 5, 9, 2]), np.array([3, 0, 2, 6])))
    pairs = [(int(r), int(p)) for rows, places in parts for r, p in zip(rows, places, strict=True)]
    assert pairs == [(0, 0), (0, 1), (0, 2), (2, 9), (2, 10), *((3, place) for place in range(2, 8))]
    assert max(len(rows) for rows, _ in parts) <= 6


def facts(name: str, split: str, picture) -> ImageFacts:
    seen = measure(encoded(picture), with_base=split != "train")
    return ImageFacts(
        name, name, split, f"sha-{name}", 0, 64, 64, seen.entropy, study_key=name, source="s",
        thumbnail=seen.thumbnail, base=seen.base,
    )  # fmt: skip


@pytest.fixture
def corpus() -> list[ImageFacts]:
    held_out = [make_picture(number) for number in range(3)]
    train = [altered(held_out[0], "flipped", seed=0), make_picture(50), make_picture(51)]
    return [facts(f"t{n}", "test", p) for n, p in enumerate(held_out)] + [
        facts(f"a{n}", "train", p) for n, p in enumerate(train)
    ]


def test_only_new_images_are_compared_and_the_answer_is_that_of_a_whole_comparison(corpus, tmp_path: Path) -> None:
    first = FirewallIndex(tmp_path / "index")
    assert set(first.update(image_table(corpus))) == {("sha-a0", "sha-t0")}
    first.save(image_table(corpus))

    again = load_index(tmp_path / "index")
    assert set(again.update(image_table(corpus))) == {("sha-a0", "sha-t0")}
    assert again.compared == 0

    grown = [*corpus, facts("a9", "train", altered(make_picture(1), "resized", seed=0)),
             facts("t9", "test", make_picture(51))]  # fmt: skip
    third = load_index(tmp_path / "index")
    found = set(third.update(image_table(grown)))
    assert found == {("sha-a0", "sha-t0"), ("sha-a9", "sha-t1"), ("sha-a2", "sha-t9")}
    assert found == set(FirewallIndex(tmp_path / "none").update(image_table(grown)))
    assert third.compared == (1 + 4) + (3 + 1)


def test_an_image_that_left_takes_its_links_along(corpus, tmp_path: Path) -> None:
    first = FirewallIndex(tmp_path / "index")
    first.update(image_table(corpus))
    first.save(image_table(corpus))
    assert load_index(tmp_path / "index").update(image_table(corpus[1:])) == {}
    moved = [replace(one, split="test") if one.record_id == "a0" else one for one in corpus]
    assert load_index(tmp_path / "index").update(image_table([one for one in moved if one.base])) == {}


def test_another_version_of_the_comparison_starts_anew(corpus, tmp_path: Path, monkeypatch) -> None:
    index = FirewallIndex(tmp_path / "index")
    index.update(image_table(corpus))
    index.save(image_table(corpus))
    known = load_index(tmp_path / "index").recall("sha-a0")
    assert known is not None
    assert known.thumbnail == corpus[3].thumbnail
    assert load_index(tmp_path / "index").recall("sha-nobody") is None
    monkeypatch.setattr(near_copies, "LIKENESS", 0.9)
    assert load_index(tmp_path / "index").recall("sha-a0") is None


def test_pictures_are_gathered_from_any_chunk_and_slice_without_copying_the_column(corpus) -> None:
    import pyarrow as pa

    table = pa.concat_tables([image_table(corpus).slice(1, 3), image_table(corpus).slice(0, 6)])
    rows = Pictures(table["thumbnail"], np.array([8, 0, 3]))
    expected = [corpus[5].thumbnail, corpus[1].thumbnail, corpus[0].thumbnail]
    assert [row.tobytes() for row in rows[:]] == expected
    assert [row.tobytes() for row in rows[np.array([2, 0])]] == [expected[2], expected[0]]
    assert rows.only(np.array([False, True, True]))[1:2][0].tobytes() == expected[2]
    bases = Pictures(table["base"], np.array([1, 3]))  # training rows between them have none
    assert [row.tobytes() for row in bases[:]] == [corpus[2].base, corpus[0].base]
    assert len(Pictures(table["base"].slice(0, 0), np.empty(0, np.int64))) == 0


def test_touched_items_are_listed_with_each_way(corpus, tmp_path: Path) -> None:
    shared = [
        replace(corpus[0], perceptual_hash=1), replace(corpus[1], perceptual_hash=2, study_key="both"),
        replace(corpus[3], perceptual_hash=5), replace(corpus[4], perceptual_hash=8, sha256="sha-t1"),
        replace(corpus[5], study_key="both", patient_key="t1", perceptual_hash=16),
    ]  # fmt: skip
    items = touched_items(
        image_table(shared), {("sha-a0", "sha-t0"): 0.99}, np.array([0]), np.ones(5, bool), bits=1
    )
    found = [(row["record_id"], row["way"]) for row in items.to_pylist()]
    assert found == [
        ("t0", "copy"), ("t0", "hash"), ("t0", "words"), ("t1", "patient"), ("t1", "pixels"), ("t1", "study")
    ]  # fmt: skip
    assert write_touched(tmp_path, items) == dict.fromkeys(
        ("copy", "hash", "patient", "pixels", "study", "words"), 1
    )
