"""Which rows a training stage reads: a ratio for each kind of pair, each source and each language.

A row's fate depends on its own id and the seed alone, so adding rows never changes what happens to the others.
A source that a mixture does not name is read whole; a name that no card has would be that by mistake, and raises.
"""

from __future__ import annotations

import difflib
import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.data.catalog import CARDS, card_files
from components.errors import ConfigError
from components.records import Pair
from components.settings import Mixture, Recipe


def check_sources(recipe: Recipe, cards: Path = CARDS) -> None:
    """Refuse a recipe whose mixtures or sizes name a source without a card; where there are no cards, nothing.

    Raises:
        ConfigError: naming each place, the unknown name and its near matches.
    """
    if not cards.is_dir():
        return
    known = list(card_files(cards))
    named = {f"mixtures.{name}.sources": mixture.sources for name, mixture in recipe.mixtures.items()}
    wrong = [
        f"{place}: {source!r}{_near(source, known)}"
        for place, sources in {**named, "sizes": recipe.sizes}.items()
        for source in sources
        if source not in known
    ]
    if wrong:
        what = f"{len(wrong)} source(s) without a card:\n    " + "\n    ".join(wrong)
        raise ConfigError(what, where=f"recipe {recipe.name}", fix="gmai sources")


def _near(name: str, known: Sequence[str]) -> str:
    """Say which cards a name may mean: those that are spelled alike, then those that contain it."""
    alike = difflib.get_close_matches(name, known, n=3)
    matches = list(dict.fromkeys([*alike, *(card for card in known if name in card)]))[:3]
    return f"; near matches: {', '.join(matches)}" if matches else ""


def choose_pairs(pairs: Sequence[Pair], mixture: Mixture, *, seed: int) -> list[Pair]:
    """Return the pairs that a mixture reads, in their order, each as often as `sample_mixture` says."""
    indices = sample_mixture(
        pair_ids=[pair.pair_id for pair in pairs],
        kinds=[pair.kind for pair in pairs],
        sources=[pair.source for pair in pairs],
        languages=[pair.language for pair in pairs],
        kind_ratios=mixture.kinds,
        source_ratios=mixture.sources,
        language_ratios=dict(mixture.languages),
        seed=seed,
    )
    return [pairs[index] for index in indices]


def sample_mixture(
    pair_ids: Sequence[str], kinds: Sequence[str], sources: Sequence[str], languages: Sequence[str], *,
    kind_ratios: Mapping[str, float], source_ratios: Mapping[str, float], language_ratios: Mapping[str, float],
    seed: int,
) -> np.ndarray[Any, np.dtype[np.int64]]:  # fmt: skip
    """Return the row numbers to read, in order, a row n times when its ratio asks for n.

    The ratio of a row is that of its kind (0 when absent) times those of its source and its language (1 when
    absent). A ratio of 2.3 gives two copies and, to the 30 % of rows whose hash says so, a third.

    Raises:
        ValueError: columns of different lengths, or a negative ratio.
    """
    lengths = [len(column) for column in (pair_ids, kinds, sources, languages)]
    if len(set(lengths)) > 1:
        raise ValueError(f"columns of {lengths} rows")
    if min((*kind_ratios.values(), *source_ratios.values(), *language_ratios.values()), default=0) < 0:
        raise ValueError("a mixture ratio is negative")
    copies = [
        _copies(
            pair_id,
            kind_ratios.get(kind, 0.0) * source_ratios.get(source, 1.0) * language_ratios.get(language, 1.0),
            seed,
        )
        for pair_id, kind, source, language in zip(pair_ids, kinds, sources, languages, strict=True)
    ]
    return np.repeat(np.arange(len(copies), dtype=np.int64), copies)


def _copies(pair_id: str, ratio: float, seed: int) -> int:
    whole = math.floor(ratio)
    rest = ratio - whole
    return whole + (rest > 0 and unit_hash(pair_id, seed) < rest)


def unit_hash(pair_id: str, seed: int) -> float:
    """Return a number of [0, 1) that depends on the id and the seed alone."""
    digest = hashlib.blake2b(f"{seed}\x1f{pair_id}".encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big") / 2**56
