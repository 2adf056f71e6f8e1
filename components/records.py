"""The nouns that travel through the pipeline, and the vocabularies their fields are held to.

A Record is one image with its annotations as read; a Pair is one image-text conversation made from it;
a Prediction is one answer of a model; a Score is one number with its interval. All are frozen. The Arrow
schema of each lies beside it; `to_rows` and `from_rows` are the only way between the two.

Vocabularies: the 13 modalities and 18 departments of the GMAI-VL paper (arXiv 2411.14522, Table 3 and
section 1.4) and the 18 clinical tasks of GMAI-MMBench (Table 6). `Nuclear medicine` (planar scintigraphy)
is this project's one addition: none of the paper's 13 describes it truthfully.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Modality = Literal[
    "CT", "MR", "X-ray", "Ultrasound", "PET", "Endoscopy", "Pathology", "Microscopy", "Fundus",
    "OCT", "Infrared reflectance", "Dermoscopy", "Ophthalmoscope", "Nuclear medicine",
]  # fmt: skip
Department = Literal[
    "Orthopedic Surgery", "General Surgery", "Gastroenterology and Hepatology", "Hematology",
    "Pulmonary Medicine", "Sports Medicine", "Endocrinology", "Infectious Diseases", "Urology",
    "Otolaryngology and Head and Neck Surgery", "Cardiovascular Surgery", "Obstetrics and Gynecology",
    "Neurosurgery", "Nephrology and Hypertension", "Laboratory Medicine and Pathology", "Dermatology",
    "Oncology", "Ophthalmology",
]  # fmt: skip
Task = Literal[
    "Attribute Recognition", "Blood Vessels Recognition", "Bone", "Cell Recognition", "Counting",
    "Disease Diagnosis", "Image Quality Grading", "Microorganism Recognition", "Muscle",
    "Nervous Tissue", "Organ Recognition - Abdomen", "Organ Recognition - Head and Neck",
    "Organ Recognition - Pelvic", "Organ Recognition - Thorax", "Severity Grading",
    "Surgeon Action Recognition", "Surgical Instrument Recognition", "Surgical Workflow Recognition",
]  # fmt: skip
PairKind = Literal["caption", "region_caption", "instruct", "percept", "report", "vqa", "text_only", "comparison"]
Language = Literal["en", "zh"]
Split = Literal["train", "validation", "test"]
Plane = Literal["axial", "coronal", "sagittal", "not stated"]
Side = Literal["left", "right", "midline", "not stated"]

MODALITIES: tuple[str, ...] = get_args(Modality)
DEPARTMENTS: tuple[str, ...] = get_args(Department)
TASKS: tuple[str, ...] = get_args(Task)
PAIR_KINDS: tuple[str, ...] = get_args(PairKind)
LANGUAGES: tuple[str, ...] = get_args(Language)
SPLITS: tuple[str, ...] = get_args(Split)
PLANES: tuple[str, ...] = get_args(Plane)

NOT_STATED = "not stated"
CONTINUES = "continues"  # type of a source question that is the next turn of the conversation before it
Box = tuple[float, float, float, float]


def stable_id(*parts: object) -> str:
    """Return a 20-hex-digit id that depends on the parts alone, never on time, host or order of work."""
    text = "\x1f".join(str(part) for part in parts)
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()


@dataclass(frozen=True, slots=True)
class Region:
    """One annotated object in an image.

    `box` is (left, top, right, bottom) as shares of width and height, 0-1, as displayed. `mask` is a
    run-length string "height width start length start length …" over the row-major pixels, starts
    counted from 0, or "" when the source gives only a box. `side` is the patient's side.
    """

    label: str
    box: Box
    side: str = NOT_STATED
    area_fraction: float = 0.0
    mask: str = ""
    area_mm2: float = 0.0


@dataclass(frozen=True, slots=True)
class SourceQuestion:
    """A question that the source itself ships, with its gold answer and, if closed, its options.

    A conversation of several turns is several questions in order: all but the first have the type CONTINUES.
    A type that is a pair kind ("caption", "report", "instruct", …) says what kind of pair the source calls it.
    """

    question: str
    answer: str
    options: tuple[str, ...] = ()
    question_type: str = NOT_STATED


@dataclass(frozen=True, slots=True)
class Record:
    """One image (or slice, tile, frame) with its annotations, as read; or a text that has no image of its own.

    The paper's five-tuple is (image, modality, label, department, bbox); the rest says where it came
    from and what else the source states. `labels` are statements about the whole image in canonical
    terms; `absent_labels` are what the source explicitly rules out. `regions_complete` is true when
    every object of the labels in `region_vocabulary` is annotated, so that absence, count and "the
    largest" may be asked. `facts` are further statements of the source (view, stain, magnification,
    sex, age band, sequence), each (name, value), sorted by name. `compared_with` is another record's
    id for image pairs, `comparison` what the source says of the two.

    A record without pixels (image b"", width 0) holds the text and questions about several images, whose
    records it names in `compared_with` in order, parted by spaces; or, naming none, text alone.
    """

    record_id: str
    source: str
    source_path: str
    image: bytes
    image_format: str
    width: int
    height: int
    sha256: str
    perceptual_hash: str
    modality: str
    department: str
    task: str
    body_part: str
    patient_key: str
    study_key: str
    split: str
    licence: str
    language: str = "en"
    labels: tuple[str, ...] = ()
    absent_labels: tuple[str, ...] = ()
    regions: tuple[Region, ...] = ()
    regions_complete: bool = False
    region_vocabulary: tuple[str, ...] = ()
    text: str = ""
    text_kind: str = ""  # "caption", "report" or ""
    questions: tuple[SourceQuestion, ...] = ()
    plane: str = NOT_STATED
    slice_index: int = -1
    window: str = NOT_STATED
    compared_with: str = ""
    comparison: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    rejected_reason: str = ""

    @property
    def has_pixels(self) -> bool:
        """True when the record is an image; read from its width, so that it holds without the image bytes."""
        return self.width > 0

    @property
    def image_ids(self) -> tuple[str, ...]:
        """The records of the images that the text and questions speak of, in order; () for text alone."""
        return (self.record_id,) if self.has_pixels else tuple(self.compared_with.split())

    def fact(self, name: str) -> str:
        """Return the source's statement under this name, or NOT_STATED."""
        return dict(self.facts).get(name, NOT_STATED)


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation, in LLaVA's words: `from` is "human" or "gpt"."""

    speaker: str
    value: str


