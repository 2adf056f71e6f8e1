from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.pairs.curate import run_curate
from components.pairs.images import ImageFacts, image_table
from components.pairs.make import run_pair
from components.pairs.within_training import NEAR, NEAR_ACROSS, near_within, training_duplicates
from tests.components.pairs.test_make import CURATED, corpus, noisy, spread, write_records
from tests.fakes.scans import make_scan

BASE = ImageFacts("a", "p", "train", "pixels", 0, 64, 64, 5.0, study_key="s", source="one")


def image(name: str, bits: int, **changes) -> ImageFacts:
    changes = {"study_key": name} | changes
    return replace(BASE, record_id=name, sha256=name, perceptual_hash=bits, **changes)


def refused(images: list[ImageFacts], bits: int = 1) -> dict[str, str]:
    reasons = training_duplicates(image_table(images), bits=bits).tolist()
    return {one.record_id: reason for one, reason in zip(images, reasons, strict=True) if reason}


def test_of_near_images_the_first_by_id_stays_within_and_across_sources() -> None:
    images = [image("c", 0b1), image("a", 0b0), image("b", 0b0), image("d", 0b10, source="two"), image("e", 0xFF)]
    assert refused(images) == {"b": NEAR, "c": NEAR, "d": NEAR_ACROSS}
    assert refused(images, bits=0) == {"b": NEAR}


def test_images_of_one_study_never_refuse_each_other_and_share_one_fate() -> None:
    slices = [image(f"a{n}", 0b1, study_key="volume") for n in range(3)]
    assert refused(slices) == {}
    strangers = [image("z1", 0b1, study_key="other"), image("z2", 0b1, study_key="other"), image("z3", 0b111)]
    assert refused([*slices, *strangers]) == {"z1": NEAR, "z2": NEAR}
    mixed = [image("a", 0b0, study_key="s"), image("b", 0b1, study_key="t"), image("c", 0b1, study_key="s")]
    assert refused(mixed) == {"b": NEAR}  # c's own study holds the kept one


def test_what_is_refused_refuses_nothing() -> None:
    assert refused([image("a", 0b000), image("b", 0b001), image("c", 0b011)]) == {"b": NEAR}


def test_held_out_images_are_left_alone() -> None:
    images = [image("a", 0, split="test"), image("b", 0, split="validation"), image("c", 0)]
    assert refused(images) == {}
    assert refused([]) == {}


@given(st.sets(st.integers(0, 2**64 - 1), max_size=12), st.integers(0, 7))
def test_few_hashes_are_all_compared(values: set[int], bits: int) -> None:
    near = {value ^ (1 << place) for place, value in enumerate(sorted(values))}
    unique = np.array(sorted(values | near), dtype=np.uint64)
    rows = unique.tolist()
    expected = [
        [i, j]
        for i in range(len(rows))
        for j in range(i + 1, len(rows))
        if (rows[i] ^ rows[j]).bit_count() <= bits
    ]
    assert near_within(unique, bits=bits).tolist() == (expected if bits else [])


def timed(rows: int, values: int) -> float:
    random = np.random.default_rng(rows)
    names = [str(number) for number in range(rows)]
    table = pa.table(
        {
            "record_id": names, "split": ["train"] * rows, "source": ["one"] * rows, "study_key": names,
            "perceptual_hash": random.integers(0, values, rows, dtype=np.uint64),
        }
    )  # fmt: skip
    started = time.perf_counter()
    reasons = training_duplicates(table, bits=2)
    taken = time.perf_counter() - started
    assert (reasons != "").any()
    return taken


def test_alike_hashes_do_not_multiply() -> None:
    """All hashes differ in 14 bits only, as those of pictures with one background do: pairwise it is hours."""
    assert timed(100_000, 1 << 14) < 30


def test_the_stage_refuses_them_only_where_the_settings_ask(settings, fake_run) -> None:
    records = corpus()
    copies = [
        make_scan(
            70, image=noisy(70), perceptual_hash=records[0].perceptual_hash, patient_key="p7", study_key="s7"
        ),
        make_scan(71, image=noisy(71), perceptual_hash=spread(71), patient_key="p7", study_key="s7"),
    ]
    write_records([*records, *copies])
    run_pair(settings)
    run_curate(settings)
    manifest = json.loads((CURATED / "manifest.json").read_text())
    assert manifest["details"]["images_refused"] == {}
    asked = settings.curate.model_copy(update={"training_duplicate_bits": 2})
    run_curate(settings.model_copy(update={"curate": asked}))
    manifest = json.loads((CURATED / "manifest.json").read_text())
    assert manifest["details"]["images_refused"] == {NEAR: 1}
    assert manifest["counts"]["rejected"][NEAR] > 0


@pytest.mark.parametrize(("preset", "bits"), [("none", None), ("gmai_vl_7b", 2)])
def test_it_is_off_for_the_sample_and_on_for_the_papers_mixture(preset: str, bits: int | None) -> None:
    from tests.test_conf import settings_of

    assert settings_of(f"preset={preset}").curate.training_duplicate_bits == bits
