"""What readers of volumes share: files one by one, what fails is named, labels become regions."""

import struct

import numpy as np
import pytest

from components.data.faults import Refused
from components.data.reading import Draft, ReadContext, Rejection
from components.data.slices import LabelledVolume, SliceOptions
from components.data.volume_records import (
    MAX_BYTES,
    NamedCodes,
    attempt,
    check_unpacked,
    labelled_drafts,
    read_labelled,
    with_labels,
)
from components.data.volumes import Volume
from tests.fakes.sources import make_card

OPTIONS = SliceOptions.model_validate({"planes": {"axial": 1}, "windows": ["full range"], "min_content": 0})
CARD = make_card("fake", "nifti_labels", {}, label_map={"GTV": "lung tumour", "L": "left lung", "R": "right lung"})
CONTEXT = ReadContext(max_side=64, secret=b"a key of the tests")
VOXELS = np.arange(16 * 12 * 2, dtype=np.int16).reshape(16, 12, 2)


def codes(**places):
    """Label codes from 1 on, each filling columns of the first slice: {name: (first, last)}."""
    out = np.zeros(VOXELS.shape, dtype=np.uint8)
    for code, (first, last) in enumerate(places.values(), start=1):
        out[first:last, 2:8, 0] = code
    return NamedCodes(Volume(out, np.diag([-1.0, -1, 1, 1])), dict(enumerate(places, start=1)))


def drafts_of(named):
    base = LabelledVolume(path="a.nii", volume=Volume(VOXELS, np.diag([-1.0, -1, 1, 1])), vocabulary=CARD.labels)
    return list(labelled_drafts(base, named, CARD, OPTIONS, max_side=64))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Refused("mask_size_differs"), "mask_size_differs"), (FileNotFoundError(), "file_missing"),
        (EOFError(), "file_truncated"), (struct.error("x"), "file_unreadable"), (IndexError(), "file_unreadable"),
    ],
)  # fmt: skip
def test_what_fails_is_named_and_anything_else_is_a_fault_of_ours(error, reason):
    def fail(raised=error):
        raise raised

    assert attempt(fail, "a.nii") == Rejection("a.nii", reason)
    assert attempt(lambda: 7, "a.nii") == 7
    with pytest.raises(AssertionError):
        attempt(lambda: fail(AssertionError()), "a.nii")


def test_a_header_that_claims_too_much_is_refused_before_it_is_unpacked():
    check_unpacked(MAX_BYTES / 4, 4)
    with pytest.raises(Refused, match="volume_too_large"):
        check_unpacked(MAX_BYTES / 4 + 1, 4)


def test_labels_become_regions_and_unknown_ones_are_named():
    unknown, first, second = drafts_of(codes(GTV=(3, 7), horn=(9, 12)))
    assert unknown == Rejection("a.nii#horn", "label_not_in_vocabulary")
    assert [region.label for region in first.regions] == ["lung tumour"] and second.regions == ()
    assert first.regions[0].box == pytest.approx((3 / 16, 2 / 12, 7 / 16, 8 / 12))


def test_left_and_right_the_wrong_way_round_refuse_the_volume():
    # LPS: the first axis runs to the patient's left.
    assert drafts_of(codes(L=(1, 5), R=(9, 14))) == [Rejection("a.nii", "side_contradicts_orientation")]
    assert all(isinstance(draft, Draft) for draft in drafts_of(codes(R=(1, 5), L=(9, 14))))


def test_the_same_is_said_of_every_slice_and_rejections_pass():
    drafts = [Draft("a", VOXELS[:, :, 0]), Rejection("b", "file_missing")]
    said = list(with_labels(iter(drafts), labels=("cyst",), modality="MRI"))
    assert said[0].labels == ("cyst",) and said[0].modality == "MRI" and said[1] is drafts[1]


def test_every_file_is_loaded_in_name_order_and_a_bad_one_is_counted(tmp_path):
    for name in ("b.nii", "a.nii", "c.txt"):
        (tmp_path / name).write_bytes(b"")
    seen = []

    def load(path):
        seen.append(path.name)
        if path.name == "a.nii":
            raise Refused("mask_size_differs")
        return Volume(VOXELS, np.diag([-1.0, -1, 1, 1])), codes(GTV=(3, 7))

    bad, *slices = read_labelled(tmp_path, "*.nii", CARD, CONTEXT, options=OPTIONS, load=load)
    assert seen == ["a.nii", "b.nii"] and bad == Rejection("a.nii", "mask_size_differs")
    assert [record.slice_index for record in slices] == [0, 1]
    assert slices[0].regions_complete and set(slices[0].region_vocabulary) == set(CARD.labels)
