"""LLaVA's form: turns in order, several images, text alone, and what is refused."""

import pytest

from components.data.dialogue import read_dialogue
from components.data.faults import Refused
from components.records import SourceQuestion
from tests.fakes.formats_text import (
    make_dialogues,
    make_llava_med,
    make_pubmedvision,
    picture,
    put,
    put_json,
    talk,
)
from tests.fakes.sources import make_card, read_all


def test_llava_meds_conversations_of_one_image_are_questions_in_order(tmp_path):
    (record,), refused = read_all(tmp_path, make_llava_med(tmp_path))
    assert not refused and record.questions == (
        SourceQuestion("What is seen?", "A mass.", (), "instruct"),
        SourceQuestion("Where?", "On the left.", (), "continues"),
        SourceQuestion("Next?", "Follow up.", (), "instruct"),
    )


def test_pubmedvisions_two_images_share_a_record_without_pixels(tmp_path):
    (first, second, together), refused = read_all(tmp_path, make_pubmedvision(tmp_path))
    assert not refused and [q.question for q in first.questions] == ["Describe."] and not second.questions
    assert together.image_ids == (first.record_id, second.record_id) and not together.has_pixels
    assert [q.answer for q in together.questions] == ["The second is larger."]
    assert {r.modality for r in (first, second, together)} == {"CT"} and together.body_part == "chest"


def test_a_set_keeps_the_order_of_its_images(tmp_path):
    card = make_pubmedvision(tmp_path)
    images = ["images/pmc_2_0.jpg", "images/pmc_1_0.jpg"]
    row = {"id": "a", "image": images, "modality": "Computed Tomography", "conversations": talk("Which?", "This.")}
    put_json(tmp_path / "PubMedVision_Alignment_VQA.json", [row])
    records, _ = read_all(tmp_path, card)
    named = {r.record_id: r.source_path.removeprefix("pubmedvision/") for r in records[:2]}
    assert [named[one] for one in records[2].image_ids] == images


def test_text_alone_has_no_image_and_a_patient_of_its_own(tmp_path):
    card = make_dialogues(tmp_path)
    rows = (tmp_path / "dialogues.jsonl").read_text()
    put(tmp_path / "dialogues.jsonl", rows * 2)
    records, refused = read_all(tmp_path, card)
    assert not refused and len({r.patient_key for r in records}) == len({r.record_id for r in records}) == 2
    for record in records:
        assert (record.image, record.width, record.height, record.image_format) == (b"", 0, 0, "")
        assert (record.sha256, record.perceptual_hash, record.image_ids) == ("", "", ())
        assert (record.language, [q.question_type for q in record.questions]) == ("zh", ["text_only", "continues"])


def test_a_row_without_an_image_beside_rows_with_one_is_text_alone(tmp_path):
    put(tmp_path / "a.png", picture())
    rows = [
        {"image": "a.png", "conversations": talk("<image>\nWhat?", "This.")},
        {"conversations": talk("Hi?", "Yes.")},
    ]
    put_json(tmp_path / "t.json", rows)
    card = make_card("mixed", "conversations", {"tables": [{"file": "t.json"}]})
    records, refused = read_all(tmp_path, card)
    assert not refused and [(r.has_pixels, r.questions[0].question_type) for r in records] == [
        (True, "vqa"), (False, "text_only"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        (None, "conversation_not_a_list"),
        ([], "conversation_not_a_list"),
        ("hi", "conversation_not_a_list"),
        (["hi", "ho"], "turn_not_text"),
        (talk("a"), "turns_do_not_alternate"),
        (talk("a", "b", "c"), "turns_do_not_alternate"),
        (talk("a", "b")[::-1], "turns_do_not_alternate"),
        (talk("<image>", "b"), "turn_empty"),
        (talk("a", " "), "turn_empty"),
        ([{"from": "human", "value": 3}, {"from": "gpt", "value": "b"}], "turn_not_text"),
        ([{"from": "doctor", "value": "a"}, {"from": "gpt", "value": "b"}], "turn_speaker_unknown"),
        ([{"from": "system", "value": "a"}, *talk("a", "b")], "system_turn"),
        ([{"from": "system", "value": "a"}], "system_turn"),
        (talk("<image> <image> a", "b"), "placeholder_count_differs"),
        (talk("a", "b", "<image> c", "d"), "placeholder_after_first_turn"),
        (talk("a", "b <image>"), "placeholder_after_first_turn"),
    ],
)
def test_a_bad_conversation_is_refused_with_its_reason(turns, reason):
    with pytest.raises(Refused) as caught:
        read_dialogue(turns, kind="vqa", num_images=1)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("text", "images", "kept"),
    [
        ("<image>\nWhat?", 1, "What?"),
        ("What?\n<image>", 1, "What?"),
        ("<image><image>\nCompare.", 2, "Compare."),
        ("First <image>, then <image>: which?", 2, "First <image>, then <image>: which?"),
        ("What?", 3, "What?"),
    ],
)
def test_placeholders_at_the_ends_are_cut_and_inside_a_sentence_stay(text, images, kept):
    (question,) = read_dialogue(talk(text, "a"), kind="vqa", num_images=images)
    assert question.question == kept


def test_a_placeholder_without_an_image_is_refused():
    with pytest.raises(Refused) as caught:
        read_dialogue(talk("<image>\nWhat?", "a"), kind="text_only", num_images=0)
    assert caught.value.reason == "placeholder_count_differs"


def test_a_system_turn_may_be_dropped():
    turns = [{"from": "system", "value": "Be brief."}, *talk("a", "b")]
    assert [q.question for q in read_dialogue(turns, kind="vqa", num_images=0, drop_system=True)] == ["a"]
