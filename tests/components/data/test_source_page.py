"""The page of a source: ten records at most, their pictures inside, refusals named, and nothing taken as HTML."""

import re
from collections import Counter
from pathlib import Path

import pytest

from components.data import source_look
from components.data.ingest import make_jobs
from components.data.source_look import NUM_RECORDS, Look, draw_units, in_turn, look_into
from components.data.source_page import check_source, render_page, write_source_page
from components.errors import CardInvalid, DataError, DatasetMissing
from components.settings import load_settings
from tests.fakes.formats_labels import make_folders, save, shade
from tests.fakes.formats_text import make_slake
from tests.fakes.formats_volumes import make_decathlon_source
from tests.fakes.sources import make_card, make_nifti_source, read_all, write_card


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.chdir(Path.cwd())
    monkeypatch.setenv("GMAI_PATIENT_KEY", "a key of the tests")
    settings = load_settings()
    corpus = settings.corpus.model_copy(update={"data_root": tmp_path / "data"})
    return settings.model_copy(update={"corpus": corpus})


def test_the_page_shows_ten_records_with_their_pictures(settings, tmp_path):
    card = make_nifti_source(tmp_path / "data" / "fake_ct")
    page, _ = write_source_page(settings, str(write_card(tmp_path, card)), pages=tmp_path / "pages")
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
    page = render_page(card.model_copy(update={"title": "<script>alert(1)</script>"}), Look(records))
    assert "<script>" not in page and "&lt;script&gt;" in page


def test_what_was_refused_is_named(tmp_path):
    card = make_nifti_source(tmp_path)
    (tmp_path / "ct.nii.gz").write_bytes((tmp_path / "ct.nii.gz").read_bytes()[:200])
    records, refused = read_all(tmp_path, card)
    reasons = Counter(one.reason for one in refused)
    page = render_page(card, Look(records, len(records), reasons, refused))
    assert "Refused on the way: 1" in page and "file_truncated" in page


def test_the_ten_are_spread_over_files_folders_and_splits(settings, tmp_path):
    root = tmp_path / "data" / "fake_ct"
    for part in ("train", "test"):
        for number in range(30):
            save(root / part / f"p{number:02d}" / "a.png", shade(number))
    split = {"rule": "fixed", "default": "train", "assign": {"test/*": "test"}}
    options = {"images": ["*/*/*.png"], "class_depth": 0}
    words = {"train": "seen", "test": "unseen"}
    card = make_card("fake_ct", "folder_classes", options, split=split, label_map=words)
    job = make_jobs(settings, [card], tmp_path)[0]
    assert {unit.partition("/")[0] for unit in draw_units(job, 10)} == {"train", "test"}
    look = look_into(job)
    assert Counter(record.split for record in look.records) == {"train": 5, "test": 5}
    assert look.num_read == len({record.source_path for record in look.records}) == NUM_RECORDS
    assert look_into(job).records == look.records


def test_slices_of_several_cases_are_shown(settings, tmp_path):
    root = tmp_path / "data" / "fake_decathlon"
    card = make_decathlon_source(root)
    for part, end in (("imagesTr", "_0000"), ("labelsTr", "")):
        content = next((root / part).iterdir()).read_bytes()
        for number in range(4):
            (root / part / f"more_{number}{end}.nii.gz").write_bytes(content)
    look = look_into(make_jobs(settings, [card], tmp_path)[0])
    assert len({record.source_path for record in look.records}) >= 5 and len(look.records) == NUM_RECORDS


def test_a_reader_that_reads_all_is_bounded_and_spread_over_its_splits(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(source_look, "MOST_SAMPLES", 3)
    card = make_slake(tmp_path / "data" / "fake_ct")
    look = look_into(make_jobs(settings, [card.model_copy(update={"name": "fake_ct"})], tmp_path)[0])
    assert 0 < look.num_read + look.reasons.total() <= 3


def test_what_was_read_and_refused_is_counted_on_the_terminal(settings, tmp_path, capsys):
    card = make_folders(tmp_path / "data" / "fake_ct")
    good = next((tmp_path / "data" / "fake_ct").rglob("*.png"))
    good.with_name("cut.png").write_bytes(good.read_bytes()[:40])
    path = write_card(tmp_path, card.model_copy(update={"name": "fake_ct"}))
    check_source(settings, str(path), pages=tmp_path / "pages")
    said = capsys.readouterr().out
    assert re.search(
        r"\d+ records read, 1 refused: file_\w+ \(1\)\n.*fake_ct.html: \d+ records of \d+ files", said
    )


def test_a_source_without_a_record_fails_and_names_the_reasons(settings, tmp_path):
    card = make_folders(tmp_path / "data" / "fake_ct").model_copy(update={"name": "fake_ct"})
    for picture in (tmp_path / "data" / "fake_ct").rglob("*.*"):
        picture.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"no record could be read: 0 records read, \d+ refused: file_unreadable"):
        check_source(settings, str(write_card(tmp_path, card)), pages=tmp_path / "pages")
    assert (tmp_path / "pages" / "fake_ct.html").is_file()


def test_many_refusals_are_counted_and_few_are_kept(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(source_look, "MOST_REFUSED", 2)
    root = tmp_path / "data" / "fake_ct"
    for number in range(9):
        save(root / "unknown" / f"{number}.png", shade(number))
    card = make_card("fake_ct", "folder_classes", {"images": ["*/*.png"]})
    look = look_into(make_jobs(settings, [card], tmp_path)[0])
    assert (len(look.refused), look.reasons.total(), look.records) == (2, 9, [])


def test_a_card_that_is_not_there_or_is_a_folder_is_told(settings, tmp_path):
    (tmp_path / "x.yaml").mkdir()
    for name in ("conf/sources/nosuch.yaml", str(tmp_path / "x.yaml")):
        with pytest.raises(CardInvalid, match="no card can be read"):
            check_source(settings, name, pages=tmp_path)
    with pytest.raises(CardInvalid, match=r"no card named 'qqqq', nor any like it, among \d+") as caught:
        check_source(settings, "qqqq", pages=tmp_path)
    assert caught.value.fix == "gmai sources"


def test_lines_are_taken_in_turn():
    assert list(in_turn(["abc", "", "d", "ef"])) == list("adebfc")
