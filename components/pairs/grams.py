"""13-grams of many texts at once, as 64-bit keys: lm-evaluation-harness's rule, without a Python object a gram.

A shorter text counts as one gram. Chinese is compared by characters. Two different grams share a key with a
chance of about one in 2^64 a comparison.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.pairs.columns import MIXER, Keys, hashed, mixed

GRAM_WORDS = 13
END = "\x1e"
TOKEN = re.compile(rf"[a-z0-9]+|[一-鿿]|{END}")
Rows = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Grams:
    """Row i of the texts has the gram `keys[j]` for every j with `rows[j] == i`; `words` counts words a text."""

    rows: Rows
    keys: Keys
    words: Rows


def grams_of(texts: Sequence[str]) -> Grams:
    """Return the 13-grams of texts, row by row."""
    tokens, ends = _tokens(texts)
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64)
    words = ends - starts
    number = np.maximum(1, words - GRAM_WORDS + 1)
    rows = np.repeat(np.arange(len(words)), number)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(number) - number, number)
    firsts = starts[rows] + within
    lengths = np.minimum(words, GRAM_WORDS)[rows]
    keys = np.full(len(rows), MIXER, dtype=np.uint64)
    for place in range(GRAM_WORDS):
        is_inside = place < lengths
        keys[is_inside] = mixed(keys[is_inside], tokens[firsts[is_inside] + place])
    return Grams(rows, keys, words)


def _tokens(texts: Sequence[str]) -> tuple[Keys, Rows]:
    """Return the keys of all words, texts ended by a marker, and the markers' places."""
    from pandas import factorize

    cleaned = (text.replace("<image>", "").replace(END, " ").lower() for text in texts)
    found = TOKEN.findall("".join(f"{text}{END}" for text in cleaned))
    codes, distinct = factorize(np.array(found, dtype=object))
    if not len(distinct):
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    keys = hashed(np.asarray(distinct, dtype=object))[codes]
    end = hashed(np.array([END], dtype=object))[0]
    return keys, np.flatnonzero(keys == end)
