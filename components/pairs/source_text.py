"""Pairs in the source's own words: its captions, reports and conversations, and the questions that it ships.

A record without pixels speaks of the images that it names, or of none; its pairs are those of its text alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from components.data.report_text import split_sections
from components.pairs.draft import Draft, Scene
from components.pairs.report_prompts import ask_section
from components.pairs.wording.language import Wording
from components.records import CONTINUES, PAIR_KINDS, Language, SourceQuestion, Turn

LETTERS = "ABCDEFGHIJ"
TEXT_ONLY = "text_only"


def quote_caption(scene: Scene, wording: Wording, rng: Random) -> Draft | None:
    """Return the source's written caption, word for word."""
    return _quote(scene, "caption", wording, rng)


def quote_report(scene: Scene, wording: Wording, rng: Random) -> Iterator[Draft]:
    """Return the source's report, word for word, then its findings and impression where it has both."""
    whole = _quote(scene, "report", wording, rng)
    if whole is None:
        return
    yield whole
    sections = split_sections(whole.text)
    for name, text in sections.items() if len(sections) > 1 else ():
        question = ask_section(name, wording.language, rng)
        yield Draft("report", name, question, text, text, wording.language, is_source_text=True)


def quote_questions(scene: Scene, kind: str = "vqa") -> Iterator[Draft]:
    """Return the source's own questions and conversations of one kind, each conversation's turns in order."""
    for first, *further in dialogues_of(scene.record.questions):
        if _kind_of(first, has_images=bool(scene.record.image_ids)) == kind:
            yield _dialogue(first, further, kind, scene.record.language)


def dialogues_of(questions: tuple[SourceQuestion, ...]) -> Iterator[list[SourceQuestion]]:
    """Part a record's questions into conversations: a question that CONTINUES goes to the one before it."""
    current: list[SourceQuestion] = []
    for question in questions:
        if current and question.question_type != CONTINUES:
            yield current
            current = []
        current.append(question)
    if current:
        yield current


def language_of(text: str, stated: str) -> Language:
    """Tell Chinese from English by the script; the record's language decides where there are no letters."""
    if any("\u3400" <= letter <= "\u9fff" for letter in text):
        return "zh"
    return "en" if any(letter.isalpha() for letter in text) or stated != "zh" else "zh"


def with_options(question: str, options: tuple[str, ...]) -> str:
    """Put lettered options below a question, one a line."""
    return "\n".join([question, *(f"{letter}. {text}" for letter, text in zip(LETTERS, options, strict=False))])


def _kind_of(first: SourceQuestion, *, has_images: bool) -> str:
    if not has_images:
        return TEXT_ONLY
    return first.question_type if first.question_type in PAIR_KINDS else "vqa"


def _dialogue(first: SourceQuestion, further: list[SourceQuestion], kind: str, language: str) -> Draft:
    asked, said = first.question.strip(), first.answer.strip()
    is_named = first.question_type in PAIR_KINDS or kind == TEXT_ONLY
    turns = [
        Turn(speaker, text.strip())
        for one in further
        for speaker, text in (("human", one.question), ("gpt", one.answer))
    ]
    return Draft(
        kind, "conversation" if is_named else first.question_type, with_options(asked, first.options), said, said,
        language_of(asked + said, language), options=first.options, is_source_text=True, further=tuple(turns),
    )  # fmt: skip


def _quote(scene: Scene, kind: str, wording: Wording, rng: Random) -> Draft | None:
    text = scene.record.text.strip()
    if scene.record.text_kind != kind or not text:
        return None
    question = wording.say(f"{kind}_question", rng)
    return Draft(kind, kind, question, text, text, scene.record.language, is_source_text=True)
