"""How far a new corpus has moved from the last accepted one: population stability index, column by column.

A profile is counts only: classes, image sizes, brightness, text lengths. The check stage writes the profile of
what it judges; `gmai accept-corpus` makes it the accepted one (`metrics/accepted_profile.json`, kept by git, an
input of the stage). PSI = sum of (new - old) * ln(new / old) over shares of bins (Siddiqi, Credit Risk
Scorecards, 2006, section 6); by custom less than 0.1 is stable and more than 0.25 has moved.

Above `check.max_drift` the stage stops. A corpus of other sources than the accepted one was chosen so, in conf/:
its drift is shown and stops nothing until it is accepted.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.errors import DataError
from components.tracking.commit import write_json

if TYPE_CHECKING:
    import pyarrow as pa

ACCEPTED = Path("metrics/accepted_profile.json")
PROFILE = "profile.json"
REFUSED = Path("var/reports/profile-of-drift.json")
CLASSES = ("kind", "modality", "department", "task", "source", "language", "question_type", "split")
MEASURED = ("width", "height", "entropy", "brightness")
# Edges of the bins, open at both ends: pixels, share of full brightness, bits, characters.
EDGES: dict[str, tuple[float, ...]] = {
    "shorter side": (32, 64, 96, 128, 192, 256, 384, 512, 768, 1024),
    "longer side": (32, 64, 96, 128, 192, 256, 384, 512, 768, 1024),
    "brightness": (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    "entropy": (1, 2, 3, 4, 5, 6, 7),
    "question length": (20, 40, 60, 80, 120, 160, 240, 320, 480),
    "answer length": (4, 8, 16, 32, 64, 128, 256, 512, 1024),
}
LEAST_SHARE = 1e-4  # an empty bin counts as this share, or one new class would be an infinite distance
STABLE, MOVED = 0.1, 0.25
Profile = dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class Drift:
    """One column's distance, and the bin that moved most with its old and new share."""

    column: str
    psi: float
    bin: str
    old: float
    new: float

    @property
    def verdict(self) -> str:
        """Say in a word what the distance means."""
        return "stable" if self.psi < STABLE else "moving" if self.psi < MOVED else "moved"


def profile_of_pairs(pairs: pa.Table) -> Profile:
    """Count pairs (class columns and conversations) into bins."""
    asked, answered = text_lengths(pairs["conversations"])
    lengths = {"question length": asked, "answer length": answered}
    profile = {name: _counted(pairs[name]) for name in CLASSES}
    return profile | {name: _binned(values, EDGES[name]) for name, values in lengths.items()}


def profile_of_images(images: pa.Table) -> Profile:
    """Count images (those of MEASURED that the table has) into bins."""
    wide, high = np.asarray(images["width"]), np.asarray(images["height"])
    numbers: dict[str, np.ndarray[Any, Any]] = {
        "shorter side": np.minimum(wide, high), "longer side": np.maximum(wide, high),
        "entropy": np.asarray(images["entropy"]),
    }  # fmt: skip
    if "brightness" in images.column_names:
        numbers["brightness"] = np.asarray(images["brightness"])
    return {name: _binned(values, EDGES[name]) for name, values in numbers.items()}


def merged(one: Profile, other: Profile) -> Profile:
    """Return the profile of two parts together; a part without a column adds nothing to it."""
    together = {name: dict(counts) for name, counts in one.items()}
    for name, counts in other.items():
        column = together.setdefault(name, {})
        for value, number in counts.items():
            column[value] = column.get(value, 0) + number
    return together


def text_lengths(conversations: pa.ChunkedArray) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the characters of all human turns and of all answers."""
    from components.pairs.columns import arrow_compute

    pc = arrow_compute()
    turns = conversations.combine_chunks().flatten()
    lengths = np.asarray(pc.utf8_length(pc.struct_field(turns, "value")))
    is_human = np.asarray(pc.equal(pc.struct_field(turns, "speaker"), "human"))
    return lengths[is_human], lengths[~is_human]


def _counted(column: pa.ChunkedArray) -> dict[str, int]:
    return dict(sorted((row["values"] or "", row["counts"]) for row in column.value_counts().to_pylist()))


def _binned(values: np.ndarray[Any, Any], edges: Sequence[float]) -> dict[str, int]:
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    names = [f"< {edges[0]:g}", *(f"{low:g} to {high:g}" for low, high in zip(edges, edges[1:], strict=False))]
    return {name: int(count) for name, count in zip([*names, f">= {edges[-1]:g}"], counts, strict=True)}


def stability(old: Mapping[str, int], new: Mapping[str, int]) -> tuple[float, str]:
    """Return the population stability index of two counts, and the bin that contributes most ("" for none)."""
    names = sorted(old.keys() | new.keys())
    if not sum(old.values()) or not sum(new.values()):
        return 0.0, ""
    shares = [np.array([counts.get(name, 0) for name in names]) / sum(counts.values()) for counts in (old, new)]
    before, after = (np.maximum(share, LEAST_SHARE) for share in shares)
    parts = (after - before) * np.log(after / before)
    return round(float(parts.sum()), 6), names[int(parts.argmax())] if parts.any() else ""


def drift_between(old: Profile, new: Profile) -> list[Drift]:
    """Compare two profiles column by column, the farthest first; a column of one side only is left out."""
    found = []
    for column in sorted(old.keys() & new.keys()):
        psi, name = stability(old[column], new[column])
        before, after = (
            counts[column].get(name, 0) / max(1, sum(counts[column].values())) for counts in (old, new)
        )
        found.append(Drift(column, psi, name, round(before, 6), round(after, 6)))
    return sorted(found, key=lambda drift: (-drift.psi, drift.column))


def is_same_choice(accepted: Profile, profile: Profile, chosen: Collection[str]) -> bool:
    """Say whether the corpus is drawn from the accepted one's sources; one of them without pairs does not count.

    `chosen` are the corpus's sources in the settings: a source that lost all its pairs is drift, one that was
    taken off the list is not.
    """
    before = {name for name, number in accepted.get("source", {}).items() if number}
    now = {name for name, number in profile.get("source", {}).items() if number}
    return before <= set(chosen) and now <= before


def offer_profile(profile: Profile, failed: Collection[str], *, path: Path = REFUSED) -> None:
    """Keep the profile of a corpus that nothing but drift stopped, so that it can be accepted; else none."""
    if set(failed) == {"drift"}:
        write_json(path, profile)
    else:
        path.unlink(missing_ok=True)


def load_profile(path: Path = ACCEPTED) -> Profile | None:
    """Read a profile, None when there is none.

    Raises:
        DataError: the file is no profile.
    """
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text())
        return {str(name): {str(k): int(v) for k, v in counts.items()} for name, counts in content.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise DataError(f"not a profile: {error}", where=str(path), fix="gmai accept-corpus") from error


def accept_corpus(checked: Path, *, refused: Path = REFUSED, target: Path = ACCEPTED) -> None:
    """Make the last corpus that passed the check, or failed it for drift alone, the one later ones are held to.

    Raises:
        DataError: there is no such corpus.
    """
    profile = load_profile(refused) or load_profile(checked / PROFILE)
    if profile is None:
        raise DataError("no checked corpus", where=str(checked), fix="dvc repro check")
    write_json(target, profile)
    refused.unlink(missing_ok=True)
