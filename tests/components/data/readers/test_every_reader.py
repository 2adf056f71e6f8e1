"""What holds for every reader: records that fit, the same each time, and bad files refused with their reason."""

import numpy as np
import pytest

from components.data.catalog import reader_names
from components.data.image import decode, difference_hash, pixel_hash
from components.data.reading import ReadContext
from components.errors import DatasetMissing
from components.records import DEPARTMENTS, MODALITIES, PLANES, SPLITS, TASKS, record_from_row, to_rows
from tests.fakes.sources import CONTEXT, MAKERS, make_everything, read_all

# The file to cut short in each fake, and what is said of it.
BROKEN = {
    "nifti_labels": ("ct.nii.gz", "file_truncated"),
    "nrrd_segments": ("ct.nrrd", "file_truncated"),
    "dicom_rtstruct": ("pat_1/IMG_003.dcm", "slices_missing"),  # the file, and the gap that it leaves
    "instance_mask": ("cells.tif", "file_unreadable"),
    "slide_tiles": ("slide.svs", "file_unreadable"),
    "captioned_images": ("eye.png", "file_truncated"),
    "image_pairs": ("Same/p1b.bmp", "file_truncated"),
    "plain_volumes": ("bold.nii.gz", "file_truncated"),
    "dicom_headers": ("still.dcm", "file_truncated"),
}
maker_of_each = pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__)


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    return {card.reader: (root / card.name, card) for card in make_everything(root)}


def test_every_reader_of_the_sample_has_a_fake(everything):
    assert set(everything) <= set(reader_names())
    assert set(everything) == set(BROKEN)


@pytest.mark.parametrize("reader", sorted(BROKEN))
def test_records_fit_their_vocabularies_and_their_pixels(reader, everything):
    root, card = everything[reader]
    records, refused = read_all(root, card)
    assert records and not refused
    assert len({record.record_id for record in records}) == len(records)
    for record in records:
        pixels = decode(record.image)
        assert pixels.shape == (record.height, record.width, 3) and max(pixels.shape) <= CONTEXT.max_side
        assert record.sha256 == pixel_hash(pixels) and record.perceptual_hash == difference_hash(pixels)
        assert record.modality in MODALITIES and record.department in DEPARTMENTS and record.task in TASKS
        assert record.plane in PLANES and record.split in SPLITS
        assert {region.label for region in record.regions} <= set(card.labels)
        assert (root.parent / record.source_path).exists() and not record.source_path.startswith("/")


@pytest.mark.parametrize("reader", sorted(BROKEN))
def test_reading_twice_gives_the_same_records(reader, everything):
    root, card = everything[reader]
    assert read_all(root, card) == read_all(root, card)


@pytest.mark.parametrize("reader", sorted(BROKEN))
def test_records_survive_being_rows(reader, everything):
    records, _ = read_all(*everything[reader])
    assert [record_from_row(row) for row in to_rows(records)] == records


@maker_of_each
def test_a_file_cut_short_is_a_counted_rejection(maker, tmp_path):
    card = maker(tmp_path)
    name, reason = BROKEN[card.reader]
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) * 2 // 3])
    _, refused = read_all(tmp_path, card)
    assert refused and {rejection.reason for rejection in refused} <= {reason, "file_unreadable", "file_truncated"}


@maker_of_each
def test_a_file_that_is_something_else_is_a_counted_rejection(maker, tmp_path):
    card = maker(tmp_path)
    name, _ = BROKEN[card.reader]
    (tmp_path / name).write_bytes(b"this is not an image of any kind" * 20)
    _, refused = read_all(tmp_path, card)
    follows = {"slices_missing"} if card.reader == "dicom_rtstruct" else set()  # the gap that the file leaves
    assert refused and {r.reason for r in refused} <= {"file_unreadable", "file_truncated"} | follows


@maker_of_each
def test_an_empty_source_is_missing(maker, tmp_path):
    card = maker(tmp_path / "full")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetMissing, match=r"no file matches|absent"):
        read_all(tmp_path / "empty", card)


def test_the_longest_side_is_the_settings(everything):
    small = ReadContext(max_side=10, secret=b"k")
    for root, card in everything.values():
        assert all(max(r.width, r.height) <= 10 for r in read_all(root, card, small)[0])


def test_grey_pictures_are_stored_grey(everything):
    records, _ = read_all(*everything["nifti_labels"])
    assert all(np.ptp(decode(r.image).astype(int), axis=2).max() == 0 for r in records)
