"""Templates of paths, labels in paths, and XML that may declare nothing."""

import pytest

from components.data.faults import Refused
from components.data.markup import parse_xml
from components.data.path_classes import PathClasses, labels_of_path
from components.data.paths import (
    check_stays,
    check_template,
    fields_of_path,
    fill,
    find_all,
    is_named,
    locate,
    locate_one,
)
from components.errors import CardInvalid, DatasetMissing
from tests.fakes.formats_labels import label_card, save


def reason(call, *arguments):
    with pytest.raises(Refused) as caught:
        call(*arguments)
    return caught.value.reason


def test_a_path_fills_a_template():
    fields = fields_of_path("train/images/case_7.tar.png", r"case_(?P<case>\d+)")
    assert fields == {
        "folder": "train/images", "parent": "train", "stem": "case_7.tar", "name": "case_7.tar.png",
        "suffix": ".png", "case": "7",
    }  # fmt: skip
    assert fill("{parent}/masks/{case}{suffix}", fields) == "train/masks/7.png"
    assert reason(fields_of_path, "a.png", r"case_(?P<case>\d+)") == "path_not_in_pattern"
    with pytest.raises(CardInvalid, match="names horn; known are stem"):
        check_template("{horn}", ["stem"], where="a card")


def test_a_name_in_braces_reaches_nothing_but_its_value():
    assert fill("{a.__class__}", {"a.__class__": "x"}) == "x"
    with pytest.raises(KeyError):
        fill("{a.__class__}", {"a": "x"})


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "..\\x", "C:\\x", "C:/x", "a\0b"])
def test_a_path_from_the_data_may_not_escape(path, tmp_path):
    assert reason(check_stays, path) == "path_escapes_source"
    assert reason(locate, tmp_path, "{x}", {"x": path}) == "path_escapes_source"
    assert reason(locate, tmp_path, "{x}*", {"x": path}) == "path_escapes_source"


def test_a_link_may_not_lead_out(tmp_path):
    (tmp_path / "secret.txt").write_text("x")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.txt").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "source" / "loop").symlink_to(tmp_path / "source" / "loop")
    assert reason(locate, tmp_path / "source", "{x}", {"x": "a.txt"}) == "path_escapes_source"
    assert reason(locate, tmp_path / "source", "{x}/b", {"x": "loop"}) == "link_cyclic"


def test_files_are_found_by_template_with_and_without_stars(tmp_path):
    for name in ("m/a_1.png", "m/a_2.png", "m/[b]_1.png"):
        save(tmp_path / name)
    assert [path.name for path in locate(tmp_path, "m/{stem}_*.png", {"stem": "a"})] == ["a_1.png", "a_2.png"]
    assert locate_one(tmp_path, "m/{stem}_*.png", {"stem": "[b]"}).name == "[b]_1.png"
    assert reason(locate_one, tmp_path, "m/{stem}_*.png", {"stem": "a"}) == "file_ambiguous"
    assert reason(locate_one, tmp_path, "m/{stem}.png", {"stem": "a"}) == "file_missing"


def test_several_globs_give_each_file_once_without_the_skipped(tmp_path):
    for name in ("a/x.png", "a/y.png", "b/x.png"):
        save(tmp_path / name)
    found = find_all(tmp_path, ["a/*.png", "**/x.png"], skip=["b/*"])
    assert [name for _, name in found] == ["a/x.png", "a/y.png"]
    assert is_named("a/b/c.png", ["a/*"]) and not is_named("b/a.png", ["a/*"])
    with pytest.raises(DatasetMissing):
        find_all(tmp_path, ["c/*.png"])


@pytest.mark.parametrize(
    ("path", "options", "expected"),
    [
        ("train/polyp/x.png", {"class_depth": -1}, (("polyp",), ())),
        ("polyp/deep/x.png", {"class_depth": 0}, (("polyp",), ())),
        ("x_cyst.png", {"class_pattern": r"_(\w+)\."}, (("cyst",), ())),
        ("polyp_cyst/x.png", {"class_depth": 0, "separator": "_"}, (("cyst", "polyp"), ())),
        ("NORMAL/x.png", {"class_depth": 0, "rules_out": {"NORMAL": ["polyp"]}}, (("normal",), ("polyp",))),
        ("cyst/x.png", {"class_depth": 0, "exclusive": True}, (("cyst",), ("normal", "polyp"))),
        ("scar/x.png", {"class_depth": 0, "exclusive": True}, ((), ())),
        ("x.png", {}, ((), ())),
    ],
)
def test_a_path_states_its_class(path, options, expected):
    assert labels_of_path(path, label_card("folder_classes", {}), PathClasses(**options)) == expected


@pytest.mark.parametrize(
    ("path", "options", "expected"),
    [
        ("x.png", {"class_depth": -1}, "class_not_in_path"),
        ("a/x.png", {"class_depth": 1}, "class_not_in_path"),
        ("a/x.png", {"class_pattern": r"_(\w+)\."}, "class_not_in_path"),
        ("horn/x.png", {"class_depth": 0}, "label_not_in_vocabulary"),
    ],
)
def test_a_path_without_a_known_class_is_refused(path, options, expected):
    assert reason(labels_of_path, path, label_card("folder_classes", {}), PathClasses(**options)) == expected


def test_a_class_pattern_has_one_group():
    with pytest.raises(ValueError, match="exactly one group"):
        PathClasses(class_pattern="a(b)(c)")


def test_xml_is_read_and_its_faults_are_named():
    assert parse_xml(b"<a><b>x &amp; y</b></a>").findtext("b") == "x & y"
    assert reason(parse_xml, b"  ") == "file_empty"
    assert reason(parse_xml, b"<a><b></a>") == "xml_malformed"
    assert reason(parse_xml, b"<a>&horn;</a>") == "xml_malformed"
    assert reason(parse_xml, b"\xff\xfe\x00garbage") == "xml_malformed"


@pytest.mark.parametrize(
    "declared",
    [
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;">]>',
        '<!DOCTYPE a SYSTEM "http://example.org/a.dtd">',
    ],
)
def test_xml_may_declare_nothing(declared):
    assert reason(parse_xml, f"<?xml version='1.0'?>{declared}<a>&x;</a>".encode()) == "xml_entities_refused"
