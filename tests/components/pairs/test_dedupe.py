from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.pairs.dedupe import exact_duplicates, has_near, near_duplicates, near_matches
from components.pairs.images import ImageFacts, image_table

BASE = ImageFacts("a", "p", "train", "same", 0b1010, 64, 64, 5.0)


def image(name: str, split: str = "train", pixels: str = "", bits: int = 0) -> ImageFacts:
    return replace(BASE, record_id=name, split=split, sha256=pixels or name, perceptual_hash=bits)


def refused(find, images: list[ImageFacts], **options) -> dict[str, str]:
    reasons = find(image_table(images), **options)
    return {facts.record_id: reason for facts, reason in zip(images, reasons.tolist(), strict=True) if reason}


def test_of_equal_images_in_one_split_the_first_by_id_stays() -> None:
    images = [image("c", pixels="x"), image("a", pixels="x"), image("b", pixels="x"), image("d")]
    assert refused(exact_duplicates, images) == {"b": "duplicate_image", "c": "duplicate_image"}


def test_across_splits_the_held_out_image_stays_whatever_its_id() -> None:
    images = [image("a", pixels="x"), image("z", "test", "x"), image("y", "validation", "x")]
    expected = {"a": "duplicate_of_test_image", "y": "duplicate_of_test_image"}
    assert refused(exact_duplicates, images) == expected


def test_near_duplicates_are_refused_across_splits_only() -> None:
    images = [image("a", bits=0b0001), image("b", bits=0b0011), image("t", "test", bits=0b0000)]
    assert refused(near_duplicates, images, bits=0) == {}
    assert refused(near_duplicates, images, bits=1) == {"a": "near_duplicate_of_test_image"}
    assert set(refused(near_duplicates, images, bits=2)) == {"a", "b"}


def test_a_validation_image_refused_for_the_test_does_not_refuse_training_images() -> None:
    images = [image("a", bits=0b0011), image("v", "validation", bits=0b0001), image("t", "test", bits=0b0000)]
    assert refused(near_duplicates, images, bits=1) == {"v": "near_duplicate_of_test_image"}


def test_hashes_above_the_sign_bit_survive_the_table() -> None:
    images = [image("a", bits=2**64 - 1), image("t", "test", bits=2**64 - 2)]
    assert set(refused(near_duplicates, images, bits=1)) == {"a"}


hashes = st.lists(st.integers(0, 2**64 - 1), max_size=20)


@given(hashes, hashes, st.integers(0, 12))
def test_matches_are_exactly_those_of_a_plain_comparison(left: list[int], right: list[int], bits: int) -> None:
    right = right + [value ^ (1 << place) for place, value in enumerate(left)]
    expected = [[i, j] for i, a in enumerate(left) for j, b in enumerate(right) if (a ^ b).bit_count() <= bits]
    ours, theirs = (np.array(side, dtype=np.uint64) for side in (left, right))
    assert near_matches(ours, theirs, bits=bits).tolist() == expected
    assert has_near(ours, theirs, bits=bits).tolist() == [
        i in {row[0] for row in expected} for i in range(len(left))
    ]


@pytest.mark.parametrize("bits", [0, 4])
def test_a_hundred_thousand_hashes_are_compared_in_seconds(bits: int) -> None:
    random = np.random.default_rng(0)
    left, right = (random.integers(0, 2**63, size=n, dtype=np.uint64) for n in (100_000, 20_000))
    started = time.perf_counter()
    near_matches(left, np.concatenate([right, left[:5]]), bits=bits)
    assert time.perf_counter() - started < 5


def test_many_equal_hashes_do_not_multiply() -> None:
    same = np.full(200_000, 7, dtype=np.uint64)
    assert has_near(same, same, bits=4).all()
