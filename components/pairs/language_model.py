"""Pairs whose words a language model writes, guided by the annotation; the rest is left to the templates.

A whole image gets a caption, boxed objects get region captions, and the image gets free questions (paper,
Table 2). Perception questions, reports, comparisons and text-only conversations are written too where the settings
ask for it. What a source says in its own words stays. A record whose source does not allow it
never reaches somebody else's model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from components.pairs import conversations, regions, reports
from components.pairs.comparisons import DERIVED_SHARE
from components.pairs.draft import Draft, Scene, make_scene
from components.pairs.endpoint import ChatEndpoint, TextModel
from components.pairs.facts import AbsenceFact, BoxFact, present_labels
from components.pairs.generate import TALK_SHARE, TemplateGenerator, pair_of
from components.pairs.instructions import INSTRUCT_PAIRS
from components.pairs.prompts import Prompt, make_prompt
from components.pairs.replies import ReplyRefused, Row, read_reply
from components.pairs.reply_cache import RememberingModel
from components.pairs.surroundings import Partner, Surroundings
from components.pairs.wording.chinese import WORDING as CHINESE
from components.pairs.wording.english import WORDING as ENGLISH
from components.pairs.wording.language import Wording, box_text
from components.records import Generator, Pair, Record, Turn, stable_id
from components.settings import LanguageWriter, language_model_key

VERSION = "1"
QUESTION_TYPES = {
    "caption": "caption", "region_caption": "region", "percept": "perceived", "report": reports.QUESTION_TYPE,
    "comparison": "compared", "text_only": conversations.QUESTION_TYPE,
}  # fmt: skip
TALK_EXCHANGES = 2
SPEAKERS = ("human", "gpt")


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt and the question that its caption answers ("" where the model asks the questions itself)."""

    prompt: Prompt
    question: str = ""
    labels: tuple[str, ...] = ()
    record_ids: tuple[str, ...] = ()


