from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.errors import DataError
from components.pairs.images import ImageFacts, grey_entropy, measure_images, quality_reason
from components.pairs.split import check_patients
from components.records import record_schema, to_rows
from components.tracking.tables import write_table
from tests.fakes.scans import make_scan

SOUND = ImageFacts("r", "p", "train", "s", 0, 64, 48, 5.0)
LIMITS = {"min_side": 24, "max_aspect": 3.0, "min_entropy": 0.5}


def encoded(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_entropy_is_in_bits_of_grey_level() -> None:
    half = np.zeros((8, 8), np.uint8)
    half[:4] = 255
    assert grey_entropy(encoded(np.zeros((8, 8), np.uint8))) == 0.0
    assert grey_entropy(encoded(half)) == 1.0
    assert grey_entropy(encoded(np.arange(256, dtype=np.uint8).reshape(16, 16))) == 8.0


@pytest.mark.parametrize("content", [b"", b"no image", encoded(np.zeros((40, 40), np.uint8))[:50]])
def test_bytes_that_are_no_image_are_named_and_do_not_crash(content: bytes) -> None:
    facts = replace(SOUND, entropy=grey_entropy(content))
    assert quality_reason(facts, **LIMITS) == "image_undecodable"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({}, ""), ({"width": 23}, "image_too_small"), ({"width": 145}, "image_aspect_extreme"),
     ({"height": 24, "width": 73}, "image_aspect_extreme"), ({"entropy": 0.4}, "image_blank")],
)  # fmt: skip
def test_quality_reasons(changes: dict, reason: str) -> None:
    assert quality_reason(replace(SOUND, **changes), **LIMITS) == reason


def test_images_are_measured_in_order_and_refused_records_are_left_out(tmp_path: Path) -> None:
    content = encoded(np.arange(256, dtype=np.uint8).reshape(16, 16))
    records = [make_scan(n, image=content, perceptual_hash=f"{n:016x}") for n in range(230)]
    records[3] = replace(records[3], rejected_reason="box_outside_image")
    write_table(tmp_path, to_rows(records), record_schema())
    measured = measure_images(tmp_path)
    assert [facts.record_id for facts in measured] == [r.record_id for n, r in enumerate(records) if n != 3]
    assert {facts.entropy for facts in measured} == {8.0}
    assert [facts.perceptual_hash for facts in measured[:2]] == [0, 1]


def test_a_patient_in_two_splits_stops_with_the_patients_records_named() -> None:
    torn = [replace(SOUND, record_id="r1"), replace(SOUND, record_id="r2", split="test")]
    with pytest.raises(DataError, match=r"p: test r2; train r1") as caught:
        check_patients(torn, where="artifacts/records")
    assert "artifacts/records" in str(caught.value)
    assert "conf/sources" in str(caught.value)


def test_patients_in_one_split_each_pass_and_an_unknown_split_does_not() -> None:
    check_patients([SOUND, replace(SOUND, patient_key="q", split="test")], where="here")
    with pytest.raises(DataError, match="holdout"):
        check_patients([replace(SOUND, split="holdout")], where="here")
