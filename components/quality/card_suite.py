"""The suite of a source, built from its card: what the card promises is what its records must keep.

Nothing is written by hand for a dataset. A card states vocabulary, licence, language, splits, facts and how many
records to expect; each becomes a rule over the source's record table, judged by the same two engines as the pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.data.card import Card, FixedSplit
from components.data.catalog import find_reader
from components.data.reading import parse_options
from components.quality.suite import Expectation
from components.records import DEPARTMENTS, LANGUAGES, MODALITIES, NOT_STATED, SPLITS, TASKS
from components.tracking.tables import shards_below

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "record_id", "source", "modality", "department", "task", "language", "licence", "split", "patient_key",
    "labels", "absent_labels", "facts", "regions.list.element.label",
)  # fmt: skip
BY_THE_TEXT = {"gmai_vl_release", "report_tables"}  # readers that tell a record's language by its words
FEWEST = 0.5  # a source that lost more than half of what its card expects was not read whole


def card_expectations(card: Card) -> tuple[Expectation, ...]:
    """Return the rules over a source's record table; each name begins with the source's."""

    def one_of(column: str, values: Sequence[Any], meaning: str) -> Expectation:
        return Expectation(f"{card.name}: {column}", "in_set", (column,), meaning, "corpus", tuple(values))

    return (
        one_of("source", [card.name], "the records are this card's"),
        one_of("modality", (*MODALITIES, NOT_STATED), "the modality is a word of the vocabulary, or not stated"),
        one_of(
            "department", (*DEPARTMENTS, NOT_STATED), "the department is a word of the vocabulary, or not stated"
        ),
        one_of("task", (*TASKS, NOT_STATED), "the task is a word of the vocabulary, or not stated"),
        one_of("language", languages_of(card), "the language is the card's, or what its rows state"),
        one_of("licence", [card.licence], "the licence is the card's"),
        one_of("split", splits_of(card), "the split is one that the card assigns or its rows state"),
        one_of("labels_known", [True], "every label is a term of the card"),
        one_of("facts_kept", [True], "the card's facts are stated of every record"),
        Expectation(f"{card.name}: patient", "filled", ("patient_key",), "every record has a patient", "corpus"),
    )


def count_expectations(card: Card, *, most_rejected: float) -> tuple[Expectation, ...]:
    """Return the rules over the source's one row of counts."""
    rules = [
        Expectation(
            f"{card.name}: rejected", "between", ("rejected_share",),
            f"at most {most_rejected:.0%} of the rows are rejected", "corpus", low=0, high=most_rejected,
        )
    ]  # fmt: skip
    if card.num_samples:
        meaning = f"the card expects {card.num_samples} records"
        name = f"{card.name}: number"
        low = FEWEST * card.num_samples
        rules.append(Expectation(name, "between", ("num_records",), meaning, "corpus", low=low))
    return tuple(rules)


def splits_of(card: Card) -> list[str]:
    """List the splits that a card can assign: by its rule, or by what its options take from tables and files."""
    if isinstance(card.split, FixedSplit):
        assigned = {card.split.default, *card.split.assign.values()}
    else:
        shares = {"train": card.split.train, "validation": card.split.validation, "test": card.split.test}
        assigned = {name for name, share in shares.items() if share}
    return [name for name in SPLITS if name in assigned | set(_published(_options_of(card)))]


def _published(options: Any) -> Iterator[str]:
    """Yield the splits that options take from a data set: a file's own, or what words of its tables mean."""
    if isinstance(options, list | tuple):
        for value in options:
            yield from _published(value)
    for name, value in options.items() if isinstance(options, Mapping) else ():
        if "split" not in str(name):
            yield from _published(value)
        elif isinstance(value, str):  # a file's own split, or the name of a column or table
            yield from (value,) if value in (*SPLITS, "") else options.get("splits", {}).values() or SPLITS
        elif isinstance(value, Mapping) and (
            name != "splits" or not isinstance(options.get("split"), str)
        ):  # words of no column are a default
            yield from value.values()


def languages_of(card: Card) -> list[str]:
    """List the languages of a source's records: the card's, or either where its rows have their own."""
    has_own = card.reader in BY_THE_TEXT or "language" in _options_of(card)
    return list(LANGUAGES) if has_own else [card.language]


def _options_of(card: Card) -> dict[str, Any]:
    return parse_options(find_reader(card.reader).Options, card).model_dump()


def record_frame(shard: Path, card: Card) -> pd.DataFrame:
    """Flatten one shard of a source's records, columns projected: no image and no mask is read."""
    import pandas as pd
    import pyarrow.parquet as pq

    with pq.ParquetFile(shard) as file:
        columns = file.read(columns=list(COLUMNS)).to_pydict()
    known, facts = set(card.labels), list(card.facts.items())
    used = zip(columns["labels"], columns["absent_labels"], columns["regions"], strict=True)
    plain = {name: columns[name] for name in COLUMNS[:9]}
    plain["labels_known"] = [
        known.issuperset([*(one or ()), *(two or ()), *(r["label"] for r in three or ())])
        for one, two, three in used
    ]
    stated = [dict(row or ()) for row in columns["facts"]]
    plain["facts_kept"] = [all(name in row for name, _ in facts) for row in stated]
    return pd.DataFrame(plain)


def count_frame(card: Card, manifest: Mapping[str, Any]) -> pd.DataFrame:
    """Return the one row of counts, from the source's manifest."""
    import pandas as pd

    rejected = sum(manifest["rejected"].values())
    withdrawn = sum(manifest.get("withdrawn", {}).values())  # they were read: nothing is wrong with the source
    share = rejected / max(1, manifest["read"] + withdrawn)
    num_records = manifest["kept"] + withdrawn
    return pd.DataFrame([{"source": card.name, "num_records": num_records, "rejected_share": share}])


def source_shards(records: Path, card: Card) -> list[Path]:
    """List the shards of a source, none when it has no folder."""
    folder = records / card.name
    return shards_below(folder) if folder.is_dir() else []
