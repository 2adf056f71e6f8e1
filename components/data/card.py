"""A dataset card: everything this project must know of a source before it reads one byte of it.

One YAML file in `conf/sources/` is one card. It is frozen, closed to unknown keys, and complete: what the
source does not say is written "not stated". A card names a reader and hands it `options`, which the reader's
own model validates. Refused: unknown fields, unknown vocabulary terms, two meanings of one name.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, Field, ValidationError, field_validator, model_validator

from components.errors import CardInvalid
from components.records import NOT_STATED, Department, Language, Modality, Side, Split, Task
from components.settings import Frozen, Share, Words


def _answer(value: Any) -> Any:
    """YAML 1.1 reads a bare yes as true: take both."""
    return {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value


Answer = Annotated[Literal["yes", "no", "not stated"], BeforeValidator(_answer)]
Unstated = Literal["not stated"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Filled = Annotated[str, Field(min_length=1)]
FILL_IN = "FILL IN"  # what a skeleton says where somebody has to answer
MOST_TERMS, MOST_TOLD = 6, 8  # of a vocabulary in an error, of faults in a line


class Terms(Frozen):
    """What the source's licence and access terms allow; every answer is written out."""

    may_leave_machine: Answer = Field(description="may images be sent to another machine")
    may_reach_third_party_model: Answer = Field(description="may images or text be sent to somebody else's model")
    may_be_redistributed: Answer = Field(description="may the source's files be passed on")
    commercial_use: Answer = Field(description="may a commercial product be made with it")


class PatientRule(Frozen):
    """How a record's patient is known.

    `source`: all of it is one patient; `file` and `folder`: each is one; `pattern`: the first group of a
    regular expression over the path inside the source; `dicom`: the PatientID tag; `column`: what the
    reader's options name (a table's column, a file's own rows). Cards of the same people share a `namespace`.
    """

    rule: Literal["source", "file", "folder", "pattern", "dicom", "column"]
    pattern: str = ""
    namespace: str = Field(default="", description="defaults to the card's name")

    @model_validator(mode="after")
    def _pattern_has_one_group(self) -> PatientRule:
        if (self.rule == "pattern") != bool(self.pattern):
            raise ValueError("`pattern` goes with rule: pattern, and with it alone")
        if self.pattern and re.compile(self.pattern).groups != 1:
            raise ValueError(f"`pattern` must have exactly one group: {self.pattern!r}")
        return self


class FixedSplit(Frozen):
    """Splits assigned by hand: the first glob over the path inside the source that matches, else the default."""

    rule: Literal["fixed"]
    default: Split
    assign: dict[str, Split] = Field(default_factory=dict, description="glob over the path -> split, in order")


class SharesSplit(Frozen):
    """Splits drawn by a hash of the patient, in these shares of patients; they sum to 1."""

    rule: Literal["shares"]
    train: Share
    validation: Share
    test: Share

    @model_validator(mode="after")
    def _shares_sum_to_one(self) -> SharesSplit:
        if abs(self.train + self.validation + self.test - 1) > 1e-9:
            raise ValueError("train, validation and test must sum to 1")
        return self


class Term(BaseModel, frozen=True):
    """A canonical label and the patient's side that the source's label states."""

    label: str
    side: Side = NOT_STATED


class Card(Frozen):
    """What a source is, whose it is, what may be done with it, and how it is read."""

    name: str = Field(pattern=r"^[a-z0-9_]+$", description="also the folder below the data root")
    title: Filled
    citation: Filled
    url: Filled
    revision: Filled = Field(description="pinned version of the source")
    obtain: Filled = Field(description="the command or address that brings the files")
    sha256: dict[str, Sha256] = Field(default_factory=dict, description="path inside the source -> pinned hash")
    licence: Filled
    terms: Terms
    modality: Modality | Unstated = Field(description="not stated: the records differ and their rows do not say")
    department: Department | Unstated
    task: Task | Unstated
    body_part: Filled
    language: Language
    reader: Filled = Field(description="module in components/data/readers")
    options: dict[str, Any] = Field(default_factory=dict, description="validated by the reader's Options")
    label_map: dict[str, str] = Field(
        default_factory=dict,
        description='source label -> canonical term; "left x" and "right x" give the side; "" drops the label',
    )
    vocabulary: Words = Field(default=(), description="canonical terms beyond those of label_map")
    facts: dict[str, str] = Field(default_factory=dict, description="statements true of every record")
    patient: PatientRule
    identities: Literal["protected", "public"] = Field(
        default="protected",
        description="public: the source publishes its paths as they are, and they name nobody (hidden_paths.py)",
    )
    split: Annotated[FixedSplit | SharesSplit, Field(discriminator="rule")]
    tolerance: Share = Field(description="share of rejected rows above which ingest stops")
    num_samples: int = Field(ge=0, description="records expected from the pinned revision; 0 is not known")
    notes: str = Field(default="", description="ambiguities, and how they were resolved")

    @field_validator("label_map", mode="before")
    @classmethod
    def _keys_are_text(cls, value: Any) -> Any:
        return {str(key): term for key, term in value.items()} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _terms_are_canonical(self) -> Card:
        for term in (*self.label_map.values(), *self.vocabulary):
            if term != term.strip() or "_" in term or "|" in term:
                raise ValueError(f"not a clean canonical term: {term!r}")
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        """The canonical terms this source may use, sorted, without sides."""
        mapped = (parse_term(term).label for term in self.label_map.values() if term)
        return tuple(sorted({*mapped, *self.vocabulary}))

    def term(self, source_label: str) -> Term | None:
        """Return the canonical term of a source's label; a Term with an empty label is dropped on purpose.

        None means that the card does not know the label.
        """
        mapped = self.label_map.get(source_label)
        return None if mapped is None else parse_term(mapped)


