"""MedMNIST: archives read member by member, volumes by slices, and archives that do not fit."""

import zipfile

import numpy as np
import pytest

from components.data.image import decode
from tests.fakes.formats_labels import make_medmnist, shade
from tests.fakes.sources import read_all


def changed(card, **options):
    return card.model_copy(update={"options": {**card.options, **options}})


def reasons(refused):
    return [(r.where, r.reason) for r in refused]


def test_the_golden_records(tmp_path):
    records, refused = read_all(tmp_path, make_medmnist(tmp_path))
    assert not refused and [(r.split, r.labels, r.absent_labels) for r in records] == [
        (split, (one,), (other,))
        for split in ("train", "validation", "test")
        for one, other in (("normal", "polyp"), ("polyp", "normal"))
    ]
    assert len({r.record_id for r in records}) == len({r.patient_key for r in records}) == 6
    assert np.array_equal(decode(records[1].image)[..., 0], shade(1)[:28, :28])
    assert {r.source_path for r in records} == {"fake_medmnist/fakemnist.npz"}


def test_a_column_a_label(tmp_path):
    labels = np.array([[0, 1], [0, 0]], dtype=np.int64)
    card = make_medmnist(tmp_path, train_labels=labels)
    records, _ = read_all(tmp_path, changed(card, kind="any of", splits={"train": "train"}))
    assert [(r.labels, r.absent_labels) for r in records] == [(("polyp",), ("normal",)), ((), ("normal", "polyp"))]


def test_colour_and_every_second_picture(tmp_path):
    pictures = np.stack([np.stack([shade(n)[:28, :28]] * 3, axis=2) for n in range(2)])
    card = make_medmnist(tmp_path, train_images=pictures)
    records, _ = read_all(tmp_path, changed(card, every=2, splits={"train": "train"}, exclusive=False))
    assert [(r.width, r.height, r.labels, r.absent_labels) for r in records] == [(28, 28, ("normal",), ())]


def test_a_volume_is_shown_by_its_chosen_slices(tmp_path):
    volume = np.zeros((2, 10, 12, 14), dtype=np.uint8)
    volume[:, 5] = 200
    card = make_medmnist(tmp_path, train_images=volume)
    options = {"splits": {"train": "train"}, "plane": "axial"}
    records, _ = read_all(tmp_path, changed(card, **options))
    assert [(r.slice_index, r.plane, r.width, r.height) for r in records] == [(5, "axial", 14, 12)] * 2
    assert decode(records[0].image).min() == 200
    records, _ = read_all(tmp_path, changed(card, **options, slices=[0, 0.5, 1], slice_axis=2))
    assert [r.slice_index for r in records] == [0, 7, 13] * 2 and len({r.patient_key for r in records}) == 2


def test_a_class_without_a_name_is_refused_and_the_rest_stays(tmp_path):
    card = make_medmnist(tmp_path, val_labels=np.array([[1], [7]], dtype=np.uint8))
    records, refused = read_all(tmp_path, card)
    assert len(records) == 5 and reasons(refused) == [("fakemnist.npz#val/000001", "class_not_named")]
    wide = make_medmnist(tmp_path / "wide", train_labels=np.array([[1, 0], [0, 2]], dtype=np.uint8))
    refused = read_all(tmp_path / "wide", changed(wide, kind="any of", splits={"train": "train"}))[1]
    assert [reason for _, reason in reasons(refused)] == ["class_not_named"]


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"train_labels": np.array([[{"a": 1}], [2]], dtype=object)}, "array_not_plain"),
        ({"train_images": np.zeros((2, 28, 28), dtype=np.float32)}, "array_not_plain"),
        ({"train_images": np.asfortranarray(np.zeros((2, 28, 27), dtype=np.uint8))}, "array_not_plain"),
        ({"train_images": np.zeros((3, 28, 28), dtype=np.uint8)}, "labels_do_not_fit"),
        ({"train_labels": np.zeros((2, 1, 1), dtype=np.uint8)}, "labels_do_not_fit"),
    ],
)
def test_arrays_that_do_not_fit_refuse_the_archive(arrays, reason, tmp_path):
    records, refused = read_all(tmp_path, make_medmnist(tmp_path, **arrays))
    assert not records and reasons(refused) == [("fakemnist.npz", reason)]


def test_bad_archives_are_refused(tmp_path):
    card = make_medmnist(tmp_path)
    whole = (tmp_path / "fakemnist.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b.npz").write_bytes(b"")
    np.savez(tmp_path / "c.npz", train_images=np.zeros((1, 8, 8), np.uint8))
    with zipfile.ZipFile(tmp_path / "fakemnist.npz") as full, zipfile.ZipFile(tmp_path / "d.npz", "w") as cut:
        for name in full.namelist():
            content = full.read(name)
            cut.writestr(name, content[:-9] if name == "train_images.npy" else content)
    records, refused = read_all(tmp_path, card)
    assert len(records) == 7 and reasons(refused) == [
        ("a.npz", "file_unreadable"), ("b.npz", "file_unreadable"), ("c.npz", "array_missing"),
        ("d.npz", "file_truncated"),
    ]  # fmt: skip


def test_a_header_that_promises_too_much_is_not_believed(tmp_path):
    card = make_medmnist(tmp_path)
    with zipfile.ZipFile(tmp_path / "fakemnist.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, shape in (("train_labels", (2, 1)), ("train_images", (2, 1_000_000, 1_000_000))):
            with archive.open(f"{name}.npy", "w") as stream:
                header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(stream, header)
                stream.write(b"\0\1")
    assert reasons(read_all(tmp_path, card)[1]) == [("fakemnist.npz", "image_too_large")]
