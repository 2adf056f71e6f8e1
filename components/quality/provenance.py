"""How many, from where, why not, under what terms: the check's page answers it source by source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.data.card import Card
from components.data.terms import strictest_terms
from components.tracking.stage import read_manifest
from components.tracking.tables import read_table

STAGES = ("records", "pairs", "curated")


@dataclass(frozen=True)
class Origin:
    """What came of one source: counts of records and pairs, why records were refused, and its terms."""

    name: str
    title: str
    url: str
    revision: str
    licence: str
    terms: Mapping[str, str]
    records: int
    refused: Mapping[str, int]
    pairs: int
    kept: int


@dataclass(frozen=True)
class Provenance:
    """The sources, what a whole of them may be used for, and each stage's reasons to refuse."""

    origins: Sequence[Origin]
    permitted_use: Mapping[str, str]
    reasons: Mapping[str, Mapping[str, int]]


def read_provenance(root: Path, cards: Sequence[Card]) -> Provenance:
    """Read manifests and the source columns below `root`; a card without records is left out."""
    made, kept = (_by_source(root / name) for name in ("pairs", "curated"))
    present = [card for card in cards if (root / "records" / card.name).is_dir()]
    reasons = {name: read_manifest(root / name).get("counts", {}).get("rejected", {}) for name in STAGES}
    return Provenance(
        [_origin(card, root, made=made[card.name], kept=kept[card.name]) for card in present],
        strictest_terms(present) if present else {},
        {name: dict(sorted(found.items())) for name, found in reasons.items()},
    )


def _origin(card: Card, root: Path, *, made: int, kept: int) -> Origin:
    manifest = read_manifest(root / "records" / card.name)
    return Origin(
        card.name, card.title, card.url, card.revision, card.licence, card.terms.model_dump(),
        records=manifest["kept"], refused=dict(sorted(manifest["rejected"].items())), pairs=made, kept=kept,
    )  # fmt: skip


def _by_source(folder: Path) -> Counter[str]:
    if not next(folder.rglob("part-*.parquet"), None):  # a stage may have refused every pair
        return Counter()
    counted = read_table(folder, ["source"])["source"].value_counts().to_pylist()
    return Counter({row["values"]: row["counts"] for row in counted})
