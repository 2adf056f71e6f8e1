"""The interface of everything that makes pairs from a record, and the maker that renders templates.

A language model may join as another PairGenerator; whatever makes a pair, its text is read back and compared
with the annotation (`parse_back`) before it is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import Protocol

from components.pairs import comparisons, conversations, instructions, perception, regions, reports, source_text
from components.pairs.captions import write_caption
from components.pairs.draft import Draft, Scene, make_scene
from components.pairs.knowledge import BOX_ENTRY, MODALITY_ENTRIES, PLANE_ENTRIES, SIDE_ENTRY
from components.pairs.surroundings import Surroundings
from components.pairs.wording.chinese import WORDING as CHINESE
from components.pairs.wording.english import WORDING as ENGLISH
from components.pairs.wording.language import TermMissing, Wording
from components.pairs.wording.written import CHINESE_SHAPES, ENGLISH_SHAPES, written
from components.records import Generator, Pair, Record, Turn, stable_id

VERSION = "2"
PLACEHOLDER = "<image>"
TALK_SHARE = (
    0.25  # of records get a text-only conversation: the glossary is small, and said often it is learnt by rote
)
WRITTEN_TYPES = (reports.QUESTION_TYPE, conversations.QUESTION_TYPE)
Maker = Callable[[Scene, Wording, Random], Draft | None]


class PairGenerator(Protocol):
    """Makes pairs from one record; the same record, surroundings and generator give the same pairs."""

    generator: Generator

    def generate(self, record: Record, *, around: Surroundings, kinds: Sequence[str]) -> Iterator[Pair]:
        """Yield the pairs of the wanted kinds."""
        ...


class TemplateGenerator:
    """Renders facts with wording templates, in English and Chinese.

    Chance comes from (seed, record_id, kind) alone, never from the order of the work. `chinese_share` is
    the share of pairs tried in Chinese, 0-1; `max_questions` and `max_regions` bound the pairs a record.
    `writes` are kinds ("report", "text_only") that are written for records whose source has no words of the kind.
    """

    def __init__(
        self, *, seed: int, chinese_share: float, max_questions: int, max_regions: int, writes: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.seed, self.chinese_share = seed, chinese_share
        self.max_questions, self.max_regions, self.writes = max_questions, max_regions, tuple(writes)
        self.generator = Generator("templates", VERSION, wording_hash(), "none", seed)
        self.writer = replace(self.generator, prompt_hash=written_hash())

    def again(self, *, seed: int) -> TemplateGenerator:
        """Return this generator under another seed."""
        return TemplateGenerator(
            seed=seed, chinese_share=self.chinese_share, max_questions=self.max_questions,
            max_regions=self.max_regions, writes=self.writes,
        )  # fmt: skip

    def generate(self, record: Record, *, around: Surroundings, kinds: Sequence[str]) -> Iterator[Pair]:
        """Yield the record's pairs of the wanted kinds, each pair_id once."""
        scene = make_scene(record, around)
        seen: set[str] = set()
        for kind in kinds:
            rng = Random(stable_id(self.seed, record.record_id, kind))
            for draft in self._drafts(kind, scene, rng):
                is_written = draft.question_type in WRITTEN_TYPES and not draft.is_source_text
                pair = pair_of(draft, record, self.writer if is_written else self.generator)
                if pair.pair_id not in seen:
                    seen.add(pair.pair_id)
                    yield pair

    def _drafts(self, kind: str, scene: Scene, rng: Random) -> Iterator[Draft]:
        makers: dict[str, Callable[[Scene, Random], Iterator[Draft]]] = {
            "caption": self._captions, "region_caption": self._regions, "percept": self._percepts,
            "instruct": self._instructions, "comparison": self._comparisons, "report": self._reports,
            "text_only": self._conversations,
        }  # fmt: skip
        if not scene.record.has_pixels:
            makers = {"report": self._reports, "caption": self._quoted_caption}
        if kind in makers:
            yield from makers[kind](scene, rng)
        yield from source_text.quote_questions(scene, kind)

    def _try(self, maker: Maker, scene: Scene, rng: Random) -> Iterator[Draft]:
        """Run a maker in a language of chance; a term without a Chinese name turns the pair to English."""
        wording = CHINESE if rng.random() < self.chinese_share else ENGLISH
        try:
            draft = maker(scene, wording, rng)
        except TermMissing:
            draft = maker(scene, ENGLISH, rng)
        if draft is not None:
            yield draft

    def _captions(self, scene: Scene, rng: Random) -> Iterator[Draft]:
        yield from self._try(write_caption, scene, rng)
        yield from self._quoted_caption(scene, rng)

    def _quoted_caption(self, scene: Scene, rng: Random) -> Iterator[Draft]:
        wording = CHINESE if scene.record.language == "zh" else ENGLISH
        quoted = source_text.quote_caption(scene, wording, rng)
        if quoted is not None:
            yield quoted

    def _reports(self, scene: Scene, rng: Random) -> Iterator[Draft]:
        wording = CHINESE if scene.record.language == "zh" else ENGLISH
        yield from source_text.quote_report(scene, wording, rng)
        if "report" in self.writes and scene.record.has_pixels and scene.record.text_kind != "report":
            yield from self._try_written(reports.write_report, scene, rng)

    def _conversations(self, scene: Scene, rng: Random) -> Iterator[Draft]:
        if "text_only" in self.writes and rng.random() < TALK_SHARE:
            yield from self._try_written(conversations.write_conversation, scene, rng)

    def _try_written(self, maker: Maker, scene: Scene, rng: Random) -> Iterator[Draft]:
        """Run a maker of a long text, with the shapes that only long texts have."""
        yield from self._try(lambda s, w, r: maker(s, written(w.language), r), scene, rng)

    def _regions(self, scene: Scene, rng: Random) -> Iterator[Draft]:
        for index, fact in enumerate(regions.choose_regions(scene, rng, self.max_regions)):
            maker = regions.ask_box if fact.is_unique and index % 2 == 0 else regions.describe_region
            yield from self._try(lambda s, w, r, m=maker, f=fact: m(s, w, r, fact=f), scene, rng)

    def _percepts(self, scene: Scene, rng: Random) -> Iterator[Draft]:
        asked: set[tuple[object, ...]] = set()
        for maker in perception.plan_questions(rng):
            for draft in self._try(maker, scene, rng):
                key = (draft.question_type, draft.labels)
                if key not in asked:
                    asked.add(key)
                    yield draft
            if len(asked) >= self.max_questions:
                return

    def _instructions(self, scene: Scene, rng: Random) -> Iterator[Draft]:
        made = 0
        for maker in rng.sample(instructions.MAKERS, len(instructions.MAKERS)):
            for draft in self._try(maker, scene, rng):
                yield draft
                made += 1
            if made >= instructions.INSTRUCT_PAIRS:
                return

    def _comparisons(self, scene: Scene, rng: Random) -> Iterator[Draft]:
        yield from self._try(comparisons.compare_as_stated, scene, rng)
        if rng.random() < comparisons.DERIVED_SHARE:
            yield from self._try(comparisons.compare_with_partner, scene, rng)


