from __future__ import annotations

from dataclasses import asdict

from components.pairs.image_words import UNREAD, image_words
from components.records import NOT_STATED, record_from_row
from tests.fakes.scans import make_scan

FACTS = (("annotation", "class mask"), ("sequence", "T1-weighted"), ("frames", "10"))


def test_the_words_are_what_is_stated_of_the_whole_image_in_a_fixed_order() -> None:
    scan = make_scan(modality="MR", plane="axial", body_part="brain", labels=("glioma",), facts=FACTS)
    assert image_words(scan) == ("MR", "axial", "brain", "T1-weighted", "glioma")


def test_what_is_not_stated_gives_no_word_and_no_word_comes_twice() -> None:
    bare = make_scan(modality=NOT_STATED, plane=NOT_STATED, body_part=NOT_STATED, labels=(), facts=())
    assert image_words(bare) == ()
    slide = make_scan(modality="Pathology", plane=NOT_STATED, body_part="skin", labels=("skin",), facts=())
    assert image_words(slide) == ("histopathology", "skin")


def test_the_words_are_the_same_without_the_columns_that_are_left_unread() -> None:
    scan = make_scan(labels=("tumour",), absent_labels=("cyst",), text="A kidney.", facts=FACTS)
    row = {name: value for name, value in asdict(scan).items() if name not in UNREAD}
    assert set(UNREAD) <= asdict(scan).keys() and scan.regions
    assert (
        image_words(record_from_row(row))
        == image_words(scan)
        == ("CT", "axial", "abdomen", "T1-weighted", "tumour")
    )
