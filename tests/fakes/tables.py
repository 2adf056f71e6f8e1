"""Hand-made records and pairs on disk, in the layout that ingest, pair and curate leave behind."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from components.records import Generator, Pair, Record, Region, Turn, pair_schema, record_schema, to_rows
from components.tracking.commit import write_json
from components.tracking.tables import write_table

GENERATOR = Generator("template", "1", "0", "none", 0)


def png(shade: int, size: tuple[int, int] = (40, 32)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (shade, shade // 2, 255 - shade)).save(buffer, "PNG")
    return buffer.getvalue()


def make_record(number: int, *, patient: str, split: str, modality: str = "CT", **changes) -> Record:
    name = f"record{number:03d}"
    record = Record(
        record_id=name, source="fake", source_path=f"{name}.png", image=png(number * 7 % 256), image_format="png",
        width=40, height=32, sha256=name, perceptual_hash="0" * 16, modality=modality,
        department="Pulmonary Medicine",
        task="Organ Recognition - Thorax", body_part="chest", patient_key=patient, study_key=patient, split=split,
        licence="CC0-1.0", labels=("lung",), regions=(Region("lung", (0.1, 0.2, 0.5, 0.6)),),
    )  # fmt: skip
    return replace(record, **changes)


def make_pair(record: Record, question: str, said: str, **changes) -> Pair:
    kept = {"kind": "percept", "answer": said, "language": "en"}
    return Pair(
        pair_id=f"{record.record_id}-{changes.get('question_type', 'x')}-{changes.get('kind', 'percept')}",
        record_ids=(record.record_id,), source=record.source,
        conversations=(Turn("human", f"<image>\n{question}"), Turn("gpt", said)),
        generator=GENERATOR, modality=record.modality, department=record.department, task=record.task,
        patient_key=record.patient_key, split=record.split, licence=record.licence, **kept | changes,
    )  # fmt: skip


def pairs_of(record: Record) -> list[Pair]:
    """Two closed questions, one box question and one caption about a record."""
    box = record.regions[0].box
    written = f"<ref>lung</ref><box> [[{box[0]:.2f}, {box[1]:.2f}, {box[2]:.2f}, {box[3]:.2f}]]</box>"
    return [
        make_pair(
            record,
            "Which modality is this? CT or MR?",
            record.modality,
            question_type="modality",
            options=("CT", "MR"),
        ),
        make_pair(
            record, "Is there a lung? Answer yes or no.", "yes", question_type="presence", options=("yes", "no")
        ),
        make_pair(record, "Where is the lung?", written, question_type="box", boxes=(box,), kind="region_caption"),
        make_pair(
            record, "Describe the image.", f"A {record.modality} image of the lung.", kind="caption", answer=""
        ),
    ]


def make_corpus() -> tuple[list[Record], list[Pair]]:
    """Six records of three patients a split, CT and MR in turn, and four pairs each."""
    records = [
        make_record(
            index, patient=f"{split}-patient{index % 3}", split=split, modality="CT" if index % 2 else "MR",
            regions=(Region("lung", (0.1, 0.2, 0.4 + 0.02 * (index % 6), 0.6)),),
        )
        for index, split in enumerate(["train"] * 6 + ["test"] * 6)
    ]  # fmt: skip
    return records, [pair for record in records for pair in pairs_of(record)]


def write_corpus(root: Path, records: Iterable[Record], pairs: Iterable[Pair], *, rejected: int = 0) -> Path:
    """Write records/, pairs/ and curated/ with manifests; return the work root."""
    records, pairs = list(records), list(pairs)
    write_table(root / "records" / "fake", to_rows(records), record_schema())
    half = len(pairs) // 2
    for index, part in enumerate((pairs[:half], pairs[half:])):
        table = pa.Table.from_pylist(list(to_rows(part)), schema=pair_schema())
        (root / "curated").mkdir(exist_ok=True)
        pq.write_table(table, root / "curated" / f"part-{index:05d}.parquet")
    rows = [
        {"record_id": r.record_id, "split": r.split, "sha256": r.sha256, "entropy": 4.0, "width": r.width,
         "height": r.height} for r in records
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), root / "curated" / "images.parquet")
    for name, kept in (("records", len(records)), ("pairs", len(pairs)), ("curated", len(pairs))):
        lost = {"planted": rejected} if name == "curated" and rejected else {}
        write_json(root / name / "manifest.json", {"counts": {"read": kept, "kept": kept, "rejected": lost}})
    return root


class FakeRun(SimpleNamespace):
    """Stands in for an MLflow run: keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(
            run_id="run", metrics={}, artifacts=[], tags={}, finished=False, keeps_here=True, texts={}
        )

    def log_metrics(self, metrics, step=None) -> None:
        self.metrics.update(metrics)

    def set_tags(self, tags) -> None:
        self.tags.update(tags)

    def log_artifact(self, path, folder="") -> None:
        assert Path(path).exists()
        self.artifacts.append(f"{folder}/{Path(path).name}".lstrip("/"))

    def log_text(self, text, name) -> None:
        self.texts[name] = text

    def finish_stage(self, **_) -> None:
        self.finished = True
