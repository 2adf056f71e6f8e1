"""The chain behind a model: every stage's output, digest, fingerprint and run, in order, each gap named.

A gap is an output that is not here, an input that changed after it was read, or an output no finished run is
known for. Digests are computed from what lies on this disk; what a sidecar or a tag claims is only compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from components.settings import Settings
from components.tracking.digest import digest_tree
from components.tracking.runs import TAG_OUTPUT, pinned_data, runs_with
from components.tracking.stage import GRAPH, run_sidecar, settings_section
from components.tracking.store import Store, open_store, unreachable

if TYPE_CHECKING:
    from mlflow.entities import Run

LOCK = Path("dvc.lock")


@dataclass(frozen=True, slots=True)
class LineageRow:
    """One link: a stage (or a pinned raw folder), what it wrote, and what is missing."""

    stage: str
    output: str
    digest: str  # sha256 of the output, or the md5 that a .dvc file pins
    fingerprint: str = ""
    run_id: str = ""
    gaps: tuple[str, ...] = ()


def lineage_of(settings: Settings, *, until: str = "", store: Store | None = None) -> tuple[LineageRow, ...]:
    """Return the raw data's row and one row an output, in the graph's order, up to (not with) stage `until`.

    Raises:
        TrackingError: the tracking store does not answer.
    """
    store = store or open_store(settings)
    digests: dict[str, str] = {}
    rows = [*_pinned_rows()]
    for stage, output in stage_outputs(settings):
        if until and stage == until:
            break
        rows.append(_output_row(stage, Path(output), digests, store))
    return tuple(rows)


def run_of(output: Path, *, store: Store, digest: str = "") -> str:
    """Return the run that made exactly this output: from its sidecar if the digest agrees, else by search."""
    digest = digest or digest_tree(output)
    sidecar = run_sidecar(output)
    if sidecar.is_file():
        claimed = json.loads(sidecar.read_text())
        if claimed.get("output_digest") == digest and _finished(store, claimed.get("run_id", "")):
            return str(claimed["run_id"])
    found = [run for run in runs_with(store, {TAG_OUTPUT: digest}) if run.info.status == "FINISHED"]
    return found[-1].info.run_id if found else ""


def stage_outputs(settings: Settings, *, graph: Path = GRAPH) -> Iterator[tuple[str, str]]:
    """Yield (stage, output folder) of the pipeline in its order; a `foreach` is unrolled from the settings."""
    stages = yaml.safe_load(graph.read_text())["stages"] if graph.is_file() else {}
    for name, row in stages.items():
        if "foreach" not in row:
            yield from ((name, out) for out in _paths(row.get("outs", [])))
            continue
        keys = settings_section(settings, row["foreach"].strip("${}"))
        for key in keys:
            for out in _paths(row["do"].get("outs", [])):
                yield f"{name}@{key}", out.replace("${key}", str(key))


def _paths(outs: list[str | dict[str, Any]]) -> list[str]:
    """Return the paths of `outs`, which DVC writes as text or as {path: options}."""
    return [out if isinstance(out, str) else next(iter(out)) for out in outs]


def _pinned_rows() -> Iterator[LineageRow]:
    pinned = pinned_data()
    if not pinned:
        yield LineageRow("raw data", "data", "", gaps=("no .dvc file pins the raw data",))
    for path, md5 in pinned.items():
        read = _locked_md5(path)
        gaps = () if read in ("", md5) else (f"{path}.dvc pins {md5}, but dvc.lock read {read}",)
        yield LineageRow("raw data", path, md5, gaps=gaps if md5 else ("the .dvc file has no md5",))


def _locked_md5(path: str) -> str:
    stages = yaml.safe_load(LOCK.read_text()).get("stages", {}) if LOCK.is_file() else {}
    found = (dep for row in stages.values() for dep in row.get("deps", []) if dep.get("path") == path)
    return str(next(found, {}).get("md5", ""))


def _output_row(stage: str, output: Path, digests: dict[str, str], store: Store) -> LineageRow:
    manifest = _manifest(output)
    if manifest is None:
        return LineageRow(stage, output.as_posix(), "", gaps=("no output with a manifest on this disk",))
    gaps = [gap for path, digest in manifest["inputs"].items() if (gap := _input_gap(path, digest, digests))]
    digest = _digest(output.as_posix(), digests)
    run_id = run_of(output, store=store, digest=digest)
    if not run_id:
        gaps.append("no finished run is known for this output")
    return LineageRow(stage, output.as_posix(), digest, manifest["fingerprint"], run_id, tuple(gaps))


def _manifest(output: Path) -> dict[str, Any] | None:
    try:
        manifest = json.loads((output / "manifest.json").read_text())
    except (OSError, json.JSONDecodeError):
        return None
    return manifest if "inputs" in manifest and "fingerprint" in manifest else None


def _input_gap(path: str, digest: str, digests: dict[str, str]) -> str:
    now = _digest(path, digests)
    if not now:
        return f"input {path} is not on this disk"
    return "" if now == digest else f"input {path} changed since it was read"


def _digest(path: str, digests: dict[str, str]) -> str:
    if path not in digests:
        digests[path] = digest_tree(Path(path)) if Path(path).exists() else ""
    return digests[path]


def _finished(store: Store, run_id: str) -> bool:
    run = _run(store, run_id)
    return run is not None and run.info.status == "FINISHED"


def _run(store: Store, run_id: str) -> Run | None:
    try:
        return store.client.get_run(run_id)
    except unreachable():
        return None