@dataclass(frozen=True, slots=True)
class Generator:
    """What made a pair's text."""

    name: str
    version: str
    prompt_hash: str
    model: str
    seed: int


@dataclass(frozen=True, slots=True)
class Pair:
    """One image-text conversation made from one record (two for a comparison).

    `record_ids` are the images in the order of the `<image>` placeholders. `question_type` names what
    is asked (presence, count, side, plane, modality, organ, …). `answer` is the gold answer in its
    shortest form; `options` are the closed choices (empty when open). `boxes` is the gold geometry of
    the answer, if it has one, and `labels` what the answer speaks of.
    """

    pair_id: str
    record_ids: tuple[str, ...]
    source: str
    kind: str
    conversations: tuple[Turn, ...]
    language: str
    generator: Generator
    modality: str
    department: str
    task: str
    patient_key: str
    split: str
    licence: str
    question_type: str = NOT_STATED
    answer: str = ""
    options: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    boxes: tuple[Box, ...] = ()
    rejected_reason: str = ""

    @property
    def record_id(self) -> str:
        """The first image's record."""
        return self.record_ids[0] if self.record_ids else ""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer of a model to one pair (or one benchmark item)."""

    item_id: str
    benchmark: str
    system: str  # "model", "blind", "majority", …
    patient_key: str
    modality: str
    question_type: str
    prompt: str
    raw_answer: str
    parsed_answer: str
    gold: str
    score: float
    metric: str
    is_parsed: bool = True
    record_id: str = ""
    language: str = "en"
    department: str = NOT_STATED
    confidence: float = -1.0
    task: str = NOT_STATED
    organ: str = NOT_STATED
    sex: str = NOT_STATED
    age_band: str = NOT_STATED
    is_seen: bool = False  # it shows a picture of training


@dataclass(frozen=True, slots=True)
class Score:
    """One number with its 95 % interval, its size and the fingerprint of the protocol that made it."""

    benchmark: str
    metric: str
    value: float
    low: float
    high: float
    n: int
    baseline: float
    fingerprint: str
    num_clusters: int = 0
    unparsed: int = 0
    details: dict[str, float] = field(default_factory=dict)


def to_rows(items: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Turn records, pairs or predictions into plain dicts that Arrow takes as they are."""
    for item in items:
        yield dataclasses.asdict(item)


