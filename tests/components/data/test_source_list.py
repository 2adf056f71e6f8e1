"""The list of sources: status, filters, terms in words."""

from pathlib import Path

import pytest

from components.data.catalog import load_cards
from components.data.skeleton import write_skeleton
from components.data.source_list import list_sources, print_sources, tab_separated, terminal_lines, terms_in_words
from components.data.terms import USES
from components.errors import CardInvalid, ConfigError, DatasetMissing
from components.settings import load_settings
from tests.fakes.formats_labels import make_folders
from tests.fakes.sources import make_card, write_card


@pytest.fixture
def folders(tmp_path):
    for name, modality in (("chest_ct", "CT"), ("brain_mr", "MR"), ("head_ct", "CT")):
        write_card(tmp_path / "cards" / modality, make_card(name, "plain_volumes", {}, modality=modality))
    (tmp_path / "data" / "chest_ct").mkdir(parents=True)
    return tmp_path / "cards", tmp_path / "data"


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, ["brain_mr", "chest_ct", "head_ct"]),
        ({"modality": "CT"}, ["chest_ct", "head_ct"]),
        ({"status": "missing"}, ["brain_mr", "head_ct"]),
        ({"modality": "CT", "status": "present"}, ["chest_ct"]),
        ({"modality": "PET"}, []),
    ],
)
def test_cards_are_listed_by_modality_and_status(folders, filters, found):
    cards, data = folders
    listed = list_sources(data, ["head_ct"], folder=cards, **filters)
    assert [one.name for one in listed] == found
    assert [one.name for one in listed if one.is_selected] == [n for n in found if n == "head_ct"]


@pytest.mark.parametrize(("option", "value"), [("modality", "CAT"), ("status", "lost")])
def test_an_unknown_filter_lists_what_there_is(folders, option, value):
    cards, data = folders
    with pytest.raises(ConfigError, match="one of: .*(CT|present)"):
        list_sources(data, [], folder=cards, **{option: value})


def test_terms_are_told_in_few_words():
    def told(**answers):
        terms = {**dict.fromkeys(USES, "not stated"), **answers}
        return terms_in_words(make_card("a", "plain_volumes", {}, terms=terms))

    assert told() == "not stated"
    assert told(**dict.fromkeys(USES, "yes")) == "yes to all"
    assert told(commercial_use="no", may_leave_machine="yes") == "leave machine: yes, commercial: no"


def test_a_pipe_gets_one_whole_line_a_card(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    print_sources(load_settings(), modality="CT")
    printed = capsys.readouterr()
    header, *lines = printed.out.splitlines()
    assert header.split("\t")[:2] == ["source", "here"] and {line.count("\t") for line in lines} == {7}
    cells = {line.split("\t")[0]: line.split("\t") for line in lines}
    assert "pycerr_lung" in cells and "CC BY-NC 3.0" in cells["pycerr_lung"] and "nilearn_mni" not in cells
    assert f"{len(lines)} cards" in printed.err
    obtained = {card.name: card.obtain for card in load_cards() if card.modality == "CT"}
    assert {name: line[7] for name, line in cells.items()} == obtained
    assert sum("https://" in line for line in lines) > 40


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_gets_whole_words_and_addresses(width):
    listed = list_sources(Path("data"), ["pycerr_lung"])
    lines = [line.plain.rstrip() for line in terminal_lines(listed, width)]
    assert "…" not in "".join(lines)
    assert [line for line in lines if len(line) > width and "://" not in line] == []
    shown = "\n".join(lines)
    words = {word for one in listed if one.card for word in one.card.obtain.split() if "://" in word}
    assert words and [word for word in words if word not in shown] == []
    assert "missing" in shown and "modality" in lines[0] and "Infrared reflectance" in shown


def test_a_terminal_is_told_by_the_output_itself(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    print_sources(load_settings(), modality="Infrared reflectance")
    printed = capsys.readouterr().out
    assert "\t" not in printed and "dim: not selected" in printed and "ravir" in printed


def test_a_skeleton_is_listed_as_unfinished_and_stops_nothing(folders, tmp_path):
    cards, data = folders
    make_folders(tmp_path / "new_set")
    write_skeleton(tmp_path / "new_set", cards)
    (cards / "a_folder.yaml").mkdir()
    (cards / "broken.yaml").write_text("name: [")
    listed = {one.name: one for one in list_sources(data, [], folder=cards)}
    assert listed["new_set"].status == listed["broken"].status == "unfinished"
    assert "still to fill in: title, citation" in listed["new_set"].fault and len(listed["new_set"].fault) < 400
    assert listed["chest_ct"].status == "present" and "a_folder" not in listed
    assert all("\n" not in one.fault for one in listed.values())
    kept = list_sources(data, [], folder=cards, status="unfinished")
    assert [one.name for one in kept] == ["broken", "new_set"]
    assert "new_set\tunfinished\tno" in tab_separated(kept)
    assert any("still to fill in" in line.plain for line in terminal_lines(kept, 80))


def test_a_run_that_selects_an_unfinished_card_stops(folders, tmp_path):
    cards, _ = folders
    make_folders(tmp_path / "new_set")
    write_skeleton(tmp_path / "new_set", cards)
    with pytest.raises(CardInvalid, match="still to fill in") as caught:
        load_cards(cards, ["new_set"])
    assert "docs/sources.md" in caught.value.fix and "gmai source check" in caught.value.fix


def test_the_commands_are_thin(tmp_path):
    from typer.testing import CliRunner

    from components.__main__ import app

    listed = CliRunner().invoke(app, ["sources", "--modality", "Infrared reflectance"])
    assert listed.exit_code == 0 and "ravir" in listed.output and "1 cards, 0 present" in listed.output
    refused = CliRunner().invoke(app, ["source", "add", str(tmp_path)])
    assert isinstance(refused.exception, DatasetMissing)
