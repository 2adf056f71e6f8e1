"""A card is complete and closed; what is wrong is named with its file, field and near match."""

from pathlib import Path

import pytest

from components.data.card import load_card, parse_card, parse_term
from components.data.catalog import card_files, find_reader, load_cards, reader_names
from components.errors import CardInvalid, DuplicateDataset
from components.settings import load_settings
from tests.fakes.sources import make_card, write_card

REAL = Path("conf/sources")
GROUP = {"files": "*.nii.gz", "planes": {"axial": 1}, "windows": ["full range"]}


def raw_card(**changes):
    return {**make_card("some_ct", "plain_volumes", {}).model_dump(mode="json"), **changes}


def test_every_committed_card_loads_and_its_options_fit_its_reader():
    cards = load_cards(REAL)
    assert [card.name for card in cards] == sorted(card_files(REAL))
    assert set(load_settings().corpus.sources) <= {card.name for card in cards}


def test_an_unknown_field_is_named_with_the_nearest_known_one():
    with pytest.raises(CardInvalid, match=r"licens: unknown field \(did you mean 'licence'\?\)") as caught:
        parse_card(raw_card(licens="CC0"), where="conf/sources/some_ct.yaml")
    assert caught.value.where == "conf/sources/some_ct.yaml"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"modality": "CAT"}, "modality"),
        ({"department": "Surgery"}, "department"),
        ({"tolerance": 1.5}, "tolerance"),
        ({"citation": ""}, "citation"),
        ({"name": "Some CT"}, "name"),
        ({"sha256": {"a.dcm": "abc"}}, "sha256"),
        ({"patient": {"rule": "pattern"}}, "pattern"),
        ({"patient": {"rule": "pattern", "pattern": "no_group"}}, "one group"),
        ({"split": {"rule": "shares", "train": 0.5, "validation": 0.1, "test": 0.1}}, "sum to 1"),
        ({"label_map": {"liver": "the_liver"}}, "canonical"),
        ({"terms": {"may_leave_machine": "perhaps"}}, "terms"),
    ],
)
def test_a_wrong_field_is_named(change, told):
    with pytest.raises(CardInvalid, match=told):
        parse_card(raw_card(**change), where="a card")


def test_a_term_of_a_long_vocabulary_is_refused_in_few_words():
    with pytest.raises(CardInvalid) as caught:
        parse_card(raw_card(modality="Xray", department="Zoology"), where="a card")
    said = caught.value.what
    assert "modality: 'Xray' is none of its 15 terms (did you mean 'X-ray'?)" in said
    assert "department: 'Zoology' is none of its 19 terms" in said and len(said) < 200
    assert "docs/sources.md" in caught.value.fix and "gmai source check a card" in caught.value.fix


def test_what_a_skeleton_leaves_open_is_told_as_one_list():
    with pytest.raises(CardInvalid, match="still to fill in: url, title\n") as caught:
        parse_card(raw_card(title=None, url="FILL IN: where"), where="a card")
    assert "valid string" not in str(caught.value)
    with pytest.raises(CardInvalid, match=r"still to fill in: options\.layers\.0\.label\n"):
        parse_card(raw_card(options={"layers": [{"label": "FILL IN: a label"}]}), where="a card")


def test_many_faults_are_counted_after_the_first():
    with pytest.raises(CardInvalid, match="and 4 more"):
        parse_card(raw_card(**{f"unknown_{letter}": 1 for letter in "abcdefghijkl"}), where="a card")


def test_a_path_without_a_file_is_told(tmp_path):
    with pytest.raises(CardInvalid, match="no card can be read: No such file"):
        load_card(tmp_path / "nosuch.yaml")
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(CardInvalid, match="Is a directory"):
        load_card(tmp_path / "folder.yaml")


def test_a_missing_field_is_named():
    raw = raw_card()
    del raw["licence"]
    with pytest.raises(CardInvalid, match="licence"):
        parse_card(raw, where="a card")


