"""Pairs whose words a language model writes, guided by the annotation; the rest is left to the templates.

A whole image gets a caption, boxed objects get region captions, and the image gets free questions (paper,
Table 2). Perception questions, comparisons and the source's own words stay with the templates: there the
annotation is the answer already. A record whose source does not allow it never reaches somebody else's model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from components.pairs import regions
from components.pairs.draft import Draft, Scene, make_scene
from components.pairs.endpoint import ChatEndpoint, TextModel
from components.pairs.facts import BoxFact, present_labels
from components.pairs.generate import TemplateGenerator, pair_of
from components.pairs.instructions import INSTRUCT_PAIRS
from components.pairs.prompts import Prompt, make_prompt
from components.pairs.replies import ReplyRefused, read_reply
from components.pairs.reply_cache import RememberingModel
from components.pairs.surroundings import Surroundings
from components.pairs.wording.chinese import WORDING as CHINESE
from components.pairs.wording.english import WORDING as ENGLISH
from components.pairs.wording.language import box_text
from components.records import Generator, Pair, Record, stable_id
from components.settings import LanguageWriter, language_model_key

VERSION = "1"
WRITTEN_KINDS = ("caption", "region_caption", "instruct")


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt and the question that its caption answers ("" where the model asks the questions itself)."""

    prompt: Prompt
    question: str = ""
    labels: tuple[str, ...] = ()


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
        rest = [kind for kind in kinds if kind not in WRITTEN_KINDS]
        yield from self.templates.generate(record, around=around, kinds=rest)
        if "caption" in kinds:
            quoted = self.templates.generate(record, around=around, kinds=("caption",))
            yield from (pair for pair in quoted if pair.generator.name == "source")
        scene = make_scene(record, around)
        for kind in (kind for kind in kinds if kind in WRITTEN_KINDS and record.width):
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
        else:
            yield Request(self._prompt(kind, scene, wording.language), labels=present_labels(scene.record))

    def _prompt(self, kind: str, scene: Scene, language: str, *, box: BoxFact | None = None) -> Prompt:
        options = self.options
        return make_prompt(
            kind, scene, language=language, box=box, count=INSTRUCT_PAIRS, sends_image=options.sends_image,
            temperature=options.temperature, max_tokens=options.max_tokens,
        )  # fmt: skip

    def _written(self, request: Request, scene: Scene) -> Iterator[Pair]:
        reason = ""
        for attempt in range(self.options.attempts):
            seed = self.seed + attempt
            try:
                reply = self.model.complete(request.prompt, seed=seed)
                rows = read_reply(request.prompt.kind, reply.text, request.prompt.language)
            except ReplyRefused as error:
                reason = error.reason
                if error.is_final:
                    break
                continue
            yield from (self._pair(request, scene, row, seed=seed) for row in dict.fromkeys(rows))
            return
        yield self._refused(request, scene, reason)

    def _pair(self, request: Request, scene: Scene, row: tuple[str, str], *, seed: int) -> Pair:
        prompt, (question, text) = request.prompt, row
        kind = prompt.kind
        question_type = {"caption": "caption", "region_caption": "region"}.get(kind, "free")
        draft = Draft(
            kind, question_type, question or request.question, text, text, prompt.language, labels=request.labels
        )  # fmt: skip
        return pair_of(draft, scene.record, replace(self.generator, prompt_hash=prompt.hash, seed=seed))

    def _refused(self, request: Request, scene: Scene, reason: str) -> Pair:
        pair = self._pair(request, scene, (request.question or request.prompt.kind, ""), seed=self.seed)
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
