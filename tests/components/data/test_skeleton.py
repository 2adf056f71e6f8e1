"""A folder's look becomes a guess; the skeleton it gives is no card until somebody filled it in."""

import json

import numpy as np
import pytest

from components.data.card import load_card
from components.data.catalog import reader_names
from components.data.folder_look import look_at
from components.data.guess_scans import pair_templates
from components.data.skeleton import write_skeleton
from components.errors import CardInvalid, DataError, DatasetMissing, DuplicateDataset
from tests.fakes.formats_labels import (
    make_coco,
    make_folders,
    make_masks,
    make_one_label_table,
    make_voc,
    make_yolo,
)
from tests.fakes.sources import make_card, make_nifti_source, read_all, write_card, write_dicom, write_nifti

FILLED = {
    "title": "A fake", "citation": "nobody", "url": "https://example.org", "revision": "'1'", "obtain": "make it",
    "licence": "CC0", "modality": "CT", "department": "General Surgery", "task": "Bone", "body_part": "hand",
}  # fmt: skip


@pytest.mark.parametrize(
    ("maker", "reader", "labels"),
    [
        (make_folders, "folder_classes", None),
        (make_one_label_table, "label_table", None),
        (make_voc, "voc_xml", ("polyp",)),
        (make_coco, "coco", ("polyp", "cyst", "never used")),
        (make_yolo, "yolo", ("polyp", "cyst")),
        (make_masks, "mask_images", ()),
        (make_nifti_source, "nifti_cases", ("3", "5")),
    ],
)
def test_the_reader_is_guessed_from_the_files(maker, reader, labels, tmp_path):
    maker(tmp_path)
    guess = look_at(tmp_path)
    assert guess.reader == reader
    assert labels is None or guess.labels == labels


def test_rows_of_text_are_told_by_their_columns(tmp_path):
    for number, (row, reader) in enumerate((
        ({"conversations": []}, "conversations"),
        ({"question": "?", "answer": "!", "img": "a.png"}, "vqa"),
        ({"caption": "a", "img": "a.png"}, "captions"),
    )):  # fmt: skip
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "rows.json").write_text(json.dumps([row]))
        assert look_at(folder).reader == reader


def test_dicom_is_told_by_its_modality(tmp_path):
    write_dicom(tmp_path / "a" / "1.dcm", np.zeros((4, 4), dtype=np.uint16), Modality="CT")
    guess = look_at(tmp_path)
    assert (guess.reader, guess.patient) == ("dicom_series", {"rule": "dicom"})
    assert "CT" in guess.because


@pytest.mark.parametrize(
    ("image", "labels", "templates"),
    [
        ("imagesTr/a_01.nii.gz", ["labelsTr/a_01.nii.gz"], ("imagesTr/{case}.nii.gz", "labelsTr/{case}.nii.gz")),
        ("im/a_01_0000.nii.gz", ["seg/a_01.nii.gz"], ("im/{case}_0000.nii.gz", "seg/{case}.nii.gz")),
        ("c1/ct.nii.gz", ["c1/label.nii.gz"], ("{case}/ct.nii.gz", "{case}/label.nii.gz")),
        ("p1/p1_t1.nii", ["p1/p1_seg.nii"], ("{case}/{case}_t1.nii", "{case}/{case}_seg.nii")),
        ("alone.mha", [], ("{case}.mha", "")),
    ],
)
def test_an_image_and_its_label_file_are_paired_by_what_they_share(image, labels, templates):
    assert pair_templates(image, labels) == (*templates, *(labels or [""]))


def test_every_reader_that_may_be_guessed_is_there():
    guessed = {
        "dicom_rtstruct", "dicom_seg", "dicom_series", "nifti_cases", "hf_parquet", "medmnist", "slide_tiles",
        "coco", "conversations", "vqa", "captions", "voc_xml", "yolo", "label_table", "mask_images",
        "folder_classes",
    }  # fmt: skip
    assert guessed <= set(reader_names())


def test_what_nobody_knows_is_refused_by_its_endings(tmp_path):
    with pytest.raises(DatasetMissing, match="no files to look at"):
        look_at(tmp_path)
    (tmp_path / "brain.eeg").write_text("")
    with pytest.raises(DataError, match=r"1 x \.eeg"):
        look_at(tmp_path)


def test_a_skeleton_is_no_card_until_it_is_filled_in(tmp_path):
    source, cards = tmp_path / "Some Set-1", tmp_path / "cards"
    make_nifti_source(source)
    path = write_skeleton(source, cards)
    assert path == cards / "some_set_1.yaml"
    assert "FILL IN" in path.read_text()
    with pytest.raises(CardInvalid, match="modality") as caught:
        load_card(path)
    assert all(field in str(caught.value) for field in ("licence", "label_map", "department", "citation"))


def test_a_filled_skeleton_reads_its_folder(tmp_path):
    source, cards = tmp_path / "some_set", tmp_path / "cards"
    for case in ("a_01", "a_02"):
        volume = np.full((12, 10, 6), 40, dtype=np.int16)
        write_nifti(source / "imagesTr" / f"{case}.nii.gz", volume)
        write_nifti(source / "labelsTr" / f"{case}.nii.gz", (np.indices(volume.shape)[0] < 4).astype(np.uint8))
    path = write_skeleton(source, cards)
    text = path.read_text().replace('"1": # FILL IN: the canonical term', '"1": liver')
    for field, value in FILLED.items():
        text = text.replace(f"\n{field}: #", f"\n{field}: {value} #")
    path.write_text(text)
    card = load_card(path)
    records, refused = read_all(source, card)
    assert refused == []
    assert {region.label for record in records for region in record.regions} == {"liver"}


def test_a_name_that_is_taken_is_not_written_over(tmp_path):
    make_folders(tmp_path / "chest_ct")
    write_card(tmp_path / "cards" / "ct", make_card("chest_ct", "plain_volumes", {}))
    with pytest.raises(DuplicateDataset, match="there is a card named 'chest_ct'"):
        write_skeleton(tmp_path / "chest_ct", tmp_path / "cards")
