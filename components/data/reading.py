"""What a reader is handed and what it hands back.

A reader module in `components/data/readers/` has `Options` (a pydantic model of the card's `options`),
`VERSION` (raised when its output changes) and `read(root, card, context)`, which yields a Record or a
Rejection a sample. It fills a Draft with what the file says; `finish` adds what the card says, keys the
patient, assigns the split and checks every value, so that no reader can let a bad one through.
"""

from __future__ import annotations

import fnmatch
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError

from components.data.card import Card, FixedSplit, explain
from components.data.deidentify import keyed_hash
from components.data.faults import Refused
from components.data.hidden_paths import PrivateNames, hide_part, hide_path, hide_where
from components.data.image import difference_hash, encode_png, pixel_hash
from components.data.scrub import scrub, scrub_questions
from components.errors import CardInvalid, DataError, DatasetMissing
from components.records import NOT_STATED, SPLITS, Record, Region, SourceQuestion, stable_id

# What the imaging libraries raise for a file that is cut short or is something else.
UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    AttributeError,
    NotImplementedError,
    RuntimeError,
    zlib.error,
)
OptionsModel = TypeVar("OptionsModel", bound=BaseModel)
Sample = TypeVar("Sample")


@dataclass(frozen=True, slots=True)
class Rejection:
    """A sample that was read and refused: the path inside the source (and part), and a snake_case reason.

    `hint` says what would help, where the reason alone does not.
    """

    where: str
    reason: str
    hint: str = ""


class WholeOnly(Exception):
    """Raised while units are listed: the samples of this source hang together and it is read in one go."""


@dataclass(frozen=True, slots=True)
class ReadContext:
    """What every reader needs beside its card: the longest stored side in pixels and the patient key.

    `scrubbed` counts what `finish` takes out of texts, by kind; `names` keeps what hidden paths stand for;
    `choose` decides which units a reading takes (`portions.py`), without it all. While units are listed,
    `is_listing` holds and none is taken. `unit` is what a reader says its next sample belongs to, if it says so.
    """

    max_side: int
    secret: bytes
    scrubbed: Counter[str] = field(default_factory=Counter)
    names: PrivateNames = field(default_factory=PrivateNames)
    choose: Callable[[str, Iterable[str]], bool] | None = None
    is_listing: bool = False
    unit: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Tell whether this reading takes everything and nobody asks which sample belongs where."""
        return self.choose is None

    def of(self, unit: str, samples: Iterable[Sample]) -> Iterator[Sample]:
        """Pass the samples of a unit on, said to be its own whatever path they name; "" is of no unit.

        A reader that says this of one sample says it of all.
        """
        for sample in samples:
            self.unit[:] = [unit]
            yield sample

    def takes(self, unit: str, own: Iterable[str] = ()) -> bool:
        """Tell whether this reading wants the samples of a unit, before anything of it is decoded.

        `unit` is the path inside the source that they are said of; `own` are further files that no other unit
        needs, looked at only while units are listed. A reader with `PORTIONS = True` asks this of every unit, in
        the order in which it yields them.
        """
        return self.choose is None or self.choose(unit, own)


@dataclass(frozen=True, slots=True)
class Draft:
    """One sample as a reader knows it. `pixels` is uint8 (H, W) or (H, W, 3) at the stored size.

    `path` is relative to the source's folder; `part` tells records of one file apart; `patient` is the raw
    patient (for the card rules `dicom` and `column`); `study` is hashed too. `split` is the one that the
    source publishes for this sample. Empty overrides mean the card's value.
    """

    path: str
    pixels: np.ndarray[Any, Any]
    part: str = ""
    patient: str = ""
    study: str = ""
    split: str = ""
    modality: str = ""
    department: str = ""
    task: str = ""
    body_part: str = ""
    labels: tuple[str, ...] = ()
    absent_labels: tuple[str, ...] = ()
    regions: tuple[Region, ...] = ()
    regions_complete: bool = False
    region_vocabulary: tuple[str, ...] = ()
    text: str = ""
    text_kind: str = ""
    questions: tuple[SourceQuestion, ...] = ()
    plane: str = NOT_STATED
    slice_index: int = -1
    window: str = NOT_STATED
    compared_with: str = ""
    comparison: str = ""
    facts: tuple[tuple[str, str], ...] = ()


def parse_options(model: type[OptionsModel], card: Card) -> OptionsModel:
    """Validate a card's options with its reader's model; CardInvalid names card, field and near match."""
    try:
        return model.model_validate(card.options)
    except ValidationError as error:
        where = f"conf/sources/{card.name}.yaml, options of reader {card.reader}"
        fix = f"docs/readers/{card.reader}.md; then gmai source check {card.name}"
        raise CardInvalid(f"options do not fit: {explain(error, model)}", where=where, fix=fix) from error


def resolve_inside(root: Path, relative: str) -> Path:
    """Return root/relative; DataError when it would leave the root (.., absolute, or through a link)."""
    path = root / relative
    try:
        stays = path.resolve().is_relative_to(root.resolve())
    except RuntimeError as error:  # Python's word for a loop of links
        raise DataError(
            f"link_cyclic: path is a loop of links: {relative!r}", where=str(root), fix="mend the link"
        ) from error
    if PurePosixPath(relative).is_absolute() or not stays:
        raise DataError(
            f"path_escapes_source: path leaves its source: {relative!r}",
            where=str(root),
            fix="mend the card or the link",
        )
    return path


def name_of(error: DataError) -> str:
    """Return the reason with which an error's message begins, as `resolve_inside` writes it."""
    return error.what.partition(":")[0]


