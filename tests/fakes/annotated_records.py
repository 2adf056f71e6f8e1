"""Synthetic records as pairing meets them: classes, boxes, masks and reports, a quarter each, without pixels.

The labels are the glossary's, so that every maker has something to say and every text is read back; the shares of
labels, the sizes of studies and the number of objects vary as they do in the sample corpus. Chance comes from the
number of the record, so that any range of them can be made alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

SLICES = 24  # records a study
SHARD_ROWS = 100_000
ORGANS = (
    "liver", "kidney", "spleen", "pancreas", "stomach", "gallbladder", "adrenal gland", "duodenum", "aorta",
    "inferior vena cava", "urinary bladder", "colon", "small bowel", "heart", "lung upper lobe", "lung lower lobe",
)  # fmt: skip
FINDINGS = (
    "lung tumour", "rib", "clavicle", "heart", "aorta", "trachea", "lung", "sternum", "scapula", "lymph node",
)  # fmt: skip
CELLS = ("cell nucleus", "gland", "blood vessel")
PARTS = ("chest", "abdomen", "chest and abdomen", "pelvis")
SIDED = {"kidney", "adrenal gland", "lung upper lobe", "lung lower lobe"}
MASK = "384 384 " + " ".join(f"{row * 384 + 40} {20 + row % 7}" for row in range(40))


def annotated_records(rows: int, start: int = 0) -> Iterator[Any]:
    """Yield the records of numbers `start` to `start + rows`."""
    makers = (of_classes, of_boxes, of_masks, of_reports)
    for number in range(start, start + rows):
        yield makers[number // SLICES % len(makers)](number, Random(number))


def plain(number: int, source: str, modality: str, body_part: str, **changes: Any) -> Any:
    """Return a record with its columns filled in; its image is a few bytes that nobody reads."""
    from components.records import Record, stable_id

    patient = number // SLICES
    split = "test" if patient % 50 == 0 else "validation" if patient % 50 == 1 else "train"
    name = stable_id("annotated", number)
    return Record(
        record_id=name, source=source, source_path=f"{source}/{number}.png", image=b"pixels", image_format="PNG",
        width=384, height=384, sha256=name * 3, perceptual_hash=name[:16], modality=modality,
        department="Oncology", task="Organ Recognition - Abdomen", body_part=body_part,
        patient_key=stable_id("patient", patient), study_key=stable_id("study", patient), split=split,
        licence="CC0", **changes,
    )  # fmt: skip


def of_classes(number: int, random: Random) -> Any:
    """Return a radiograph with labels of the whole image, the others ruled out."""
    shown = sorted(random.sample(FINDINGS, random.randint(0, 3)))
    absent = tuple(sorted(set(FINDINGS).difference(shown)))
    view = random.choice(("PA", "AP", "LL"))
    return plain(
        number, "classes", "X-ray", "chest", labels=tuple(shown), absent_labels=absent, facts=(("view", view),)
    )  # fmt: skip


def of_boxes(number: int, random: Random) -> Any:
    """Return a micrograph with a box an object."""
    from components.records import Region

    labels = random.choices(CELLS, weights=(6, 2, 1), k=random.randint(1, 12))
    regions = tuple(Region(label, a_box(random), area_fraction=0.0) for label in labels)
    facts = (("annotation", "instance mask"), ("stain", "fluorescence"))
    return plain(
        number, "boxes", "Microscopy", "colon tissue", regions=regions, regions_complete=True,
        region_vocabulary=CELLS, facts=facts,
    )  # fmt: skip


def of_masks(number: int, random: Random) -> Any:
    """Return a CT slice with the mask of each organ."""
    from components.records import Region

    shown = random.sample(ORGANS, random.randint(2, 9))
    regions = []
    for label in sorted(shown):
        for side in ("left", "right")[: random.randint(1, 2)] if label in SIDED else ("not stated",):
            area = random.random() * 0.1
            regions.append(Region(label, a_box(random), side, area, MASK, area * 90_000))
    facts = (("annotation", "class mask"), ("level", f"L{1 + number % 5}"))
    return plain(
        number, "masks", "CT", random.choice(PARTS), regions=tuple(regions), regions_complete=True,
        region_vocabulary=ORGANS, facts=facts, plane=random.choice(("axial", "axial", "coronal")),
        slice_index=number % SLICES, window="soft tissue",
    )  # fmt: skip


def of_reports(number: int, random: Random) -> Any:
    """Return a radiograph with its report."""
    shown = sorted(random.sample(FINDINGS, 2))
    said = f"Findings: The {shown[0]} and the {shown[1]} are seen in study {number}. Impression: no acute disease."
    return plain(number, "reports", "X-ray", "chest", labels=tuple(shown), text=said, text_kind="report")


def a_box(random: Random) -> tuple[float, float, float, float]:
    """Return a box of at least a tenth of the image's sides."""
    left, top = random.random() * 0.8, random.random() * 0.8
    return left, top, left + 0.1 + random.random() * (0.9 - left), top + 0.1 + random.random() * (0.9 - top)


def write_records(folder: Path, rows: int) -> None:
    """Write so many records to shards below a folder."""
    from components.records import record_schema, to_rows
    from components.tracking.tables import write_table

    for start in range(0, rows, SHARD_ROWS):
        part = annotated_records(min(SHARD_ROWS, rows - start), start)
        write_table(folder / f"source-{start // SHARD_ROWS:05d}", to_rows(part), record_schema())
