"""An OpenAI-compatible endpoint: one chat request, with retries; the key is sent and never shown.

A request that fails on the way (no connection, time out, 408, 409, 429, 5xx) is repeated with doubling waits.
What the endpoint will never accept (another 4xx) is refused at once. Redirects are not followed, and a proxy of
the environment is not used for this machine's own address: nothing goes where the terms were not asked about.
"""

from __future__ import annotations

import base64
import ipaddress
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, ValidationError

from components.errors import ConfigError, DataError
from components.pairs.prompts import Prompt
from components.pairs.replies import ReplyRefused

REPEATED = {408, 409, 425, 429}
DENIED = {401, 403, 404}
LONGEST_WAIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said, and the tokens it cost."""

    text: str
    prompt_tokens: int = 0
    reply_tokens: int = 0


class TextModel(Protocol):
    """Answers a prompt."""

    @property
    def name(self) -> str:
        """What the model is called in every pair it writes."""
        ...

    @property
    def is_third_party(self) -> bool:
        """Whether the prompt leaves this machine."""
        ...

    def complete(self, prompt: Prompt, *, seed: int) -> Reply:
        """Return the reply; ReplyRefused when this prompt will never get one."""
        ...


class _Message(BaseModel):
    content: str


class _Choice(BaseModel):
    message: _Message


class _Usage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage = _Usage()


def is_loopback(address: str) -> bool:
    """Tell whether an address names this machine by its loopback; no name but localhost does."""
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass
class ChatEndpoint:
    """`POST {address}/chat/completions` (https://platform.openai.com/docs/api-reference/chat)."""

    address: str
    name: str
    key: str = field(default="", repr=False)
    retries: int = 5
    back_off_seconds: float = 1.0
    timeout_seconds: float = 120.0
    wait: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        import httpx

        if urlsplit(self.address).scheme not in ("http", "https"):
            raise ConfigError(f"not an http address: {self.address!r}", where="pair.language_model.endpoint")
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        self._client = httpx.Client(
            headers=headers, timeout=self.timeout_seconds, trust_env=self.is_third_party, follow_redirects=False
        )

    @property
    def is_third_party(self) -> bool:
        """Everything but this machine's loopback address."""
        return not is_loopback(self.address)

    def complete(self, prompt: Prompt, *, seed: int) -> Reply:
        """Ask once and repeat what failed on the way.

        Raises:
            ReplyRefused: `endpoint_refused`, the request itself is not accepted.
            ConfigError: the key, the address or the model is wrong.
            DataError: it still fails after all retries; replies so far are in the cache.
        """
        trouble = ""
        for attempt in range(self.retries + 1):
            if attempt:
                self.wait(min(LONGEST_WAIT_SECONDS, self.back_off_seconds * 2 ** (attempt - 1)))
            found = self._ask(request_body(prompt, self.name, seed))
            if isinstance(found, Reply):
                return found
            trouble = found
        raise DataError(
            f"the language model did not answer in {self.retries + 1} requests: {trouble}",
            where=self._place, fix="start it or mend pair.language_model, then: dvc repro pair (it resumes)",
        )  # fmt: skip

    @property
    def _place(self) -> str:
        """The address without login or query."""
        parts = urlsplit(self.address)
        return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"

    def _ask(self, body: Mapping[str, Any]) -> Reply | str:
        """Return the reply, or what went wrong in words when a repeat may help."""
        import httpx

        try:
            answer = self._client.post(f"{self.address.rstrip('/')}/chat/completions", json=body)
        except httpx.TransportError as error:
            return type(error).__name__
        status = answer.status_code
        if status in DENIED:
            fix = "set GMAI_LLM_API_KEY, and check pair.language_model.endpoint and .model"
            raise ConfigError(f"the endpoint answers {status}", where=self._place, fix=fix)
        if status in REPEATED or status >= 500:
            return f"status {status}"
        if status != 200:
            raise ReplyRefused("endpoint_refused", is_final=True)
        return _reply_of(answer.content)


def _reply_of(content: bytes) -> Reply | str:
    try:
        completion = _Completion.model_validate_json(content)
    except ValidationError:
        return "an answer that is no chat completion"
    usage = completion.usage
    return Reply(completion.choices[0].message.content, usage.prompt_tokens, usage.completion_tokens)


def request_body(prompt: Prompt, model: str, seed: int) -> dict[str, Any]:
    """Return the request as JSON values; an image goes as a data address."""
    content: list[dict[str, Any]] = [{"type": "text", "text": prompt.text}]
    if prompt.image:
        kind = prompt.image_format.lower()
        picture = f"data:image/{kind};base64,{base64.b64encode(prompt.image).decode()}"
        content.append({"type": "image_url", "image_url": {"url": picture}})
    return {
        "model": model, "temperature": prompt.temperature, "max_tokens": prompt.max_tokens, "seed": seed,
        "messages": [{"role": "system", "content": prompt.system}, {"role": "user", "content": content}],
    }  # fmt: skip