def test_a_bare_yes_of_yaml_is_an_answer(tmp_path):
    text = write_card(tmp_path, make_card("some_ct", "plain_volumes", {})).read_text()
    (tmp_path / "some_ct.yaml").write_text(text.replace("commercial_use: 'yes'", "commercial_use: no"))
    assert load_card(tmp_path / "some_ct.yaml").terms.commercial_use == "no"


def test_a_card_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        make_card("some_ct", "plain_volumes", {}).licence = "mine"


def test_the_name_is_the_files(tmp_path):
    path = write_card(tmp_path, make_card("some_ct", "plain_volumes", {}))
    with pytest.raises(CardInvalid, match="the file is other.yaml"):
        load_card(path.rename(tmp_path / "other.yaml"))


def test_what_is_not_yaml_is_refused(tmp_path):
    (tmp_path / "bad.yaml").write_text("name: [unclosed")
    with pytest.raises(CardInvalid, match="not YAML"):
        load_card(tmp_path / "bad.yaml")


@pytest.mark.parametrize(
    ("text", "label", "side"),
    [
        ("left kidney", "kidney", "left"),
        ("right lung", "lung", "right"),
        ("liver", "liver", "not stated"),
        ("left", "left", "not stated"),
        ("leftover tissue", "leftover tissue", "not stated"),
    ],
)
def test_a_leading_side_leaves_the_label(text, label, side):
    term = parse_term(text)
    assert (term.label, term.side) == (label, side)


def test_labels_are_the_terms_without_sides_and_without_dropped_ones():
    card = make_card(
        "a", "r", {}, label_map={"k_l": "left kidney", "k_r": "right kidney", "x": ""}, vocabulary=["cyst"]
    )
    assert card.labels == ("cyst", "kidney")
    assert card.term("x").label == ""
    assert card.term("spleen") is None


def test_two_cards_of_one_name_are_both_named(tmp_path):
    card = make_card("some_ct", "plain_volumes", {})
    paths = [write_card(tmp_path / part, card) for part in ("a", "b")]
    with pytest.raises(DuplicateDataset) as caught:
        load_cards(tmp_path)
    assert all(str(path) in str(caught.value) for path in paths)


def test_an_unknown_card_and_reader_raise_with_near_matches(tmp_path):
    write_card(tmp_path, make_card("chest_ct", "plain_volumes", {}))
    with pytest.raises(CardInvalid, match="near matches: chest_ct"):
        load_cards(tmp_path, ["chest_tc"])
    with pytest.raises(CardInvalid, match="near matches: plain_volumes"):
        find_reader("plain_volume")


def test_options_are_checked_when_a_card_is_loaded(tmp_path):
    write_card(tmp_path, make_card("chest_ct", "slide_tiles", {"slides": "*.svs", "side": 8, "strid": 8}))
    with pytest.raises(CardInvalid, match="did you mean 'stride'"):
        load_cards(tmp_path)


def test_every_reader_has_the_interface():
    for name in reader_names():
        reader = find_reader(name)
        assert isinstance(reader.VERSION, int) and reader.Options.model_config["extra"] == "forbid"
        assert callable(reader.read)


def test_asked_cards_are_parsed_and_no_others(tmp_path):
    write_card(tmp_path / "ct", make_card("chest_ct", "plain_volumes", {"groups": [GROUP]}))
    (tmp_path / "mr").mkdir()
    (tmp_path / "mr" / "broken.yaml").write_text("name: [unclosed")
    assert [card.name for card in load_cards(tmp_path, ["chest_ct"])] == ["chest_ct"]


def test_what_a_source_does_not_say_of_its_modality_is_not_stated():
    card = make_card("mixed", "vqa", {}, modality="not stated", department="not stated", task="not stated")
    assert (card.modality, card.department, card.task) == ("not stated",) * 3
