"""One execution of one pipeline stage: scratch folder, counts, manifest, MLflow run, commit by rename.

Every stage command runs inside `open_stage`. The manifest (`<output>/manifest.json`) holds only what the
inputs, settings and code decide, so the same commit gives the same bytes; seconds, host, git commit and the
MLflow run id go to `<output>.run.json` beside it, which DVC does not hash.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from components.settings import Settings
from components.tracking.commit import folder_aside, write_json
from components.tracking.digest import digest_file, digest_json, digest_tree, files_below
from components.tracking.runs import StageRun, open_run

GRAPH = Path("dvc.yaml")


@dataclass
class StageWork:
    """What a stage writes into: `scratch` becomes the output, `run` is its MLflow run."""

    name: str
    settings: Settings
    scratch: Path
    output: Path
    run: StageRun
    counts: dict[str, int] = field(default_factory=lambda: {"read": 0, "kept": 0})
    rejected: Counter[str] = field(default_factory=Counter)
    details: dict[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)  # path -> sha256, as read when the stage was opened

    def count(self, *, read: int = 0, kept: int = 0, rejected: Mapping[str, int] | None = None) -> None:
        """Add to the numbers of rows read, kept, and rejected by reason."""
        self.counts["read"] += read
        self.counts["kept"] += kept
        self.rejected.update(rejected or {})


def run_sidecar(output: Path) -> Path:
    """Where the volatile half of an output's manifest lies."""
    return output.with_name(output.name + ".run.json")


def read_manifest(output: Path) -> dict[str, Any]:
    """Return a committed output's manifest, with the run's facts under "run" when they are on this disk."""
    manifest = json.loads((output / "manifest.json").read_text())
    sidecar = run_sidecar(output)
    manifest["run"] = json.loads(sidecar.read_text()) if sidecar.is_file() else {}
    return manifest


@contextmanager
def open_stage(
    name: str, settings: Settings, *, output: Path, inputs: Sequence[Path], sections: Sequence[str],
    in_place: bool = False,
) -> Generator[StageWork]:  # fmt: skip
    """Run a stage's body; commit its output, manifest and MLflow run only if it ends well.

    `sections` names the settings that decide the output ("ingest", "recipe.stages.deep_alignment", …).
    The output folder is left as it was when the body raises. With `in_place` the body works in the output
    itself and commits its parts one by one: what is done survives a failure, and the manifest is absent
    from the start of the body until its end, so an unfinished output is seen to be one.
    """
    started = time.time()
    manifest = _known_before(name, settings, inputs, sections)
    with open_run(name, settings, fingerprint=manifest["fingerprint"], inputs=manifest["inputs"]) as run:
        with _folder_in_place(output) if in_place else folder_aside(output) as scratch:
            work = StageWork(name, settings, scratch, output, run, inputs=manifest["inputs"])
            yield work
            manifest |= {
                "counts": {**work.counts, "rejected": dict(sorted(work.rejected.items()))},
                "details": work.details,
            }
            write_json(scratch / "manifest.json", manifest)
        digest = digest_tree(output)
        sidecar = {
            "run_id": run.run_id, "seconds": round(time.time() - started, 2),
            "git_commit": git_commit(), "output_digest": digest,
        }  # fmt: skip
        write_json(run_sidecar(output), sidecar)
        run.finish_stage(manifest=manifest, sidecar=sidecar)


@contextmanager
def _folder_in_place(output: Path) -> Generator[Path]:
    output.mkdir(parents=True, exist_ok=True)
    (output / "manifest.json").unlink(missing_ok=True)
    yield output


def _known_before(
    name: str, settings: Settings, inputs: Sequence[Path], sections: Sequence[str]
) -> dict[str, Any]:
    known = {
        "stage": name,
        "inputs": {path.as_posix(): digest_tree(path) for path in inputs},
        "settings_hash": digest_json({section: settings_section(settings, section) for section in sections}),
        "code_hash": code_hash(name),
    }
    return {**known, "fingerprint": digest_json(known)}


def settings_section(settings: Settings, dotted: str) -> Any:
    """Return one part of the settings as plain JSON values, by its dotted name."""
    value: Any = settings.model_dump(mode="json")
    for part in dotted.split("."):
        value = value[part]
    return value


def code_hash(stage: str, *, graph: Path = GRAPH) -> str:
    """Hash the code that dvc.yaml declares as a dependency of a stage ("train@x" reads "train")."""
    if not graph.is_file():
        return "no dvc.yaml"
    row = yaml.safe_load(graph.read_text())["stages"][stage.split("@", maxsplit=1)[0]]
    deps = row.get("do", row).get("deps", [])
    paths = [Path(dep) for dep in deps if dep.startswith("components")]
    files = [file for path in paths for file in (files_below(path) if path.is_dir() else [path])]
    return digest_json({file.as_posix(): digest_file(file) for file in files if file.name != "README.md"})


def git_commit() -> str:
    """Return the commit with "+changes" when the work tree differs, or "not in git"."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        changes = subprocess.run(
            ["git", "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "not in git"
    return commit.stdout.strip() + ("+changes" if changes.stdout.strip() else "")
