"""Pairs in the source's own words: its captions, its reports, and the questions that it ships."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from components.pairs.draft import Draft, Scene
from components.pairs.wording.language import Wording


def quote_caption(scene: Scene, wording: Wording, rng: Random) -> Draft | None:
    """Return the source's written caption, word for word."""
    return _quote(scene, "caption", wording, rng)


def quote_report(scene: Scene, wording: Wording, rng: Random) -> Draft | None:
    """Return the source's report, word for word."""
    return _quote(scene, "report", wording, rng)


def quote_questions(scene: Scene) -> Iterator[Draft]:
    """Return the source's own questions with their gold answers."""
    for item in scene.record.questions:
        yield Draft(
            "vqa", item.question_type, item.question.strip(), item.answer.strip(), item.answer.strip(),
            scene.record.language, options=item.options, is_source_text=True,
        )  # fmt: skip


def _quote(scene: Scene, kind: str, wording: Wording, rng: Random) -> Draft | None:
    text = scene.record.text.strip()
    if scene.record.text_kind != kind or not text:
        return None
    question = wording.say(f"{kind}_question", rng)
    return Draft(kind, kind, question, text, text, scene.record.language, is_source_text=True)