def find_files(root: Path, pattern: str) -> list[Path]:
    """List the files that match a glob inside the root, in name order.

    Raises DatasetMissing when there are none, DataError when one leaves the root.
    """
    resolve_inside(root, pattern)
    found = [resolve_inside(root, path.relative_to(root).as_posix()) for path in sorted(root.glob(pattern))]
    files = [path for path in found if path.is_file()]
    for path in found:
        if not path.is_file() and path.is_symlink() and path.parent.resolve().is_relative_to(path.resolve()):
            told = f"link_cyclic: a link to a folder above it: {path.name!r}"
            raise DataError(told, where=str(root), fix="mend the link")
    if not files:
        raise DatasetMissing(
            f"file_missing: no file matches {pattern!r}", where=str(root), fix="gmai sources; gmai sample-data"
        )
    return files


def reason_of(error: BaseException) -> str:
    """Name why a file could not be read."""
    if isinstance(error, Refused):
        return error.reason
    if isinstance(error, FileNotFoundError):
        return "file_missing"
    cut = isinstance(error, EOFError) or re.search(r"truncat|end-of-stream|unexpected end|bytes", str(error))
    return "file_truncated" if cut else "file_unreadable"


def patient_name(card: Card, path: str, stated: str) -> str:
    """Return the unhashed patient under the card's rule, or "" when it cannot be known.

    `stated` is what the file itself says: the PatientID tag or a table's column.
    """
    rule = card.patient
    if rule.rule == "pattern":
        match = re.search(rule.pattern, path)
        return match[1] if match else ""
    parent = PurePosixPath(path).parent.as_posix()
    return {"source": "all", "file": path, "folder": parent, "dicom": stated, "column": stated}[rule.rule]


def split_of(card: Card, path: str, patient: str) -> str:
    """Assign train, validation or test under the card's rule."""
    rule = card.split
    if isinstance(rule, FixedSplit):
        matching = (split for glob, split in rule.assign.items() if fnmatch.fnmatchcase(path, glob))
        return next(matching, rule.default)
    drawn = int(stable_id(card.patient.namespace or card.name, patient), 16) / float(1 << 80)
    if drawn < rule.train:
        return "train"
    return "validation" if drawn < rule.train + rule.validation else "test"


def record_id_of(card: Card, path: str, part: str, secret: bytes) -> str:
    """The stable id of a record: source, path inside it, part; of a protected source, of the hidden path.

    A plain hash of a person's name could be found by trying names.
    """
    return stable_id(card.name, hide_path(path, card, secret), hide_part(part, card, secret))


