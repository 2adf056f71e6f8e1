"""The list of sources: status, filters, terms in words."""

import pytest

from components.data.source_list import list_sources, print_sources, terms_in_words
from components.data.terms import USES
from components.errors import ConfigError, DatasetMissing
from components.settings import load_settings
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
    assert [one.card.name for one in listed] == found
    assert [one.card.name for one in listed if one.is_selected] == [n for n in found if n == "head_ct"]


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


def test_sources_are_printed_with_their_state(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "240")
    print_sources(load_settings(), modality="CT")
    printed = capsys.readouterr().out
    assert "pycerr_lung" in printed and "CC BY-NC 3.0" in printed
    assert "nilearn_mni" not in printed


def test_the_commands_are_thin(monkeypatch, tmp_path):
    from typer.testing import CliRunner

    from components.__main__ import app

    monkeypatch.setenv("COLUMNS", "240")
    listed = CliRunner().invoke(app, ["sources", "--modality", "Infrared reflectance"])
    assert listed.exit_code == 0 and "ravir" in listed.output and "1 cards, 0 present" in listed.output
    refused = CliRunner().invoke(app, ["source", "add", str(tmp_path)])
    assert isinstance(refused.exception, DatasetMissing)