def pair_of(draft: Draft, record: Record, generator: Generator) -> Pair:
    """Put a draft beside its record's columns; the first turn begins with one `<image>` a record.

    A source's own turn may have them where its sentence needs them; then they stay there.
    """
    record_ids = (draft.record_ids or record.image_ids) if draft.has_images else ()
    placed = PLACEHOLDER in draft.question
    question = draft.question if placed else f"{PLACEHOLDER}\n" * len(record_ids) + draft.question
    made_by = Generator("source", VERSION, "", "none", generator.seed) if draft.is_source_text else generator
    named = record_ids if record.has_pixels and draft.has_images else (record.record_id,)
    said = (question, draft.text, *(turn.value for turn in draft.further))
    return Pair(
        pair_id=stable_id(*named, draft.kind, draft.question_type, *said),
        record_ids=record_ids, source=record.source, kind=draft.kind,
        conversations=(Turn("human", question), Turn("gpt", draft.text), *draft.further),
        language=draft.language, generator=made_by, modality=record.modality, department=record.department,
        task=record.task, patient_key=record.patient_key, split=record.split, licence=record.licence,
        question_type=draft.question_type, answer=draft.answer, options=draft.options, labels=draft.labels,
        boxes=draft.boxes,
    )  # fmt: skip


def written_hash() -> str:
    """Return a hash of the sentence shapes of written reports and conversations, and of what the glossary says."""
    shapes = [f"{key}\x1e{value}" for found in (ENGLISH_SHAPES, CHINESE_SHAPES) for key, value in found.items()]
    entries = (*MODALITY_ENTRIES.values(), *PLANE_ENTRIES.values(), SIDE_ENTRY, BOX_ENTRY)
    return stable_id(wording_hash(), *shapes, *(said for entry in entries for said in (entry.en, entry.zh)))


def wording_hash() -> str:
    """Return a hash of every sentence shape of both languages, so that a changed wording shows in each pair."""
    return stable_id(*(f"{key}\x1e{shapes}" for w in (ENGLISH, CHINESE) for key, shapes in w.shapes.items()))