def hide_rejections(
    samples: Iterator[Record | Rejection], card: Card, context: ReadContext
) -> Iterator[Record | Rejection]:
    """Pass a reader's samples on, the places of its rejections as they may be written (`hidden_paths`)."""
    for sample in samples:
        if not isinstance(sample, Rejection):
            yield sample
            continue
        hidden = hide_where(sample.where, card, context.secret)
        context.names.note(hidden, sample.where)
        yield replace(sample, where=hidden)


def finish(draft: Draft, card: Card, context: ReadContext) -> Record | Rejection:
    """Make a record of a draft, or say why not."""
    where = f"{draft.path}#{draft.part}" if draft.part else draft.path
    patient = patient_name(card, draft.path, draft.patient)
    reason = _fault(draft, card) or ("" if patient else "patient_unknown")
    if reason:
        return Rejection(where, reason)
    draft = _scrubbed(draft, card, context)
    namespace = card.patient.namespace or card.name
    hidden = hide_path(draft.path, card, context.secret)
    context.names.note(hidden, draft.path)
    return Record(
        record_id=record_id_of(card, draft.path, draft.part, context.secret),
        source=card.name,
        source_path=f"{card.name}/{hidden}",
        image=encode_png(draft.pixels),
        image_format="PNG",
        width=draft.pixels.shape[1],
        height=draft.pixels.shape[0],
        sha256=pixel_hash(draft.pixels),
        perceptual_hash=difference_hash(draft.pixels),
        modality=draft.modality or card.modality,
        department=draft.department or card.department,
        task=draft.task or card.task,
        body_part=draft.body_part or card.body_part,
        patient_key=keyed_hash(context.secret, namespace, patient),
        study_key=keyed_hash(context.secret, namespace, patient, draft.study or draft.path),
        split=draft.split or split_of(card, draft.path, patient),
        licence=card.licence,
        language=card.language,
        facts=tuple(sorted({**card.facts, **dict(draft.facts)}.items())),
        **{name: getattr(draft, name) for name in _COPIED},
    )


def _scrubbed(draft: Draft, card: Card, context: ReadContext) -> Draft:
    """Return the draft with every free text of the source scrubbed; what was found is counted in the context."""
    patient = patient_name(card, draft.path, draft.patient) if card.patient.rule in ("pattern", "folder") else ""
    known = tuple(filter(None, (draft.patient, PurePosixPath(patient).name)))

    def clean(text: str) -> str:
        told, found = scrub(text, known) if text else (text, Counter())
        context.scrubbed.update(found)
        return told

    return replace(
        draft, text=clean(draft.text), comparison=clean(draft.comparison),
        questions=scrub_questions(draft.questions, known, context.scrubbed),
        facts=tuple((name, clean(value)) for name, value in draft.facts),
    )  # fmt: skip


_COPIED = (
    "labels", "absent_labels", "regions", "regions_complete", "region_vocabulary", "text", "text_kind",
    "questions", "plane", "slice_index", "window", "compared_with", "comparison",
)  # fmt: skip


def _fault(draft: Draft, card: Card) -> str:
    """Return the first reason to refuse a draft, or ""."""
    pixels = draft.pixels
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or 0 in pixels.shape:
        return "image_not_8_bit"
    known = set(card.labels)
    used = (*draft.labels, *draft.absent_labels, *draft.region_vocabulary, *(r.label for r in draft.regions))
    if not known.issuperset(used):
        return "label_not_in_vocabulary"
    if not all(_is_inside(region) for region in draft.regions):
        return "box_outside_image"
    if set(draft.labels) & set(draft.absent_labels):
        return "label_both_present_and_absent"
    if draft.split not in ("", *SPLITS):
        return "split_not_known"
    return "text_empty" if draft.text_kind and not draft.text.strip() else ""


def _is_inside(region: Region) -> bool:
    left, top, right, bottom = region.box
    return 0 <= left < right <= 1 and 0 <= top < bottom <= 1


def finish_all(
    drafts: Iterator[Draft | Rejection], card: Card, context: ReadContext
) -> Iterator[Record | Rejection]:
    """Finish each draft as it comes; rejections pass through."""
    for draft in drafts:
        yield draft if isinstance(draft, Rejection) else finish(draft, card, context)