def record_from_row(row: dict[str, Any]) -> Record:
    """Build a Record from one Arrow row (`image` may be absent under a column projection)."""
    return Record(
        **_kept(row, ("regions", "questions", "facts", "labels", "absent_labels", "region_vocabulary", "image")),
        image=row.get("image") or b"",
        labels=tuple(row.get("labels") or ()),
        absent_labels=tuple(row.get("absent_labels") or ()),
        region_vocabulary=tuple(row.get("region_vocabulary") or ()),
        regions=tuple(_region(region) for region in row.get("regions") or ()),
        questions=tuple(_question(question) for question in row.get("questions") or ()),
        facts=tuple((f[0], f[1]) for f in row.get("facts") or ()),
    )


def _region(row: dict[str, Any]) -> Region:
    values: dict[str, Any] = {**row, "box": tuple(row["box"])}
    return Region(**values)


def _question(row: dict[str, Any]) -> SourceQuestion:
    values: dict[str, Any] = {**row, "options": tuple(row["options"] or ())}
    return SourceQuestion(**values)


def pair_from_row(row: dict[str, Any]) -> Pair:
    """Build a Pair from one Arrow row."""
    return Pair(
        **_kept(row, ("record_ids", "conversations", "generator", "options", "labels", "boxes")),
        record_ids=tuple(row["record_ids"]),
        conversations=tuple(Turn(**turn) for turn in row["conversations"]),
        generator=Generator(**row["generator"]),
        options=tuple(row["options"] or ()),
        labels=tuple(row["labels"] or ()),
        boxes=tuple(tuple(box) for box in row["boxes"] or ()),
    )


def _kept(row: dict[str, Any], nested: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in nested}


def record_schema() -> Any:
    """Return the Arrow schema of records (pyarrow is imported here, not at the top)."""
    import pyarrow as pa

    text = pa.string()
    region = pa.struct(
        [
            ("label", text),
            ("box", pa.list_(pa.float32())),
            ("side", text),
            ("area_fraction", pa.float32()),
            ("mask", text),
            ("area_mm2", pa.float32()),
        ]  # fmt: skip
    )
    question = pa.struct(
        [("question", text), ("answer", text), ("options", pa.list_(text)), ("question_type", text)]
    )
    special: dict[str, Any] = {
        "image": pa.binary(), "width": pa.int32(), "height": pa.int32(), "slice_index": pa.int32(),
        "labels": pa.list_(text), "absent_labels": pa.list_(text), "region_vocabulary": pa.list_(text),
        "regions": pa.list_(region), "regions_complete": pa.bool_(), "questions": pa.list_(question),
        "facts": pa.list_(pa.list_(text)),
    }  # fmt: skip
    return pa.schema([(f.name, special.get(f.name, text)) for f in dataclasses.fields(Record)])


def pair_schema() -> Any:
    """Return the Arrow schema of pairs."""
    import pyarrow as pa

    text = pa.string()
    generator = pa.struct(
        [("name", text), ("version", text), ("prompt_hash", text), ("model", text), ("seed", pa.int64())]
    )
    special: dict[str, Any] = {
        "record_ids": pa.list_(text), "options": pa.list_(text), "labels": pa.list_(text),
        "conversations": pa.list_(pa.struct([("speaker", text), ("value", text)])),
        "generator": generator, "boxes": pa.list_(pa.list_(pa.float32())),
    }  # fmt: skip
    return pa.schema([(f.name, special.get(f.name, text)) for f in dataclasses.fields(Pair)])


def prediction_schema() -> Any:
    """Return the Arrow schema of predictions."""
    import pyarrow as pa

    special: dict[str, Any] = {
        "score": pa.float64(),
        "confidence": pa.float64(),
        "is_parsed": pa.bool_(),
        "is_seen": pa.bool_(),
    }
    return pa.schema([(f.name, special.get(f.name, pa.string())) for f in dataclasses.fields(Prediction)])
