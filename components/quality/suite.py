"""The suite: what must hold of the pair table, as plain data that two engines can judge.

A rule is a statement about columns of the feature table (`features.py`), one row a pair, or about the corpus
table, which has one row. Nothing here knows Great Expectations; `great.py` compiles the rules to it and
`plain.py` judges the same rules with pandas alone. Nulls never pass silently: features hold "" and -1 instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from components.records import DEPARTMENTS, LANGUAGES, MODALITIES, NOT_STATED, PAIR_KINDS, SPLITS, TASKS

Rule = Literal["filled", "in_set", "between", "equal_columns"]
Table = Literal["pairs", "corpus"]
MAX_ROWS = 20


@dataclass(frozen=True, slots=True)
class Expectation:
    """One rule over one column (two for `equal_columns`), with the sentence that a reader of the report sees.

    `filled`: at least one character that is not white space. `in_set`: one of `values`. `between`: from `low`
    to `high`, both included, None for no bound. `equal_columns`: the two columns agree.
    """

    name: str
    rule: Rule
    columns: tuple[str, ...]
    meaning: str
    table: Table = "pairs"
    values: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an engine found: rows checked, rows failed, and the first failing ones (id and observed value)."""

    name: str
    checked: int
    failed: int
    rows: tuple[dict[str, str], ...] = field(default=())

    @property
    def passed(self) -> bool:
        """True when no row failed."""
        return self.failed == 0


def merge_outcomes(parts: list[Outcome]) -> Outcome:
    """Add up one expectation's outcomes over shards; the first failing rows are kept."""
    rows = tuple(row for part in parts for row in part.rows)[:MAX_ROWS]
    return Outcome(parts[0].name, sum(p.checked for p in parts), sum(p.failed for p in parts), rows)


def _vocabulary(column: str, values: tuple[str, ...]) -> Expectation:
    return Expectation(
        f"{column}_in_vocabulary", "in_set", (column,), f"{column} is a word of the vocabulary", values=values
    )


def _vocabulary_or_unstated(column: str, values: tuple[str, ...]) -> Expectation:
    """Return the rule for what a source may leave open: a card then writes it out, and never an empty field."""
    meaning = f"{column} is a word of the vocabulary, or not stated"
    return Expectation(f"{column}_in_vocabulary", "in_set", (column,), meaning, values=(*values, NOT_STATED))


def _filled(column: str, meaning: str) -> Expectation:
    return Expectation(f"{column}_filled", "filled", (column,), meaning)


def _true(name: str, meaning: str) -> Expectation:
    return Expectation(name, "in_set", (name,), meaning, values=(True,))


def _equal(name: str, left: str, right: str, meaning: str) -> Expectation:
    return Expectation(name, "equal_columns", (left, right), meaning)


def pair_expectations(*, min_text: int, max_text: int) -> tuple[Expectation, ...]:
    """Return the rules over pairs; text bounds are characters of an assistant turn."""
    return (
        _filled("pair_id", "every pair has an id"),
        Expectation("pair_id_unique", "between", ("pair_id_count",), "no two pairs share an id", low=1, high=1),
        _equal("every_record_exists", "num_records_found", "num_records", "each image is a known record"),
        Expectation("image_has_pixels", "between", ("shortest_side",), "each image has pixels", low=1),
        _filled("modality", "the five-tuple has the modality, be it not stated"),
        _filled("department", "the five-tuple has the department, be it not stated"),
        Expectation("label_stated", "between", ("num_statements",), "the source states something", low=1),
        _true("record_boxes_valid", "the records' boxes lie inside 0-1, left of right, top above bottom"),
        _vocabulary_or_unstated("modality", MODALITIES),
        _vocabulary_or_unstated("department", DEPARTMENTS),
        _vocabulary_or_unstated("task", TASKS),
        _vocabulary("kind", PAIR_KINDS),
        _vocabulary("language", LANGUAGES),
        _vocabulary("split", SPLITS),
        _true("boxes_valid", "gold boxes lie inside 0-1, left of right, top above bottom"),
        _true("text_boxes_valid", "every box written in the text parses, lies inside 0-1 and is ordered"),
        _equal("placeholder_count", "num_placeholders", "num_records", "one <image> for each image"),
        _equal("placeholders_first", "num_first_placeholders", "num_placeholders", "<image> in turn one only"),
        _true("turns_alternate", "the conversation runs human, gpt, human, gpt, …"),
        Expectation("question_asked", "between", ("shortest_question",), "no human turn is empty", low=1),
        Expectation("answer_not_short", "between", ("shortest_answer",), "no answer is too short", low=min_text),
        Expectation("answer_not_long", "between", ("longest_answer",), "no answer is too long", high=max_text),
        _true("answer_among_options", "the gold answer of a closed question is one of its options"),
        _filled("patient_key", "every pair has a patient"),
        Expectation(
            "patient_in_one_split", "between", ("patient_splits",), "no patient is in two splits", low=1, high=1
        ),
        _equal("split_matches_image", "num_split_agrees", "num_records", "a pair's split is its images' split"),
        _equal(
            "modality_matches_record", "num_modality_agrees", "num_records", "a pair's modality is its images'"
        ),
    )


def corpus_expectations(*, min_pairs: int, max_rejected: float) -> tuple[Expectation, ...]:
    """Return the rules over the whole corpus; `max_rejected` is a share of 0-1."""

    def of(name: str, meaning: str, low: float | None = None, high: float | None = None) -> Expectation:
        return Expectation(name, "between", (name,), meaning, "corpus", low=low, high=high)

    return (
        of("num_pairs", f"at least {min_pairs} pairs", low=min_pairs),
        of("num_train_pairs", "there is something to train on", low=1),
        of("num_test_pairs", "there is something to test on", low=1),
        of("rejected_share", f"at most {max_rejected:.0%} of a stage's rows are rejected", high=max_rejected),
    )
