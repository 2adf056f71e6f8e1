"""Secrets out of everything written to the tracking store: by the name of a key, by the look of a value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

HIDDEN = "[redacted]"
SECRET_WORDS = {
    "password",
    "passwd",
    "secret",
    "secrets",
    "token",
    "credential",
    "credentials",
    "apikey",
    "authorization",
}
SECRET_PAIRS = {("api", "key"), ("access", "key"), ("private", "key"), ("secret", "key"), ("patient", "key")}
URI_LOGIN = re.compile(r"(?P<scheme>\b[a-zA-Z][a-zA-Z0-9+.\-]*://)[^/\s@]*@")
QUERY = re.compile(
    r"(?i)(?P<name>\b(?:password|passwd|secret|token|api_?key|access_?key|signature|sig)=)[^&\s\"']+"
)
SHAPES = re.compile(
    r"\bAKIA[0-9A-Z]{16}\b|\bsk-[A-Za-z0-9_\-]{16,}|\bgh[pousr]_[A-Za-z0-9]{20,}|\bhf_[A-Za-z0-9]{20,}"
    r"|(?<=Bearer )[A-Za-z0-9._\-]{12,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
)
SHORTEST_SECRET = 6


def is_secret_name(name: str) -> bool:
    """Say whether a key's name promises a secret ("db.password" does, "max_new_tokens" does not)."""
    words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
    return bool(SECRET_WORDS.intersection(words) or SECRET_PAIRS.intersection(zip(words, words[1:], strict=False)))


def redact(text: str, known: Iterable[str] = ()) -> str:
    """Hide logins in URIs, secret query values, well-known token shapes, and the `known` secrets themselves."""
    for secret in known:
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, HIDDEN)
    text = URI_LOGIN.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = QUERY.sub(rf"\g<name>{HIDDEN}", text)
    return SHAPES.sub(HIDDEN, text)


def redact_mapping(values: Mapping[str, object], known: Iterable[str] = ()) -> dict[str, str]:
    """Turn values into text with every secret hidden."""
    secrets = tuple(known)
    return {
        name: HIDDEN if is_secret_name(name) and str(value) else redact(str(value), secrets)
        for name, value in values.items()
    }
