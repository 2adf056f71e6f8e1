"""The evidence behind a version: gathered from the stages' outputs, kept with it, read back for the next.

`candidate_of` holds only what inputs and code decide, so that it can be a DVC output; run ids, gaps and the
answers item by item travel in MLflow's artefacts `evidence.json` and `items.json` of the register run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from components.errors import TrackingError
from components.evaluation.permitted import PERMITTED_USE
from components.evaluation.protocol import parts_of
from components.evaluation.statistics import paired_difference
from components.registry.gate import Comparison, Evidence
from components.tracking.digest import digest_file, digest_json, digest_tree, files_below
from components.tracking.lineage import LineageRow
from components.tracking.model_package import DIGEST_TAG, Registry, Version, read_artifact
from components.tracking.tables import iterate_rows

EVIDENCE_ARTIFACT, ITEMS_ARTIFACT, REGISTER_RUN_TAG = "evidence.json", "items.json", "gmai.register_run"
LONGEST_HEADER_BYTES = 100_000_000  # the safetensors format's own limit


def gather_evidence(
    model: Path, *, checked: Path, evaluation: Path, metrics: Path, lineage: tuple[LineageRow, ...], primary: str
) -> Evidence:
    """Read what the stages left behind; what is not there stays empty for the gate to name."""
    scores = _json(metrics) or {}
    use = _json(evaluation / PERMITTED_USE) or {}
    return Evidence(
        model_digest=digest_tree(model),
        files={file.relative_to(model).as_posix(): digest_file(file) for file in files_below(model)},
        damaged=damaged_files(model),
        evaluated_digest=evaluated_digest(evaluation, model),
        quality=quality_of(checked),
        lineage=tuple(asdict(row) for row in lineage),
        image_minus_blind=scores.get("image_minus_blind"),
        no_blind=no_blind_words(scores),
        protocol=parts_of(scores, primary),
        scores=tuple(scores.get("scores", ())),
        items=primary_items(evaluation / "predictions", primary),
        permitted_use=use.get("permitted_use", {}),
        sources=tuple(use.get("sources", ())),
    )


def no_blind_words(metrics: Mapping[str, Any]) -> str:
    """Join the evaluation's reasons for missing blind rows: "closed_questions: no blind row: one patient"."""
    reasons = metrics.get("details", {}).get("no_blind", {})
    return "; ".join(f"{name}: {reason}" for name, reason in sorted(reasons.items()))


def candidate_of(evidence: Evidence, *, policy_hash: str, data: Mapping[str, str]) -> dict[str, Any]:
    """Return the reproducible part of the evidence: no run ids, versions, times, or gaps."""
    rows = [{key: row[key] for key in ("stage", "output", "digest", "fingerprint")} for row in evidence.lineage]
    return {
        "model": {
            "digest": evidence.model_digest,
            "files": dict(evidence.files),
            "damaged": list(evidence.damaged),
        },
        "evaluated_digest": evidence.evaluated_digest,
        "evaluation": {"image_minus_blind": evidence.image_minus_blind, "scores": list(evidence.scores)},
        "items_digest": digest_json(items_to_json(evidence)),
        "quality": dict(evidence.quality) if evidence.quality is not None else None,
        "lineage": rows,
        "data": dict(data),
        "permitted_use": dict(evidence.permitted_use),
        "sources": list(evidence.sources),
        "policy_hash": policy_hash,
    }


def evidence_to_json(evidence: Evidence) -> dict[str, Any]:
    """Return everything but the items as plain values."""
    return {key: value for key, value in asdict(evidence).items() if key != "items"}


def items_to_json(evidence: Evidence) -> list[list[Any]]:
    """Return the primary's items as [item, patient, score], in order of item."""
    return [[item, patient, score] for item, (patient, score) in sorted(evidence.items.items())]


def recall_evidence(registry: Registry, version: Version) -> Evidence:
    """Read a registered version's evidence back, its package's digest computed afresh.

    What is gone stays empty for the gate to name: a version registered by hand has a digest tag at most.
    """
    run_id = version.tags.get(REGISTER_RUN_TAG, "")
    kept = read_artifact(registry.store, run_id, EVIDENCE_ARTIFACT) if run_id else None
    evidence = Evidence(version.tags.get(DIGEST_TAG, ""), {})
    if kept is not None:
        values = json.loads(kept)
        items = json.loads(read_artifact(registry.store, run_id, ITEMS_ARTIFACT) or b"[]")
        values |= {name: tuple(values[name]) for name in ("damaged", "lineage", "scores")}
        values["sources"] = tuple(values.get("sources", ()))  # versions before it was kept have none
        evidence = Evidence(**values, items={item: (patient, score) for item, patient, score in items})
    return with_package(evidence, registry, version)


