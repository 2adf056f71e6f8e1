"""Objects drawn over DICOM series find the series they mean; what they cannot find is named."""

from components.data.dicom_references import SeriesFiles, match_references
from components.data.dicom_volumes import FileKey
from components.data.faults import Refused
from components.data.reading import Rejection

SEG = "1.2.840.10008.5.1.4.1.1.66.4"


def image(file, series):
    return FileKey(file, series, instance=file, kind="1.2.3", is_image=True)


def drawn(file, kind=SEG):
    return FileKey(file, "own", instance=file, kind=kind, is_image=False)


def match(keys, meant):
    return match_references(keys, (SEG,), meant.__getitem__)


def test_an_object_joins_its_series_wherever_both_lie():
    keys = [
        drawn("z/seg.dcm"),
        image("b/2.dcm", "B"),
        image("a/1.dcm", "A"),
        image("b/1.dcm", "B"),
        drawn("a/seg.dcm"),
    ]
    found = match(keys, {"z/seg.dcm": "B", "a/seg.dcm": "B"})
    assert found.refused == () and found.series == (
        SeriesFiles("series/00", ("a/1.dcm",), ()),
        SeriesFiles("series/00", ("b/1.dcm", "b/2.dcm"), ("a/seg.dcm", "z/seg.dcm")),
    )
    assert [series.folder for series in found.series] == ["a", "b"]


def test_the_series_of_one_folder_are_numbered_and_the_root_is_a_folder():
    keys = [image("2.dcm", "late"), image("1.dcm", "early"), image("3.dcm", "early"), image("x/1.dcm", "other")]
    found = match(keys, {})
    assert [(s.folder, s.part, s.files) for s in found.series] == [
        (".", "series/00", ("1.dcm", "3.dcm")), (".", "series/01", ("2.dcm",)), ("x", "series/00", ("x/1.dcm",)),
    ]  # fmt: skip


def test_objects_of_another_kind_are_nobodys():
    found = match([image("1.dcm", "A"), drawn("plan.dcm", kind="1.2.840.10008.5.1.4.1.1.481.5")], {})
    assert found.refused == () and found.series == (SeriesFiles("series/00", ("1.dcm",), ()),)


def test_what_is_refused_is_told_files_first_then_headers_then_absent_series():
    def series_of(file):
        if file == "silent.dcm":
            raise Refused("series_missing")
        if file == "odd.dcm":
            raise TypeError("a header of another shape")
        return "nowhere"

    keys = [drawn("lost.dcm"), drawn("silent.dcm"), Rejection("bad.dcm", "file_truncated"), drawn("odd.dcm")]
    found = match_references(keys, (SEG,), series_of)
    assert found.series == () and [(one.where, one.reason) for one in found.refused] == [
        ("bad.dcm", "file_truncated"), ("silent.dcm", "series_missing"), ("odd.dcm", "file_unreadable"),
        ("lost.dcm", "series_missing"),
    ]  # fmt: skip
