"""A protected source's paths tell nobody; a public one's stay as they are."""

import json
import stat
from pathlib import Path

import pytest

from components.data.deidentify import keyed_hash
from components.data.hidden_paths import (
    PrivateNames,
    find_names,
    hide_message,
    hide_part,
    hide_path,
    hide_where,
    open_private,
)
from components.data.reading import ReadContext, Rejection, hide_rejections, record_id_of
from tests.fakes.sources import make_card

KEY = b"a key for tests"
TERMS = dict.fromkeys(
    ("may_leave_machine", "may_reach_third_party_model", "may_be_redistributed", "commercial_use"), "not stated"
)
PATH = "PAT_JOHN_SMITH/1/john-smith_CT.nii.gz"


def card_of(rule="file", **changes):
    patient = {"rule": rule} | ({"pattern": "^([^/]+)/"} if rule == "pattern" else {})
    return make_card("s", "plain_volumes", {}, **{"patient": patient, "terms": TERMS} | changes)


@pytest.mark.parametrize("rule", ["source", "file", "folder", "pattern", "dicom", "column"])
def test_no_word_of_a_protected_path_is_left_and_paths_stay_apart(rule):
    card = card_of(rule)
    hidden = hide_path(PATH, card, KEY)
    assert "smith" not in hidden.lower() and "john" not in hidden.lower() and hidden.endswith(".nii.gz")
    assert hidden == hide_path(PATH, card, KEY) != hide_path(PATH, card, b"another key")
    assert (
        hidden
        != hide_path(PATH.replace("CT", "MR"), card, KEY)
        != hide_path(PATH.replace("/1/", "/2/"), card, KEY)
    )


def test_the_rest_around_a_pattern_stays_and_the_patient_is_its_key():
    token = keyed_hash(KEY, "s", "PAT_JOHN_SMITH")
    assert hide_path("PAT_JOHN_SMITH/study/IM000.dcm", card_of("pattern"), KEY) == f"{token}/study/IM000.dcm"
    assert hide_path("loose_Smith.dcm", card_of("pattern"), KEY).count("Smith") == 0  # the pattern does not match


@pytest.mark.parametrize("changes", [{"identities": "public"}, {"terms": TERMS | {"may_be_redistributed": "yes"}}])
def test_a_public_source_keeps_its_paths_and_ids(changes):
    card = card_of(**changes)
    assert hide_path(PATH, card, KEY) == PATH and hide_part("JOHN", card, KEY) == "JOHN"
    assert record_id_of(card, PATH, "", KEY) == record_id_of(card, PATH, "", b"another")
    assert hide_message(f"no {PATH}", Path(), card, KEY) == f"no {PATH}"


def test_an_id_of_a_protected_record_cannot_be_found_by_trying_names():
    assert record_id_of(card_of(), PATH, "", KEY) != record_id_of(card_of(), PATH, "", b"another")


def test_plain_places_in_a_file_stay_and_a_row_id_or_label_does_not():
    card = card_of()
    assert hide_part("series/00/axial/0012", card, KEY) == "series/00/axial/0012"
    assert hide_part("row 12", card, KEY) == "row 12" and hide_part("tile/00000-00256", card, KEY)[:5] == "tile/"
    for part in ("12345678", "GTV Smith", "row/Smith", "4711"):
        assert not {"12345678", "Smith", "4711", "GTV"} & set(hide_part(part, card, KEY).replace("/", " ").split())
    assert hide_where("notes.SMITH#row/3", card, KEY).endswith("#row/3")
    assert "SMITH" not in hide_where("notes.SMITH#row/3", card, KEY)


def test_an_error_names_no_file_of_a_protected_source(tmp_path):
    (tmp_path / "PAT_JOHN_SMITH").mkdir()
    (tmp_path / "PAT_JOHN_SMITH" / "x.nii").write_bytes(b"")
    message = f"cannot read {tmp_path}/PAT_JOHN_SMITH/x.nii: PAT_JOHN_SMITH is odd"
    told = hide_message(message, tmp_path, card_of("folder"), KEY)
    assert "SMITH" not in told and str(tmp_path) in told and "is odd" in told


def test_what_hidden_paths_stand_for_is_readable_by_the_owner_alone(tmp_path):
    folder = tmp_path / "private"
    with open_private(folder, "s") as file:
        context = ReadContext(max_side=8, secret=KEY, names=PrivateNames(file))
        refused = Rejection(PATH, "file_empty")
        (first, _) = hide_rejections(iter([refused, refused]), card_of(), context)
    assert stat.S_IMODE((folder / "s.jsonl").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [json.loads(line) for line in (folder / "s.jsonl").read_text().splitlines()] == [
        {"hidden": first.where, "stated": PATH}
    ]
    assert list(find_names(folder, "s", [first.where[:8]])) == [(first.where, PATH)]
    assert list(find_names(folder, "s", ["nothing"])) == [] == list(find_names(folder, "absent", []))
