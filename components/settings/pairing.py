"""Settings of what makes a pair's text: templates or a language model, and how pairs are varied afterwards."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from components.settings.base import Frozen, Positive, Share


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
    prompt_price: float = Field(default=0.0, ge=0, description="money for a million prompt tokens")
    reply_price: float = Field(default=0.0, ge=0, description="money for a million reply tokens")


class Augmentation(Frozen):
    """Varying of finished pairs; every default leaves them as they were made."""

    turns: Positive = Field(default=1, description="questions of one image in one conversation, at most")
    paraphrase_share: Share = Field(default=0.0, description="share of pairs said once more in other words")
    jitter_share: Share = Field(default=0.0, description="share of box questions asked again of a shrunk box")
    jitter: float = Field(default=0.1, ge=0, le=0.25, description="most a side moves inwards, share of the box")
    balance: float = Field(default=0.0, ge=0, description="most pairs of one question type, times the mean; 0 off")


class Generating(Frozen):
    """Which generator makes the texts."""

    generator: Literal["templates", "language_model"] = "templates"
    denied_sources: Literal["raise", "templates"] = Field(
        default="raise",
        description="sources that may not reach a language model on another machine",
    )
    language_model: LanguageWriter = LanguageWriter()
    augmentation: Augmentation = Augmentation()

    @model_validator(mode="after")
    def _a_language_model_is_named(self) -> Generating:
        if self.generator == "language_model" and not self.language_model.model:
            raise ValueError("generator: language_model needs language_model.model")
        return self
