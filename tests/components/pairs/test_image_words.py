from __future__ import annotations

from components.pairs.image_words import image_words
from components.records import NOT_STATED
from tests.fakes.scans import make_scan


def test_the_words_are_what_is_stated_of_the_whole_image_in_a_fixed_order() -> None:
    scan = make_scan(
        modality="MR", plane="axial", body_part="brain", labels=("glioma",),
        facts=(("annotation", "class mask"), ("sequence", "T1-weighted"), ("frames", "10")),
    )  # fmt: skip
    assert image_words(scan) == ("MR", "axial", "brain", "T1-weighted", "glioma")


def test_what_is_not_stated_gives_no_word_and_no_word_comes_twice() -> None:
    bare = make_scan(modality=NOT_STATED, plane=NOT_STATED, body_part=NOT_STATED, labels=(), facts=())
    assert image_words(bare) == ()
    slide = make_scan(modality="Pathology", plane=NOT_STATED, body_part="skin", labels=("skin",), facts=())
    assert image_words(slide) == ("histopathology", "skin")
