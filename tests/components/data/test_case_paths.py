"""Path templates: what they fit, what they capture, and what may not be written."""

import pytest

from components.data.case_paths import compile_template, fill, list_files, names_of
from components.errors import CardInvalid


@pytest.mark.parametrize(
    ("template", "path", "names"),
    [
        ("imagesTr/{case}_0000.nii.gz", "imagesTr/liver_1_0000.nii.gz", {"case": "liver_1"}),
        ("imagesTr/{case}_0000.nii.gz", "imagesTr/sub/liver_1_0000.nii.gz", None),
        ("{case}/{case}_t1.nii", "B1/B1_t1.nii", {"case": "B1"}),
        ("{case}/{case}_t1.nii", "B1/B2_t1.nii", None),
        ("**/{case:[0-9]+}.mha", "a/b/12.mha", {"case": "12"}),
        ("**/{case:[0-9]+}.mha", "12.mha", {"case": "12"}),
        ("**/{case:[0-9]+}.mha", "a/x12.mha", None),
        ("a/*/i?.dcm", "a/b/i1.dcm", {}),
        ("a/*/i?.dcm", "a/b/c/i1.dcm", None),
        ("a.b/{x}", "aXb/c", None),
    ],
)
def test_what_a_template_fits(template, path, names):
    found = compile_template(template, {}).fullmatch(path)
    assert (found.groupdict() if found else None) == names


def test_known_names_are_taken_literally(tmp_path):
    for name in ("a+b_seg.nii", "aab_seg.nii", "other.nii"):
        (tmp_path / name).write_bytes(b"")
    tree = list_files(tmp_path)
    assert [file for file, _ in tree.match("{folder}/{case}_seg.nii", {"case": "a+b", "folder": ""})] == [
        "a+b_seg.nii"
    ]
    assert tree.files == ("a+b_seg.nii", "aab_seg.nii", "other.nii")


def test_a_folder_that_is_known_is_looked_into_alone(tmp_path):
    for folder in ("s1", "s2"):
        (tmp_path / folder / "seg").mkdir(parents=True)
        (tmp_path / folder / "seg" / "liver.nii").write_bytes(b"")
    found = list(list_files(tmp_path).match("{case}/seg/{label}.nii", {"case": "s2"}))
    assert found == [("s2/seg/liver.nii", {"case": "s2", "label": "liver"})]


def test_a_file_tells_its_folder_and_stem():
    assert names_of("a/b/ct.nii.gz", {"case": "b"}) == {"folder": "a/b", "stem": "ct", "case": "b"}
    assert names_of("ct.nii", {})["folder"] == ""


def test_words_are_filled_and_an_unknown_name_is_the_cards_mistake():
    assert fill("apical {view} view", {"view": "2CH"}) == "apical 2CH view"
    with pytest.raises(CardInvalid, match="'grade' is captured by no path"):
        fill("{grade}", {"case": "1"})


@pytest.mark.parametrize("template", ["/etc/{x}", "a/../{x}", "{x", "{x:[}", "a}b{x}{"])
def test_a_template_that_is_none_or_leaves_its_source_is_refused(template):
    with pytest.raises(CardInvalid):
        compile_template(template, {})


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("{case:p[0-9]/s[0-9]}.nii", ["p1/s1.nii", "p1/s2.nii"]),
        ("p1/{case:s(?:1|2)}.nii", ["p1/s1.nii", "p1/s2.nii"]),
        ("{patient:p(?:1|1/s9)}/s1.nii", ["p1/s1.nii"]),
    ],
)  # fmt: skip
def test_a_restriction_may_hold_a_slash(template, found, tmp_path):
    for name in ("p1/s1.nii", "p1/s2.nii", "p1/s1.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [file for file, _ in list_files(tmp_path).match(template)] == found


def test_a_known_name_keeps_its_folder_whatever_its_restriction(tmp_path):
    (tmp_path / "p1").mkdir()
    (tmp_path / "p1" / "mask.nii").touch()
    found = list_files(tmp_path).match("{patient:p[0-9]/?}/mask.nii", {"patient": "p1"})
    assert [file for file, _ in found] == ["p1/mask.nii"]
