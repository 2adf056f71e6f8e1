"""A finished pipeline of a few kilobytes: every stage's output with its manifest and its finished MLflow run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import yaml
from safetensors.numpy import save_file

from components.records import Prediction, prediction_schema, to_rows
from components.settings import Settings
from components.tracking.commit import write_json
from components.tracking.lineage import stage_outputs
from components.tracking.stage import StageWork, open_stage
from components.tracking.tables import write_table

DATA_MD5 = "0123456789abcdef0123456789abcdef.dir"
NUM_ITEMS, NUM_PATIENTS = 40, 8
RECORD = {"record_id": "record0001", "source": "some_ct", "source_path": "some_ct/scan.nii.gz", "sha256": "5" * 64,
          "patient_key": "patient01", "split": "train", "licence": "CC0"}  # fmt: skip


def make_project(settings: Settings, *, root: Path) -> None:
    """Run a stand-in for every stage of the real graph (but the last) in the working folder."""
    graph = yaml.safe_load((root / "dvc.yaml").read_text())
    for row in graph["stages"].values():
        inner = row.get("do", row)
        inner["deps"] = [dep for dep in inner.get("deps", []) if not dep.startswith(("components", "conf"))]
    Path("dvc.yaml").write_text(yaml.safe_dump(graph, sort_keys=False))
    Path("data").mkdir()
    Path("data/scan.txt").write_text("raw")
    Path("data.dvc").write_text(yaml.safe_dump({"outs": [{"md5": DATA_MD5, "path": "data"}]}))
    made: list[Path] = [Path("data")]
    for stage, output in list(stage_outputs(settings))[:-1]:
        make_stage(settings, stage, Path(output), inputs=made[-1:])
        made.append(Path(output))


def make_stage(settings: Settings, stage: str, output: Path, *, inputs: list[Path]) -> None:
    """Write one output in the shape that the registry reads."""
    name = output.name
    inputs = [last_model(settings)] if name == "evaluation" else inputs
    with open_stage(stage, settings, output=output, inputs=inputs, sections=["seed"]) as work:
        {
            "records": _records,
            "pairs": _pairs,
            "checked": _checked,
            "packs": _packs,
            "evaluation": _evaluation,
        }.get(name, _model if output.parent.name == "models" else _nothing)(work)


def last_model(settings: Settings) -> Path:
    return settings.work_root / "models" / settings.recipe.final_stage


def write_model(folder: Path, value: float) -> None:
    save_file({"weight": np.full((4, 4), value, dtype=np.float32)}, folder / "model.safetensors")
    write_json(folder / "config.json", {"model_type": "llava"})


def write_scores(*, accuracy: float = 0.6, blind: float = 0.4, fingerprint: str = "protocol-1") -> None:
    interval = {"low": accuracy - 0.1, "high": accuracy + 0.1, "n": NUM_ITEMS, "baseline": 0.3}
    score = {"benchmark": "closed_questions", "metric": "accuracy", "value": accuracy, "fingerprint": fingerprint}
    margin = {
        "value": accuracy - blind,
        "low": accuracy - blind - 0.1,
        "high": accuracy - blind + 0.1,
        "n": NUM_ITEMS,
        "num_patients": NUM_PATIENTS,
    }
    write_json(Path("metrics/evaluation.json"), {"image_minus_blind": margin, "scores": [score | interval]})


def _records(work: StageWork) -> None:
    schema = pa.schema([(name, pa.string()) for name in RECORD])
    rows = [RECORD, RECORD | {"record_id": "record0002", "source_path": "some_ct/other.nii.gz"}]
    write_table(work.scratch / "some_ct", rows, schema)


def _pairs(work: StageWork) -> None:
    schema = pa.schema([("pair_id", pa.string()), ("record_ids", pa.list_(pa.string())), ("kind", pa.string())])
    rows = [
        {"pair_id": "pair01", "record_ids": ["record0001"], "kind": "caption"},
        {"pair_id": "pair02", "record_ids": ["record0002", "record0001"], "kind": "comparison"},
        {"pair_id": "pair03", "record_ids": ["record0002"], "kind": "percept"},
    ]
    write_table(work.scratch, rows, schema)


def _packs(work: StageWork) -> None:
    schema = pa.schema([("pack_id", pa.string()), ("pair_ids", pa.list_(pa.string()))])
    for index, mixture in enumerate(work.settings.recipe.mixtures):
        rows = [
            {"pack_id": f"pack{index}a", "pair_ids": ["pair01", "pair03"]},
            {"pack_id": f"pack{index}b", "pair_ids": ["pair02"]},
            {"pack_id": f"pack{index}c", "pair_ids": ["pair03"]},
        ]
        write_table(work.scratch / mixture / "train", rows, schema)


def _model(work: StageWork) -> None:
    row = work.output.name
    mixture = work.settings.recipe.stages[row].mixture
    index = list(work.settings.recipe.mixtures).index(mixture)
    write_model(work.scratch, float(list(work.settings.recipe.stages).index(row)))
    schema = pa.schema([("step", pa.int64()), ("pack_id", pa.string())])
    seen = [{"step": step, "pack_id": f"pack{index}{letter}"} for step, letter in enumerate("abac")]
    write_table(work.scratch / "samples", seen, schema)


def _checked(work: StageWork) -> None:
    results = {"passed": True, "expectations": [{"name": "unique_ids", "passed": True}], "rejected_share": 0.1}
    write_json(work.scratch / "results.json", results)


def _evaluation(work: StageWork) -> None:
    write_scores()
    write_predictions(work.scratch / "predictions", right=24)
    terms = {"commercial_use": "no", "may_be_redistributed": "not stated"}
    write_json(work.scratch / "permitted_use.json", {"sources": ["some_ct"], "permitted_use": terms})


def write_predictions(folder: Path, *, right: int) -> None:
    rows = [
        Prediction(
            item_id=f"item{item:02d}", benchmark="closed_questions", system=system, modality="CT", prompt="?",
            patient_key=f"patient{item % NUM_PATIENTS}", question_type="presence", raw_answer="", parsed_answer="",
            gold="", score=float(item < right), metric="accuracy",
        )
        for item in range(NUM_ITEMS) for system in ("model", "blind")
    ]  # fmt: skip
    write_table(folder, to_rows(rows), prediction_schema())


def _nothing(work: StageWork) -> None:
    (work.scratch / "nothing.txt").write_text(json.dumps({"stage": work.name}))
