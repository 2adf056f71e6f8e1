"""Replies on disk when several workers ask at once, and when another model asks."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from components.pairs.draft import make_scene
from components.pairs.endpoint import Reply
from components.pairs.prompts import make_prompt
from components.pairs.reply_cache import RememberingModel
from components.pairs.surroundings import Surroundings
from tests.fakes.scans import make_scan


class Slow:
    """A local model that takes its time and counts."""

    is_third_party, asked = False, 0

    def __init__(self, name: str = "slow") -> None:
        self.name = name

    def complete(self, prompt, *, seed):
        self.asked += 1
        time.sleep(0.02)
        return Reply("text", 1, 1)


def test_the_same_prompt_at_once_is_asked_and_written_once(tmp_path) -> None:
    model = RememberingModel(Slow(), tmp_path)
    record = make_scan()
    prompt = make_prompt("caption", make_scene(record, Surroundings()), language="en")
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: model.complete(prompt, seed=1), range(24)))
    assert (model.model.asked, len(set(replies))) == (1, 1)
    assert (model.usage.asked, model.usage.remembered) == (1, 23)
    other = RememberingModel(Slow("another"), tmp_path)
    other.complete(prompt, seed=1)
    assert other.usage.asked == 1, "another model's reply was taken"
