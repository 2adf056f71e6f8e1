"""Files of annotations that name pictures: each picture once, the skipped without a word, the others counted."""

import pytest

from components.data.annotation_files import Claims, read_annotations
from components.data.faults import Refused
from components.data.reading import Rejection
from components.errors import DatasetMissing


def put(root, **files):
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def read_names(path, where, claims):
    """Read a file whose lines are names of pictures, and tell what became of each."""
    for line in path.read_text().split():
        try:
            if claims.take(line, fault="image_repeated"):
                yield Rejection(line, f"taken_by_{where}")
        except Refused as error:
            yield Rejection(where, error.reason)


def run(root, *, images=("img/*",), skip=()):
    found = read_annotations(root, ("notes/*",), images, skip=skip, read_file=read_names)
    return [(one.where, one.reason) for one in found]


def test_a_picture_belongs_to_the_first_file_that_names_it(tmp_path):
    put(tmp_path, notes__b="img/1 img/2", notes__a="img/2 img/2", img__1="", img__2="", img__3="")
    assert run(tmp_path) == [
        ("img/2", "taken_by_notes/a"), ("notes/a", "image_repeated"), ("img/1", "taken_by_notes/b"),
        ("notes/b", "image_repeated"), ("img/3", "annotation_missing"),
    ]  # fmt: skip


def test_a_skipped_picture_is_neither_taken_nor_missed(tmp_path):
    put(tmp_path, notes__a="img/1 img/1 img/2", img__1="", img__2="", img__3="")
    assert run(tmp_path, skip=("img/1", "*3")) == [("img/2", "taken_by_notes/a")]


def test_without_globs_of_pictures_none_is_missed_and_a_glob_of_nothing_stops_the_source(tmp_path):
    put(tmp_path, notes__a="img/1", img__1="", img__2="")
    assert run(tmp_path, images=()) == [("img/1", "taken_by_notes/a")]
    with pytest.raises(DatasetMissing, match="other"):
        run(tmp_path, images=("other/*",))
    with pytest.raises(DatasetMissing, match="notes"):
        list(read_annotations(tmp_path / "img", ("notes/*",), (), skip=(), read_file=read_names))


def test_the_fault_is_the_readers_own():
    claims = Claims()
    assert claims.take("a.png", fault="annotation_repeated") and claims.take("b.png", fault="x")
    with pytest.raises(Refused) as told:
        claims.take("a.png", fault="annotation_repeated")
    assert told.value.reason == "annotation_repeated" and "a.png" in str(told.value)
