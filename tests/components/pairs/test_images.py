from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.errors import DataError
from components.pairs.images import ImageFacts, Measured, image_table, measure, quality_reasons
from components.pairs.measure import measure_images
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


def entropy(content: bytes) -> float:
    return measure(content, with_base=False).entropy


def reason(facts: ImageFacts) -> str:
    return quality_reasons(image_table([facts]), **LIMITS)[0]


def test_entropy_is_in_bits_of_grey_level() -> None:
    half = np.zeros((8, 8), np.uint8)
    half[:4] = 255
    assert entropy(encoded(np.zeros((8, 8), np.uint8))) == 0.0
    assert entropy(encoded(half)) == 1.0
    assert entropy(encoded(np.arange(256, dtype=np.uint8).reshape(16, 16))) == 8.0


@pytest.mark.parametrize("content", [b"", b"no image", encoded(np.zeros((40, 40), np.uint8))[:50]])
def test_bytes_that_are_no_image_are_named_and_do_not_crash(content: bytes) -> None:
    assert reason(replace(SOUND, entropy=entropy(content))) == "image_undecodable"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({}, ""), ({"width": 23}, "image_too_small"), ({"width": 145}, "image_aspect_extreme"),
     ({"height": 24, "width": 73}, "image_aspect_extreme"), ({"entropy": 0.4}, "image_blank"),
     ({"width": 2, "entropy": -1.0}, "image_undecodable")],
)  # fmt: skip
def test_quality_reasons(changes: dict, expected: str) -> None:
    assert reason(replace(SOUND, **changes)) == expected


def test_images_are_measured_in_order_and_refused_records_are_left_out(tmp_path: Path) -> None:
    content = encoded(np.arange(256, dtype=np.uint8).reshape(16, 16))
    records = [make_scan(n, image=content, perceptual_hash=f"{n:016x}") for n in range(230)]
    records[3] = replace(records[3], rejected_reason="box_outside_image")
    records[4] = replace(records[4], split="test")
    write_table(tmp_path, to_rows(records), record_schema())
    measured = measure_images(tmp_path)
    assert measured["record_id"].to_pylist() == [r.record_id for n, r in enumerate(records) if n != 3]
    assert set(measured["entropy"].to_pylist()) == {8.0}
    assert measured["perceptual_hash"].to_pylist()[:2] == [0, 1]
    assert [len(base) for base in measured["base"].to_pylist()[:5]] == [0, 0, 0, 48 * 48, 0]


def test_a_remembered_image_is_not_decoded_and_one_that_lacks_its_base_is(tmp_path: Path) -> None:
    records = [make_scan(n, image=b"torn", split="test" if n else "train") for n in range(2)]
    write_table(tmp_path, to_rows(records), record_schema())
    remembered = Measured(3.5, b"t" * 256, b"")
    assert measure_images(tmp_path, recall=lambda _: remembered)["entropy"].to_pylist() == [3.5, -1.0]


def test_a_patient_in_two_splits_stops_with_the_patients_records_named() -> None:
    torn = [replace(SOUND, record_id="r1"), replace(SOUND, record_id="r2", split="test")]
    with pytest.raises(DataError, match=r"p: test r2; train r1") as caught:
        check_patients(image_table(torn), where="artifacts/records")
    assert "artifacts/records" in str(caught.value)
    assert "conf/sources" in str(caught.value)


def test_patients_in_one_split_each_pass_and_an_unknown_split_does_not() -> None:
    check_patients(image_table([SOUND, replace(SOUND, patient_key="q", split="test")]), where="here")
    with pytest.raises(DataError, match="holdout"):
        check_patients(image_table([replace(SOUND, split="holdout")]), where="here")
