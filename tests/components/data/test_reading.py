"""What no reader may let through, and the paths no card may name."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from pydantic import BaseModel, BeforeValidator

from components.data.catalog import find_reader, reader_names
from components.data.reading import (
    Draft,
    Rejection,
    find_files,
    finish,
    parse_options,
    reason_of,
    resolve_inside,
    split_of,
)
from components.errors import CardInvalid, DataError, DatasetMissing
from components.records import Record, Region
from tests.fakes.sources import CONTEXT, gradient, make_card

CARD = make_card("fake", "plain_volumes", {}, vocabulary=["liver", "cyst"])
DRAFT = Draft("a/b.nii", gradient(), part="axial/0001")


def test_a_good_draft_becomes_a_record_with_the_cards_part():
    card = make_card("fake", "plain_volumes", {}, facts={"stain": "none", "view": "AP"})
    record = finish(replace(DRAFT, facts=(("view", "PA"),)), card, CONTEXT)
    assert isinstance(record, Record)
    assert record.facts == (("stain", "none"), ("view", "PA")) and record.licence == "CC0"
    assert record.source_path == "fake/a/b.nii" and record.image_format == "PNG"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"regions": (Region("liver", (0.2, 0.2, 1.2, 0.8)),)}, "box_outside_image"),
        ({"regions": (Region("liver", (0.5, 0.2, 0.4, 0.8)),)}, "box_outside_image"),
        ({"regions": (Region("liver", (-0.1, 0.2, 0.4, 0.8)),)}, "box_outside_image"),
        ({"regions": (Region("horn", (0.1, 0.2, 0.4, 0.8)),)}, "label_not_in_vocabulary"),
        ({"labels": ("horn",)}, "label_not_in_vocabulary"),
        ({"absent_labels": ("horn",)}, "label_not_in_vocabulary"),
        ({"labels": ("cyst",), "absent_labels": ("cyst",)}, "label_both_present_and_absent"),
        ({"pixels": gradient().astype(float)}, "image_not_8_bit"),
        ({"pixels": np.zeros((0, 4), np.uint8)}, "image_not_8_bit"),
        ({"text_kind": "report", "text": "  "}, "text_empty"),
    ],
)
def test_a_bad_draft_is_refused_with_its_reason(change, reason):
    assert finish(replace(DRAFT, **change), CARD, CONTEXT) == Rejection("a/b.nii#axial/0001", reason)


def test_a_patient_that_the_pattern_does_not_find_is_refused():
    card = make_card("fake", "plain_volumes", {}, patient={"rule": "pattern", "pattern": "case_([0-9]+)"})
    assert finish(DRAFT, card, CONTEXT) == Rejection("a/b.nii#axial/0001", "patient_unknown")


@pytest.mark.parametrize(
    ("rule", "same"),
    [({"rule": "source"}, True), ({"rule": "folder"}, True), ({"rule": "file"}, False)],
)
def test_patients_follow_the_cards_rule(rule, same):
    card = make_card("fake", "plain_volumes", {}, patient=rule)
    one, other = (finish(replace(DRAFT, path=path), card, CONTEXT) for path in ("p1/a.nii", "p1/b.nii"))
    assert (one.patient_key == other.patient_key) is same


def test_two_cards_of_one_namespace_share_their_people():
    rule = {"rule": "source", "namespace": "volunteers"}
    cards = [make_card(name, "plain_volumes", {}, patient=rule) for name in ("one", "two")]
    assert len({finish(DRAFT, card, CONTEXT).patient_key for card in cards}) == 1
    apart = [make_card(name, "plain_volumes", {}, patient={"rule": "source"}) for name in ("one", "two")]
    assert len({finish(DRAFT, card, CONTEXT).patient_key for card in apart}) == 2


def test_the_patient_may_be_what_the_reader_states():
    card = make_card("fake", "plain_volumes", {}, patient={"rule": "column"})
    keys = {finish(replace(DRAFT, path=path, patient="p7"), card, CONTEXT).patient_key for path in ("a", "b")}
    assert len(keys) == 1
    assert finish(DRAFT, card, CONTEXT) == Rejection("a/b.nii#axial/0001", "patient_unknown")


def test_a_published_split_wins_over_the_cards_and_must_be_one():
    card = make_card("fake", "plain_volumes", {}, split={"rule": "fixed", "default": "train"})
    assert finish(replace(DRAFT, split="test"), card, CONTEXT).split == "test"
    assert finish(DRAFT, card, CONTEXT).split == "train"
    assert finish(replace(DRAFT, split="val"), card, CONTEXT).reason == "split_not_known"


def test_a_fixed_split_takes_the_first_glob_that_matches():
    split = {"rule": "fixed", "default": "train", "assign": {"p1/*": "test", "p*": "validation"}}
    card = make_card("fake", "plain_volumes", {}, split=split)
    assert [split_of(card, path, "x") for path in ("p1/a", "p2/a", "q")] == ["test", "validation", "train"]


def test_drawn_splits_hold_a_patient_together_and_keep_their_shares():
    split = {"rule": "shares", "train": 0.7, "validation": 0.1, "test": 0.2}
    card = make_card("fake", "plain_volumes", {}, split=split)
    drawn = {f"patient {n}": split_of(card, "any/path", f"patient {n}") for n in range(2000)}
    assert drawn == {name: split_of(card, "other/path", name) for name in drawn}
    assert 0.66 < list(drawn.values()).count("train") / 2000 < 0.74
    assert 0.17 < list(drawn.values()).count("test") / 2000 < 0.23


@pytest.mark.parametrize("path", ["../secret.txt", "/etc/passwd", "a/../../secret.txt"])
def test_a_path_may_not_leave_its_source(path, tmp_path):
    with pytest.raises(DataError, match="leaves its source"):
        resolve_inside(tmp_path, path)
    with pytest.raises(DataError, match="leaves its source"):
        find_files(tmp_path, path)


def test_a_link_may_not_lead_out_of_its_source(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "source" / "innocent.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(DataError, match="leaves its source"):
        find_files(tmp_path / "source", "*.txt")


def test_a_loop_of_links_is_named(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(DataError, match="loop of links"):
        resolve_inside(tmp_path, "loop/a.txt")


def test_files_come_in_name_order_and_none_is_missing(tmp_path):
    for name in ("b.txt", "a.txt", "c.txt"):
        (tmp_path / name).write_text(name)
    assert [path.name for path in find_files(tmp_path, "*.txt")] == ["a.txt", "b.txt", "c.txt"]
    with pytest.raises(DatasetMissing, match="no file matches"):
        find_files(tmp_path, "*.dcm")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (EOFError("Compressed file ended"), "file_truncated"),
        (OSError("image file is truncated (3 bytes not processed)"), "file_truncated"),
        (FileNotFoundError("gone"), "file_missing"),
        (OSError("cannot identify image file"), "file_unreadable"),
    ],
)
def test_a_file_that_does_not_read_has_a_reason(error, reason):
    assert reason_of(error) == reason


def models_below(model):
    """Yield a pydantic model and those its fields hold, through unions, tuples and maps."""
    yield model
    waiting = [field.annotation for field in model.model_fields.values()]
    while waiting:
        kind = waiting.pop()
        waiting += get_args(kind)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from models_below(kind)


@pytest.mark.parametrize("name", reader_names())
def test_one_word_needs_no_brackets_wherever_an_option_is_a_list_of_words(name):
    for model in models_below(find_reader(name).Options):
        for field_name, found in model.model_fields.items():
            if found.annotation == tuple[str, ...]:
                assert any(isinstance(rule, BeforeValidator) for rule in found.metadata), (model, field_name)


def test_a_bare_word_is_the_list_of_it_and_what_is_no_list_is_told():
    options = {"tables": [{"file": "a.csv"}], "image": "{a}", "question": "q", "answer": "a"}
    model = find_reader("vqa").Options
    parsed = parse_options(model, make_card("a", "vqa", {**options, "options": "choices", "archives": ""}))
    assert (parsed.options, parsed.archives) == (("choices",), ())
    with pytest.raises(CardInvalid, match=r"options: must be a list, such as \[a, b\]") as caught:
        parse_options(model, make_card("a", "vqa", {**options, "options": {"a": 1}}))
    assert caught.value.fix == "docs/readers/vqa.md; then gmai source check a"
