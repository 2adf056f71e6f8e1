"""Hand-made annotated records for the pairs room: a chest CT with organs, and whole random studies of them."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from components.records import Pair, Record, Region, stable_id
from tests.fakes.tables import make_pair

ORGANS = (
    "liver",
    "kidney",
    "spleen",
    "lung",
    "heart",
    "aorta",
    "cell nucleus",
    "lung tumour",
    "thoracic spine",
    "ribs",
)
UNTRANSLATED = "zygomatic process"
REGIONS = (
    Region("liver", (0.10, 0.40, 0.45, 0.70), "not stated", 0.08, "", 4000.0),
    Region("kidney", (0.20, 0.60, 0.30, 0.80), "right", 0.01),
    Region("kidney", (0.70, 0.60, 0.80, 0.80), "left", 0.012),
    Region("spleen", (0.75, 0.35, 0.90, 0.60), "not stated", 0.02),
)


MORE_REGIONS = (
    Region("heart", (0.4, 0.1, 0.6, 0.3), "not stated", 0.03), Region("aorta", (0.45, 0.3, 0.5, 0.4), "", 0.004),
    Region("ribs", (0.05, 0.1, 0.95, 0.9), "not stated", 0.015),
)  # fmt: skip


def make_scan(number: int = 0, **changes) -> Record:
    name = stable_id("scan", number)
    record = Record(
        record_id=name, source="scans", source_path=f"scans/{number}.png", image=b"", image_format="PNG",
        width=64, height=64, sha256=name, perceptual_hash=f"{number:016x}", modality="CT",
        department="General Surgery", task="Organ Recognition - Abdomen", body_part="abdomen", patient_key="p1",
        study_key="s1", split="train", licence="CC0", regions=REGIONS, regions_complete=True,
        region_vocabulary=ORGANS, plane="axial", slice_index=number,
    )  # fmt: skip
    return replace(record, **changes)


def make_text(record: Record, question: str, said: str, **changes) -> Pair:
    """A pair of any language about a record."""
    return replace(make_pair(record, question, said), **changes)


def make_study() -> list[Record]:
    """Twelve slices whose organs come and go, so that presence, side and count may be asked."""
    records = []
    for number in range(12):
        few = tuple(region for place, region in enumerate(REGIONS) if (number + place) % 4)
        regions = few + (MORE_REGIONS if number % 3 == 0 else ())
        records.append(make_scan(number, regions=regions))
    return records


@st.composite
def boxes(draw) -> tuple[float, float, float, float]:
    left, top = draw(st.floats(0, 0.9)), draw(st.floats(0, 0.9))
    return left, top, draw(st.floats(left + 0.005, 1.0)), draw(st.floats(top + 0.005, 1.0))


@st.composite
def regions(draw) -> Region:
    label = draw(st.sampled_from((*ORGANS, UNTRANSLATED)))
    side = draw(st.sampled_from(("left", "right", "midline", "not stated")))
    return Region(label, draw(boxes()), side, draw(st.floats(0, 0.3)), "", draw(st.floats(0, 9000)))


FACTS = (
    ("annotation", "instance mask"), ("level", "T7"), ("sequence", "T1-weighted"), ("stain", "fluorescence"),
    ("tissue amount", "mostly tissue"), ("view", "PA"), ("sex", "female"),
)  # fmt: skip


@st.composite
def studies(draw) -> list[Record]:
    """Two or three records of one study, each with its own random annotation."""
    shared = {
        "modality": draw(st.sampled_from(("CT", "MR", "X-ray", "Pathology", "Fundus", "Dermoscopy"))),
        "body_part": draw(st.sampled_from(("chest", "brain", "eye", "chest and upper abdomen", "not stated"))),
    }
    return [
        make_scan(
            number, regions=tuple(draw(st.lists(regions(), max_size=5))), regions_complete=draw(st.booleans()),
            plane=draw(st.sampled_from(("axial", "coronal", "sagittal", "not stated"))),
            labels=tuple(draw(st.lists(st.sampled_from(("normal eye", "liver lesion")), max_size=1))),
            facts=tuple(sorted(draw(st.sets(st.sampled_from(FACTS), max_size=4)))), **shared,
        )
        for number in range(draw(st.integers(2, 3)))
    ]  # fmt: skip