def parse_term(text: str) -> Term:
    """Split "left kidney" into the label and the patient's side."""
    side, _, label = text.partition(" ")
    return Term(label=label, side=side) if side in ("left", "right") and label else Term(label=text)


def parse_card(raw: Any, *, where: str) -> Card:
    """Validate one card.

    Raises:
        CardInvalid: names the file, every wrong field and, for an unknown field or term, the nearest known one.
    """
    fix = f"docs/sources.md says what each field means; then gmai source check {where}"
    left = list(_to_fill_in(raw))
    try:
        card = Card.model_validate(raw)
    except ValidationError as error:
        raise CardInvalid(f"card does not fit: {explain(error, Card, left)}", where=where, fix=fix) from error
    if left:
        raise CardInvalid(f"card does not fit: {_still(left)}", where=where, fix=fix)
    return card


def _to_fill_in(value: Any, place: str = "") -> Iterator[str]:
    """Yield the places below `value` where a skeleton's words still stand."""
    if isinstance(value, str) and value.startswith(FILL_IN):
        yield place
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        yield from _to_fill_in(part, f"{place}.{name}".lstrip("."))


def explain(error: ValidationError, model: type[BaseModel], left: Sequence[str] = ()) -> str:
    """Put a validation error into one line, with near matches for unknown fields and terms.

    `left` are places known to be still to be filled in.
    """
    empty = list(left)
    terms: dict[str, list[Any]] = {}
    told: list[str] = []
    for row in error.errors():
        place = _place_of(row)
        if row["input"] is None or str(row["input"]).startswith(FILL_IN):
            empty.append(place)
        elif row["type"] == "literal_error":
            terms.setdefault(place, []).append(row)
        else:
            told.append(_explain_row(row, place, model))
    told = [*(_not_a_term(place, rows) for place, rows in terms.items()), *told]
    if len(told) > MOST_TOLD:
        told = [*told[:MOST_TOLD], f"and {len(told) - MOST_TOLD} more"]
    return "; ".join([_still(empty)] * bool(empty) + told)


def _still(places: Sequence[str]) -> str:
    return f"still to fill in: {', '.join(dict.fromkeys(places))}"


def _place_of(row: Any) -> str:
    """Where a row of an error stands; which part of a union of terms was tried is no place."""
    parts = [str(part) for part in row["loc"] if not str(part).startswith("literal[")]
    return ".".join(parts) or "card"


def _not_a_term(place: str, rows: Sequence[Any]) -> str:
    """Say that a value is none of a vocabulary's terms: all of a short one, of a long one the nearest."""
    known = [term for row in rows for term in re.findall(r"'([^']*)'", row["ctx"]["expected"])]
    said = rows[0]["input"]
    if len(known) <= MOST_TERMS:
        return f"{place}: {said!r} is none of {', '.join(known)}"
    near = difflib.get_close_matches(str(said).lower(), [term.lower() for term in known], n=1, cutoff=0.5)
    meant = [term for term in known if near and term.lower() == near[0]]
    hint = f" (did you mean {meant[0]!r}?)" if meant else ""
    return f"{place}: {said!r} is none of its {len(known)} terms{hint}"


def _explain_row(row: Any, place: str, model: type[BaseModel]) -> str:
    if row["type"] == "tuple_type":
        return f"{place}: must be a list, such as [a, b]"
    if row["type"] != "extra_forbidden":
        return f"{place}: {row['msg']}"
    near = difflib.get_close_matches(str(row["loc"][-1]), list(model.model_fields), n=1)
    return f"{place}: unknown field" + (f" (did you mean {near[0]!r}?)" if near else "")


def load_card(path: Path) -> Card:
    """Read one card file; its name must be the file's.

    Raises CardInvalid, also for a file that is not there or cannot be read.
    """
    try:
        raw = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except OSError as error:
        raise CardInvalid(f"no card can be read: {error.strerror}", where=str(path), fix="gmai sources") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CardInvalid(f"not YAML: {error}", where=str(path), fix="mend the line that it names") from error
    card = parse_card(raw, where=str(path))
    if card.name != path.stem:
        raise CardInvalid(f"name is {card.name!r} but the file is {path.name}", where=str(path), fix="rename one")
    return card
