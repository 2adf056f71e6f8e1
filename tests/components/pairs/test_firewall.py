from __future__ import annotations

from components.pairs.firewall import REASON, Firewall, grams_of, held_out_links
from components.pairs.images import ImageFacts

LONG = "The liver lies in the upper left part of the image and covers about twelve per cent of it."


def facts(name: str, split: str, bits: int) -> ImageFacts:
    return ImageFacts(name, name, split, name, bits, 64, 64, 5.0)


def row(record_id: str, said: str, split: str = "train") -> dict:
    turns = [{"speaker": "human", "value": "<image>\nDescribe."}, {"speaker": "gpt", "value": said}]
    return {"record_ids": [record_id], "split": split, "conversations": turns}


def test_grams_are_thirteen_words_and_a_short_text_is_one() -> None:
    assert grams_of("One, two!") == {("one", "two")}
    assert len(grams_of(LONG)) == 19 - 13 + 1
    assert len(grams_of("这是腹部的轴位图像可见肝脏和脾")) == 3


def test_links_join_training_images_to_alike_held_out_ones() -> None:
    images = [
        facts("a", "train", 0b11),
        facts("b", "train", 0xFFFF),
        facts("t", "test", 0),
        facts("v", "validation", 1),
    ]
    assert held_out_links(images, bits=2) == {"a": {"t", "v"}}


def test_a_training_pair_goes_only_when_image_and_words_both_match() -> None:
    firewall = Firewall({"a": {"t"}}, [row("t", LONG, "test"), row("u", "Another text.", "test")])
    assert firewall.reason(row("a", LONG)) == REASON
    assert firewall.reason(row("a", LONG + " And more.")) == REASON
    assert firewall.reason(row("a", "Something else.")) == ""
    assert firewall.reason(row("b", LONG)) == ""
    assert firewall.reason(row("t", LONG, "test")) == ""


def test_nothing_is_read_when_no_image_is_alike() -> None:
    def unread():
        raise AssertionError("the held-out pairs need not be read")
        yield

    assert Firewall({}, unread()).reason(row("a", LONG)) == ""
