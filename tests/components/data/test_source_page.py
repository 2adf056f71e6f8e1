"""The page of a source: ten records at most, their pictures inside, refusals named, and nothing taken as HTML."""

import re
from pathlib import Path

import pytest

from components.data.source_page import NUM_RECORDS, render_page, write_source_page
from components.errors import CardInvalid, DatasetMissing
from components.settings import load_settings
from tests.fakes.formats_labels import make_folders
from tests.fakes.sources import make_nifti_source, read_all, write_card


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.chdir(Path.cwd())
    monkeypatch.setenv("GMAI_PATIENT_KEY", "a key of the tests")
    settings = load_settings()
    corpus = settings.corpus.model_copy(update={"data_root": tmp_path / "data"})
    return settings.model_copy(update={"corpus": corpus})


def test_the_page_shows_ten_records_with_their_pictures(settings, tmp_path):
    card = make_nifti_source(tmp_path / "data" / "fake_ct")
    page = write_source_page(settings, str(write_card(tmp_path, card)), pages=tmp_path / "pages")
    text = page.read_text()
    assert page.name == "fake_ct.html"
    assert 0 < text.count("<img ") == text.count("data:image/png;base64,") <= NUM_RECORDS
    assert "kidney (left)" in text and "http" not in re.sub(r"base64,[^']*", "", text)


def test_files_that_are_not_here_are_said_to_be_missing(settings, tmp_path):
    path = write_card(tmp_path, make_nifti_source(tmp_path / "elsewhere"))
    with pytest.raises(DatasetMissing, match="no files of: fake_ct"):
        write_source_page(settings, str(path), pages=tmp_path)


def test_an_unknown_card_lists_near_matches(settings, tmp_path):
    with pytest.raises(CardInvalid, match="near matches: .*stardist_nuclei"):
        write_source_page(settings, "stardist_nucleus", pages=tmp_path)


def test_words_of_a_source_are_never_taken_as_html(tmp_path):
    card = make_folders(tmp_path)
    records, _ = read_all(tmp_path, card)
    page = render_page(card.model_copy(update={"title": "<script>alert(1)</script>"}), records, [])
    assert "<script>" not in page and "&lt;script&gt;" in page


def test_what_was_refused_is_named(tmp_path):
    card = make_nifti_source(tmp_path)
    (tmp_path / "ct.nii.gz").write_bytes((tmp_path / "ct.nii.gz").read_bytes()[:200])
    records, refused = read_all(tmp_path, card)
    page = render_page(card, records, refused)
    assert "Refused on the way: 1" in page and "file_truncated" in page
