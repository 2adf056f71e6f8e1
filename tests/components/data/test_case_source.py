"""A source of cases: what is refused before a case is read, which files are found, what is said of each."""

import pytest

from components.data.case_source import open_cases
from components.data.case_tables import CaseRules
from components.data.faults import Refused
from components.data.reading import ReadContext, Rejection
from components.errors import DataError, DatasetMissing
from tests.fakes.sources import make_card

CONTEXT = ReadContext(max_side=64, secret=b"a key of the tests")
TABLE = {"file": "cases.csv", "key": "case", "label": "finding", "facts": {"site": "hospital"}}


def open_source(root, **rules):
    card = make_card("fake_cases", "nifti_cases", {}, label_map={"CYST": "cyst", "scar": "scar"})
    return open_cases(root, card, CaseRules.model_validate(rules), CONTEXT)


def put(root, *names, text=""):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_a_bad_row_and_a_bad_link_are_told_together_links_first(tmp_path):
    put(tmp_path, "cases.csv", text="case,finding,site\na,CYST,x\na,scar,x\nb,scar,x\n")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    source = open_source(tmp_path, table=TABLE)
    assert source.refused == (Rejection("loop", "link_cyclic"), Rejection("cases.csv#row 3", "row_repeated"))
    assert source.max_side == 64 and source.tree.files == ("cases.csv",)
    (tmp_path / "loop").unlink()
    assert open_source(tmp_path).refused == ()


def test_files_are_found_in_name_order_with_what_was_captured_and_without_the_excluded(tmp_path):
    put(tmp_path, "img/b_0.nii", "img/a_0.nii", "img/a_seg.nii", "other/c_0.nii")
    source = open_source(tmp_path)
    found = source.find("img/{case}_{kind}.nii", exclude=("*_seg.nii",))
    assert found == [
        ("img/a_0.nii", {"case": "a", "kind": "0"}), ("img/b_0.nii", {"case": "b", "kind": "0"}),
    ]  # fmt: skip


def test_a_template_that_fits_nothing_is_named_unless_it_is_optional(tmp_path):
    put(tmp_path, "a.nii")
    source = open_source(tmp_path)
    with pytest.raises(DatasetMissing, match=r"no file matches '\{case\}\.mha'"):
        source.find("{case}.mha")
    with pytest.raises(DatasetMissing):
        source.find("{case}.nii", exclude=("a.*",))
    assert source.find("{case}.mha", optional=True) == []


def test_classes_of_the_kind_come_first_and_none_twice(tmp_path):
    put(tmp_path, "cases.csv", text="case,finding,site\na,CYST,north\nb,scar,\nc,horn,x\n")
    source = open_source(tmp_path, table=TABLE, facts_from={"phase": "{phase}"})
    said = source.said_of({"case": "a", "phase": "late"}, ("scar", "cyst"))
    assert said.classes == ("scar", "cyst") and dict(said.facts) == {"phase": "late", "hospital": "north"}
    assert source.said_of({"case": "b", "phase": ""}).classes == ("scar",)
    for case, reason in (("c", "class_not_in_vocabulary"), ("d", "row_missing")):
        with pytest.raises(Refused) as told:
            source.said_of({"case": case, "phase": ""})
        assert told.value.reason == reason


def test_a_table_that_is_absent_or_lacks_a_column_stops_the_source(tmp_path):
    with pytest.raises(DatasetMissing, match="table of cases is absent"):
        open_source(tmp_path, table=TABLE)
    put(tmp_path, "cases.csv", text="case,finding\na,CYST\n")
    with pytest.raises(DataError, match="no column 'site'"):
        open_source(tmp_path, table=TABLE)
