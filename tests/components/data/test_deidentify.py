"""Who a person is never leaves the reader: only keyed hashes and a short list of tags do."""

import dataclasses
import re

import pytest
from pydicom import Dataset
from pydicom.datadict import keyword_for_tag

from components.data import deidentify
from components.data.deidentify import ALLOWED_TAGS, age_band, header_facts, keyed_hash
from components.data.reading import ReadContext
from tests.fakes.sources import make_headers_source, make_rtstruct_source, make_slide_source, read_all

PLANTED = {
    "PatientName": "Zebulon^Quartermaine", "PatientID": "ID-77-SECRET", "PatientBirthDate": "19311224",
    "AccessionNumber": "ACC-90210", "InstitutionName": "Saint Nowhere", "ReferringPhysicianName": "Strangelove^A",
    "StudyDate": "20010911", "StudyDescription": "Thorax of Quartermaine", "PatientComments": "lives in Gotham",
    "StationName": "STATION9", "StudyID": "STUDY-4711", "DeviceSerialNumber": "SER-31337",
}  # fmt: skip
ALLOWED = {"PatientSex": "F", "PatientAge": "058Y", "ViewPosition": "PA"}


def header(tags):
    """A pydicom Dataset of these keywords."""
    made = Dataset()
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    return made


def as_bytes(records) -> bytes:
    """Everything of a record, its image included, as one string."""
    return b"\n".join(repr(dataclasses.asdict(record)).encode() + record.image for record in records)


def test_planted_identifiers_are_nowhere_in_the_records(tmp_path):
    records, refused = read_all(tmp_path, make_headers_source(tmp_path, **PLANTED, **ALLOWED))
    content = as_bytes(records)
    assert records and not refused
    for value in PLANTED.values():
        for word in (value, *value.replace("^", " ").replace("-", " ").split()):
            assert len(word) < 4 or word.encode() not in content, word
    assert dict(records[0].facts) == {"age band": "50-59 years", "sex": "female", "view": "PA"}


def test_neither_series_nor_slide_tells_who(tmp_path):
    series, _ = read_all(tmp_path / "a", make_rtstruct_source(tmp_path / "a"))
    slide, _ = read_all(tmp_path / "b", make_slide_source(tmp_path / "b"))
    content = as_bytes(series + slide)
    assert not any(word in content for word in (b"SECRET", b"Doe", b"Jane", b"doe"))


def test_keys_part_patients_and_depend_on_the_secret(tmp_path):
    card = make_rtstruct_source(tmp_path)
    keys = {record.patient_key for record in read_all(tmp_path, card)[0]}
    other = {r.patient_key for r in read_all(tmp_path, card, ReadContext(max_side=64, secret=b"another"))[0]}
    assert len(keys) == 2 and len(other) == 2 and not keys & other


def test_a_keyed_hash_is_stable_and_its_parts_do_not_run_together():
    assert keyed_hash(b"k", "a", "bc") == keyed_hash(b"k", "a", "bc") != keyed_hash(b"k", "ab", "c")
    assert len(keyed_hash(b"k", "a")) == 20


@pytest.mark.parametrize(
    ("age", "band"),
    [
        ("058Y", "50-59 years"),
        ("22Y", "20-29 years"),
        ("007Y", "under 10 years"),
        ("011M", "under 10 years"),
        ("093Y", "90 years and over"),
        ("000Y", "not stated"),
        ("", "not stated"),
        ("old", "not stated"),
    ],
)
def test_ages_become_decades(age, band):
    assert age_band(age) == band


def test_an_allowed_tag_with_free_text_says_nothing():
    tags = {
        "ViewPosition": "for Mrs Doe",
        "TransducerType": "Doe's probe",
        "PatientSex": "O",
        "NumberOfFrames": "1",
    }
    assert header_facts(header(tags)) == {}
    plain = {"TransducerType": "CURVED LINEAR", "Laterality": "R", "NumberOfFrames": "12"}
    assert header_facts(header(plain)) == {
        "transducer": "curved linear", "laterality": "right", "frames": "12",
    }  # fmt: skip


def test_the_allow_list_has_no_identifying_tag():
    forbidden = ("Name", "ID", "Date", "Accession", "Institution", "Address", "Description", "Comments", "UID")
    assert not [tag for tag in ALLOWED_TAGS if any(word in tag for word in forbidden)]


def test_the_profile_is_applied_by_its_library_and_takes_what_is_not_retained(monkeypatch):
    monkeypatch.setitem(deidentify.ALLOWED_TAGS, "InstitutionName", "institution")
    monkeypatch.setitem(deidentify.ALLOWED_TAGS, "StudyInstanceUID", "study")
    monkeypatch.setattr(deidentify, "_plain", lambda _, value: value)
    told = header(PLANTED | ALLOWED | {"StudyInstanceUID": "1.2.3.4"})
    assert deidentify.header_facts(told) == {"age band": "058Y", "sex": "F", "view": "PA"}
    assert told.InstitutionName == "Saint Nowhere" and told.StudyInstanceUID == "1.2.3.4"


def test_every_allowed_tag_is_left_by_the_profile_or_named_as_retained():
    changed = {keyword_for_tag(tag) for tag in deidentify._profile_actions() if len(tag) == 2}
    assert changed >= {"PatientName", "PatientID", "StudyDate", "StudyInstanceUID", "PatientSex"}
    assert set(ALLOWED_TAGS) & changed == set(deidentify.RETAINED)


def test_the_stamp_names_profile_edition_and_library():
    stamp = deidentify.profile_stamp()
    assert stamp["edition"] == "2026c" and re.fullmatch(r"dicom-anonymizer \d+\.\d+\S*", stamp["library"])