class LanguageModelGenerator:
    """Writes with a language model where it may, with templates elsewhere.

    `allowed` maps a source to whether its records may reach somebody else's model; an unknown source may not, and
    the templates write all of its pairs.
    """

    def __init__(
        self, model: RememberingModel, templates: TemplateGenerator, *,
        allowed: Mapping[str, bool], options: LanguageWriter,
    ) -> None:  # fmt: skip
        self.model, self.templates, self.allowed, self.options = model, templates, dict(allowed), options
        self.seed = templates.seed
        self.generator = Generator("language_model", VERSION, "", model.name, self.seed)

    def generate(self, record: Record, *, around: Surroundings, kinds: Sequence[str]) -> Iterator[Pair]:
        """Yield the record's pairs; what could not be written comes refused, with its reason."""
        if self.model.is_third_party and not self.allowed.get(record.source, False):
            yield from self.templates.generate(record, around=around, kinds=kinds)
            return
        rest = [kind for kind in kinds if kind not in self.options.kinds]
        mine = [kind for kind in kinds if kind in self.options.kinds]
        yield from self.templates.generate(record, around=around, kinds=rest)
        quoted = self.templates.generate(record, around=around, kinds=mine)
        yield from (pair for pair in quoted if pair.generator.name == "source")
        scene = make_scene(record, around)
        for kind in (kind for kind in mine if record.width):
            rng = Random(stable_id(self.seed, record.record_id, "language_model", kind))
            for request in self._requests(kind, scene, rng):
                yield from self._written(request, scene)

    def bill(self) -> dict[str, float | int | str]:
        """Return what the replies cost; the same replies cost the same whether asked for or remembered."""
        usage, options = self.model.usage, self.options
        return {
            "model": self.model.name, "replies": usage.asked + usage.remembered,
            "prompt_tokens": usage.prompt_tokens, "reply_tokens": usage.reply_tokens,
            "cost": usage.cost(prompt_price=options.prompt_price, reply_price=options.reply_price),
        }  # fmt: skip

    def traffic(self) -> dict[str, float]:
        """Return how many replies were asked for now and how many were remembered."""
        return {"replies_asked": self.model.usage.asked, "replies_remembered": self.model.usage.remembered}

    def _requests(self, kind: str, scene: Scene, rng: Random) -> Iterator[Request]:
        wording = CHINESE if rng.random() < self.templates.chinese_share else ENGLISH
        if kind == "region_caption":
            for fact in regions.choose_regions(scene, rng, self.templates.max_regions):
                question = wording.say("describe_region_question", rng, referred=box_text(fact.box))
                yield Request(self._prompt(kind, scene, wording.language, box=fact), question, (fact.label,))
        elif kind == "caption":
            question = wording.say("caption_question", rng)
            yield Request(self._prompt(kind, scene, wording.language), question, present_labels(scene.record))
        elif kind == "report":
            yield from self._report(scene, wording, rng)
        elif kind == "comparison":
            yield from self._comparison(scene, wording, rng)
        elif kind != "text_only" or rng.random() < TALK_SHARE:
            yield Request(self._prompt(kind, scene, wording.language), labels=present_labels(scene.record))

    def _report(self, scene: Scene, wording: Wording, rng: Random) -> Iterator[Request]:
        """Ask for a report where the source has none of its own and the annotation says something to report."""
        labels = present_labels(scene.record)
        if scene.record.text_kind != "report" and (labels or scene.all(AbsenceFact)):
            question = wording.say("report_question", rng)
            yield Request(self._prompt("report", scene, wording.language), question, labels)

    def _comparison(self, scene: Scene, wording: Wording, rng: Random) -> Iterator[Request]:
        """Ask for a comparison with another image of the study, of as many records as templates compare."""
        partners = scene.around.partners_of(scene.record)
        if partners and scene.record.regions_complete and rng.random() < DERIVED_SHARE:
            other = rng.choice(partners)
            labels = tuple(sorted({*present_labels(scene.record), *other.present}))
            prompt = self._prompt("comparison", scene, wording.language, other=other)
            yield Request(prompt, labels=labels, record_ids=(scene.record.record_id, other.record_id))

    def _prompt(
        self, kind: str, scene: Scene, language: str, *, box: BoxFact | None = None, other: Partner | None = None
    ) -> Prompt:
        options = self.options
        count = {"comparison": 1, "text_only": TALK_EXCHANGES}.get(kind, INSTRUCT_PAIRS)
        return make_prompt(
            kind, scene, language=language, box=box, other=other, count=count, sends_image=options.sends_image,
            temperature=options.temperature, max_tokens=options.max_tokens,
        )  # fmt: skip

    def _written(self, request: Request, scene: Scene) -> Iterator[Pair]:
        reason = ""
        for attempt in range(self.options.attempts):
            seed = self.seed + attempt
            try:
                reply = self.model.complete(request.prompt, seed=seed, record=scene.record)
                rows = read_reply(request.prompt.kind, reply.text, request.prompt.language)
            except ReplyRefused as error:
                reason = error.reason
                if error.is_final:
                    break
                continue
            yield from (self._pair(request, scene, row, seed=seed) for row in dict.fromkeys(rows))
            return
        yield self._refused(request, scene, reason)

    def _pair(self, request: Request, scene: Scene, row: Row, *, seed: int) -> Pair:
        prompt, kind = request.prompt, request.prompt.kind
        question = row.question or request.question
        if row.options:
            wording = CHINESE if prompt.language == "zh" else ENGLISH
            rng = Random(stable_id(scene.record.record_id, *row.texts))
            question += wording.separator + wording.say("choices", rng, options=wording.listed(row.options))
        turns = [Turn(speaker, said) for pair in row.further for speaker, said in zip(SPEAKERS, pair, strict=True)]
        draft = Draft(
            kind, QUESTION_TYPES.get(kind, "free"), question, row.answer, row.answer, prompt.language,
            options=row.options, labels=request.labels, record_ids=request.record_ids, further=tuple(turns),
            has_images=kind != "text_only",
        )  # fmt: skip
        return pair_of(draft, scene.record, replace(self.generator, prompt_hash=prompt.hash, seed=seed))

    def _refused(self, request: Request, scene: Scene, reason: str) -> Pair:
        row = Row(request.question or request.prompt.kind, "")
        pair = self._pair(request, scene, row, seed=self.seed)
        return replace(pair, rejected_reason=reason)


def open_language_model(options: LanguageWriter) -> RememberingModel:
    """Open the endpoint or the local folder that the settings name, with its replies kept on disk."""
    if options.endpoint:
        model: TextModel = ChatEndpoint(
            options.endpoint, options.model, key=language_model_key(), retries=options.retries,
            back_off_seconds=options.back_off_seconds, timeout_seconds=options.timeout_seconds,
        )  # fmt: skip
    else:
        from components.pairs.local_model import LocalModel

        model = LocalModel(Path(options.model))
    return RememberingModel(model, Path(options.cache))
