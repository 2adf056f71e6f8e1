"""Settings of what makes a pair's text: templates or a language model, and how pairs are varied afterwards."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from components.settings.base import Frozen, Positive, Share

# What may stand in an address besides its host: none of it, for it would be written into params.yaml and the runs.
SECRET_PLACES = ("@", "?", "#")
LanguageKind = Literal["caption", "region_caption", "instruct", "percept", "comparison", "report", "text_only"]


class LanguageWriter(Frozen):
    """The language model that may write texts; its key comes from GMAI_LLM_API_KEY and from nowhere else.

    `endpoint` is the base address of any OpenAI-compatible service ("http://127.0.0.1:8000/v1"), or "" for a
    transformers model in the folder `model`.
    """

    endpoint: str = ""
    model: str = Field(default="", description="the endpoint's name of the model, or its folder here")
    sends_image: bool = Field(default=True, description="false sends the annotation alone")
    temperature: float = Field(default=0.0, ge=0, le=2)
    max_tokens: Positive = Field(default=512, description="longest reply")
    attempts: Positive = Field(default=3, description="requests until an unreadable reply is refused")
    retries: int = Field(default=5, ge=0, description="repeats of a request that failed on the way")
    back_off_seconds: float = Field(default=1.0, ge=0, description="first wait; it doubles each time")
    timeout_seconds: float = Field(default=120.0, gt=0)
    workers: Positive = Field(default=4, description="requests at once")
    cache: str = Field(default="var/language-model", description="folder of the replies, kept between runs")
    kinds: tuple[LanguageKind, ...] = Field(
        default=("caption", "region_caption", "instruct"), description="kinds it writes; templates write the rest"
    )
    prompt_price: float = Field(default=0.0, ge=0, description="money for a million prompt tokens")
    reply_price: float = Field(default=0.0, ge=0, description="money for a million reply tokens")

    @model_validator(mode="after")
    def _no_secret_stands_in_the_address(self) -> LanguageWriter:
        if any(mark in self.endpoint for mark in SECRET_PLACES):
            raise ValueError("endpoint may hold no login and no query: the key comes from GMAI_LLM_API_KEY alone")
        return self


class Augmentation(Frozen):
    """Varying of finished pairs; every default leaves them as they were made."""

    turns: Positive = Field(default=1, description="questions of one image in one conversation, at most")
    paraphrase_share: Share = Field(default=0.0, description="share of pairs said once more in other words")
    jitter_share: Share = Field(default=0.0, description="share of box questions asked again of a shrunk box")
    jitter: float = Field(default=0.1, ge=0, le=0.25, description="most a side moves inwards, share of the box")
    balance: float = Field(default=0.0, ge=0, description="most pairs of one question type, times the mean; 0 off")


class Choices(Frozen):
    """How hard closed questions are; every default draws wrong answers as common as the corpus makes them.

    A choice question takes the level `easy` (of another organ and modality), `medium` (of the same modality) or
    `hard` (of the same department, or seen together in the source) with these weights, among the levels that have
    enough wrong answers, and its question type says which: "organ/hard".
    """

    easy: Share = 0.0
    medium: Share = 0.0
    hard: Share = 0.0
    hard_negatives: Share = Field(
        default=0.0, description="share of images that are asked only of absent labels that often go with theirs"
    )


class Generating(Frozen):
    """Which generator makes the texts."""

    generator: Literal["templates", "language_model"] = "templates"
    denied_sources: Literal["raise", "templates"] = Field(
        default="raise",
        description="sources that may not reach a language model on another machine",
    )
    language_model: LanguageWriter = LanguageWriter()
    augmentation: Augmentation = Augmentation()
    choices: Choices = Choices()
    written: tuple[Literal["report", "text_only"], ...] = Field(
        default=(), description="kinds that templates write where the source has no words of the kind"
    )

    @model_validator(mode="after")
    def _a_language_model_is_named(self) -> Generating:
        if self.generator == "language_model" and not self.language_model.model:
            raise ValueError("generator: language_model needs language_model.model")
        return self
