"""Any damage to a file of a source of cases, series or slides is a counted rejection, never a crash."""

import re

import numpy as np
import pytest

from components.data.reading import Rejection
from tests.fakes.formats_volumes import (
    make_decathlon_source,
    make_mask_files_source,
    make_metaimage_source,
    make_seg_source,
    make_series_source,
    make_slides_source,
    write_enhanced,
)
from tests.fakes.sources import read_all

# What pydicom says of odd values on its way to us.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
SNAKE = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")
TARGETS = {
    "image": (make_decathlon_source, "imagesTr/ct_001_0000.nii.gz"),
    "label": (make_decathlon_source, "labelsTr/ct_001.nii.gz"),
    "mask": (make_mask_files_source, "s0001/segmentations/liver.nii.gz"),
    "header": (make_metaimage_source, "001.mhd"),
    "raw": (make_metaimage_source, "001.raw"),
    "packed": (make_metaimage_source, "001_segmentation.mha"),
    "slice": (make_series_source, "P-2/study/thin/1-004.dcm"),
    "seg": (make_seg_source, "P-1/seg/1-1.dcm"),
    "slide": (make_slides_source, "tumor/tumor_001.tif"),
    "areas": (make_slides_source, "annotations/tumor_001.xml"),
}


def flipped(content: bytes, seed: int) -> bytes:
    """Change a few bytes, most of them in the header."""
    draw = np.random.default_rng(seed)
    out = bytearray(content)
    for place in (*draw.integers(0, min(400, len(out)), 4), draw.integers(0, len(out))):
        out[int(place)] = int(draw.integers(0, 256))
    return bytes(out)


DAMAGES = {
    "empty": lambda content: b"",
    "one byte": lambda content: content[:1],
    "header alone": lambda content: content[: len(content) // 10],
    "half": lambda content: content[: len(content) // 2],
    "zeros": lambda content: bytes(len(content)),
    "words": lambda content: b"this is no image. " * 40,
    **{f"flips {seed}": (lambda content, seed=seed: flipped(content, seed)) for seed in range(6)},
}


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_damage_is_counted_and_the_rest_goes_on(target, tmp_path):
    maker, name = TARGETS[target]
    card = maker(tmp_path)
    whole = (tmp_path / name).read_bytes()
    for damage, change in DAMAGES.items():
        (tmp_path / name).write_bytes(change(whole))
        records, refused = read_all(tmp_path, card)
        is_harmless = damage.startswith("flips") or (target, damage) == (
            "raw",
            "zeros",
        )  # all-zero voxels are voxels
        assert refused or is_harmless, damage
        assert records or target == "seg", damage  # the other case, slice or slide goes on
        assert all(isinstance(r, Rejection) and SNAKE.fullmatch(r.reason) for r in refused)


def test_flips_in_functional_groups_do_not_escape(tmp_path):
    card = make_series_source(tmp_path)
    card = card.model_copy(update={"options": {**card.options, "files": "one.dcm", "table": None}})
    write_enhanced(tmp_path / "one.dcm")
    whole = (tmp_path / "one.dcm").read_bytes()
    for seed in range(12):
        damaged = bytearray(whole)
        for place in np.random.default_rng(seed).integers(300, len(whole) // 3, 12):
            damaged[int(place)] ^= 0x15
        (tmp_path / "one.dcm").write_bytes(bytes(damaged))
        records, refused = read_all(tmp_path, card)
        assert records or refused