def package_digest(registry: Registry, version: Version) -> str:
    """Return the digest of the weights in a version's package as they lie there now, "" when they are gone."""
    try:
        folder = registry.package_folder(version) / "artifacts"
    except TrackingError:
        return ""
    inside = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    return digest_tree(inside[0]) if len(inside) == 1 else ""


def with_package(evidence: Evidence, registry: Registry, version: Version) -> Evidence:
    """Return the evidence with the version it became and the digest of its package."""
    return replace(evidence, version=version.number, package_digest=package_digest(registry, version))


def damaged_files(folder: Path) -> tuple[str, ...]:
    """Name the files whose content is not what their suffix promises, and remote code in a config."""
    problems: list[str] = []
    for file in files_below(folder):
        name = file.relative_to(folder).as_posix()
        if file.suffix == ".safetensors" and (problem := safetensors_problem(file)):
            problems.append(f"{name}: {problem}")
        if file.suffix == ".json":
            content = _json(file)
            if content is None:
                problems.append(f"{name}: not JSON")
            elif isinstance(content, dict) and "auto_map" in content:
                problems.append(f"{name}: asks for remote code (auto_map)")
    return tuple(problems)


def safetensors_problem(file: Path) -> str:
    """Check a safetensors file's header against its size without reading the tensors; "" when it is whole.

    Format: 8 bytes little-endian header length, that many bytes of JSON, then the tensors end to end
    (https://github.com/huggingface/safetensors, "Format").
    """
    size = file.stat().st_size
    with file.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        if size < 8 or length > min(LONGEST_HEADER_BYTES, size - 8):
            return "not safetensors, or cut short"
        try:
            header = json.loads(handle.read(length))
        except (json.JSONDecodeError, UnicodeDecodeError):
            return "its header is not JSON"
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    return "" if size == 8 + length + max(ends, default=0) else "its tensors are cut short or followed by others"


def evaluated_digest(evaluation: Path, model: Path) -> str:
    """Return the digest of the weights that the evaluation read, from its manifest's inputs."""
    inputs = (_json(evaluation / "manifest.json") or {}).get("inputs", {})
    if model.as_posix() in inputs:
        return str(inputs[model.as_posix()])
    whole = inputs.get(model.parent.as_posix(), "")
    return digest_tree(model) if whole and whole == digest_tree(model.parent) else ""


def quality_of(checked: Path) -> dict[str, Any] | None:
    """Return passed, the failed expectations and the rejected share, or None when there are no results."""
    results = _json(checked / "results.json")
    if results is None:
        return None
    failed = [row["name"] for row in results.get("expectations", []) if not row["passed"]]
    return {"passed": results.get("passed"), "failed": failed, "rejected_share": results.get("rejected_share")}


def primary_items(predictions: Path, primary: str) -> dict[str, tuple[str, float]]:
    """Return the model's answers on the primary benchmark: item -> (patient, score); empty when not kept.

    The score is the benchmark's headline metric: the first that its predictions name.
    """
    if not any(predictions.glob("part-*.parquet")):
        return {}
    columns = ["item_id", "benchmark", "system", "patient_key", "score", "metric"]
    wanted = ("model", primary)
    rows = [row for row in iterate_rows(predictions, columns) if (row["system"], row["benchmark"]) == wanted]
    return {
        row["item_id"]: (row["patient_key"], float(row["score"]))
        for row in rows
        if row["metric"] == rows[0]["metric"]
    }


def compare(candidate: Evidence, champion: Evidence | None, *, resamples: int, seed: int) -> Comparison | None:
    """Compare two models on the same items, patients resampled; None unless both answered the same ones."""
    if champion is None or not candidate.items or candidate.items.keys() != champion.items.keys():
        return None
    order = sorted(candidate.items)
    ours, theirs = ([model.items[item][1] for item in order] for model in (candidate, champion))
    patients = [candidate.items[item][0] for item in order]
    found = paired_difference(ours, theirs, patients, resamples=resamples, seed=seed)
    interval = found.interval
    return Comparison(
        interval.value, interval.low, interval.high, interval.n, interval.num_clusters, found.wins, found.losses
    )


def _json(path: Path) -> Any | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        return None
