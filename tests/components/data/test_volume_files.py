"""Volume files: what is mapped and what is unpacked, orientations by hand-made example, codes."""

import nibabel
import numpy as np
import pytest

from components.data.faults import Refused
from components.data.label_canvas import LabelCanvas
from components.data.metaimage import read_metaimage
from components.data.volume_files import StoredVolume, read_stored, slabs, stand, whole_codes
from components.data.volume_records import (
    attempt,
)
from components.data.volumes import Volume
from tests.fakes.formats_volumes import write_metaimage, write_plain_nifti
from tests.fakes.sources import BODY, SPACING, lps_affine


def is_mapped(array):
    while array is not None and not isinstance(array, np.memmap):
        array = array.base
    return array is not None


def test_uncompressed_files_are_mapped_and_turned_without_a_copy(tmp_path):
    write_plain_nifti(tmp_path / "a.nii", BODY)
    write_metaimage(tmp_path / "a.mhd", BODY)
    np.save(tmp_path / "a.npy", BODY)
    for name in ("a.nii", "a.mhd", "a.npy"):
        stored = read_stored(tmp_path / name)
        assert is_mapped(stored.voxels) and np.array_equal(stored.voxels, BODY)
        assert is_mapped(stand(stored, "RAS").voxels)


def test_rescaled_files_are_unpacked_to_four_bytes_a_voxel(tmp_path):
    image = nibabel.Nifti1Image(BODY.astype(np.float64) * 0.5, lps_affine())
    image.set_data_dtype(np.int16)
    nibabel.save(image, tmp_path / "a.nii.gz")
    stored = read_stored(tmp_path / "a.nii.gz")
    assert stored.voxels.dtype == np.float32 and np.allclose(stored.voxels, BODY * 0.5, atol=0.02)


def test_slabs_cover_every_voxel_once():
    seen = np.zeros((300, 400, 90), dtype=np.uint8)
    for slab in slabs(seen):
        seen[slab] += 1
    assert (seen == 1).all() and len(list(slabs(seen))) > 1


@pytest.mark.parametrize(
    ("axes", "corner"), [("LPS", (0, 0, 0)), ("RAS", (1, 1, 0)), ("SPL", (0, 0, 0)), ("AIR", (1, 1, 1))]
)
def test_a_stated_orientation_puts_the_first_voxel_where_it_belongs(axes, corner):
    voxels = np.zeros((2, 2, 2), dtype=np.int16)
    voxels[0, 0, 0] = 1
    volume = stand(StoredVolume(voxels, np.diag([3.0, 3, 3, 1]), is_oriented=False), axes)
    assert tuple(int(place[0]) for place in np.nonzero(volume.voxels)) == corner
    assert volume.spacing_mm == pytest.approx((3, 3, 3))


def test_a_metaimage_says_where_it_lies_as_a_nifti_does(tmp_path):
    write_metaimage(tmp_path / "a.mha", BODY, compressed=True)
    found = read_metaimage(tmp_path / "a.mha")
    assert np.allclose(found.affine, lps_affine()) and found.is_oriented and np.array_equal(found.voxels, BODY)
    write_metaimage(tmp_path / "b.mha", BODY, TransformMatrix="0 1 0 1 0 0 0 0 1")
    turned = read_metaimage(tmp_path / "b.mha").affine
    assert np.allclose(turned[:3, 0], [0, -SPACING[0], 0])  # the first axis runs to the back


def test_codes_are_whole_and_as_narrow_as_they_may_be():
    assert whole_codes(np.array([0.0, 3.0004])).tolist() == [0, 3]
    assert whole_codes(np.array([0, 255])).dtype == np.uint8 and whole_codes(np.array([0, 256])).dtype == np.uint16
    assert whole_codes(np.array([0.2, 0.7]), 0.5).tolist() == [0, 1]
    for bad, reason in (
        ([0.5], "label_not_whole"),
        ([-1], "label_negative"),
        ([70000], "label_not_in_vocabulary"),
    ):
        with pytest.raises(Refused, match=reason):
            whole_codes(np.array(bad))


def test_a_pickle_is_never_opened_and_an_odd_array_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}]), allow_pickle=True)
    assert attempt(lambda: read_stored(tmp_path / "a.npy"), "a").reason == "file_unreadable"
    np.save(tmp_path / "b.npy", np.zeros(3))
    assert attempt(lambda: read_stored(tmp_path / "b.npy"), "b").reason == "volume_not_3d"
    np.save(tmp_path / "c.npy", np.zeros((0, 2, 2)))
    assert attempt(lambda: read_stored(tmp_path / "c.npy"), "c").reason in ("volume_empty", "file_unreadable")


def test_the_smaller_mask_stays_on_top_in_either_order():
    large, small = np.ones((4, 4, 1), dtype=np.uint8), np.zeros((4, 4, 1), dtype=np.uint8)
    small[1, 1] = 1
    for order in (("large", "small"), ("small", "large")):
        canvas = LabelCanvas.empty()
        for name in order:
            canvas = canvas.with_mask(Volume({"large": large, "small": small}[name].copy(), np.eye(4)), name)
        named = canvas.codes()
        assert named is not None and named.names[int(named.volume.voxels[1, 1, 0])] == "small"
        assert named.names[int(named.volume.voxels[0, 0, 0])] == "large"
    assert LabelCanvas.empty().codes() is None


def test_a_header_that_claims_more_than_fits_is_refused_before_memory_is_asked_for(tmp_path):
    import gzip

    import nrrd

    image = nibabel.Nifti1Image(BODY, lps_affine())
    image.header["dim"][1:4] = 30000
    with gzip.open(tmp_path / "a.nii.gz", "wb") as handle:
        handle.write(image.header.binaryblock + bytes(4))
    size = "30000 30000 30000"
    write_metaimage(tmp_path / "b.mha", BODY, compressed=True, DimSize=size)
    nrrd.write(str(tmp_path / "c.nrrd"), BODY)
    content = (tmp_path / "c.nrrd").read_bytes()
    (tmp_path / "c.nrrd").write_bytes(content.replace(b"sizes: 24 20 12", f"sizes: {size}".encode()))
    for name in ("a.nii.gz", "b.mha", "c.nrrd"):
        assert attempt(lambda name=name: read_stored(tmp_path / name), name).reason == "volume_too_large"
