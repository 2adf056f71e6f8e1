"""MLflow runs: one parent a pipeline, one child a stage execution, its status true whatever ends it.

Nothing is exported to child processes (MLFLOW_RUN_ID makes a child overwrite its parent); ranks above 0 get a
silent run. A retry finds the run that its crashed, killed or failed forerunner left and goes on in it; a point
that the forerunner logged at the same step is not logged again.
"""

from __future__ import annotations

import json
import re
import signal
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import yaml

from components.settings import Settings, load_secrets, process_rank, secret_environment
from components.tracking.digest import digest_json
from components.tracking.journal import RunWriter, import_journals
from components.tracking.owner import is_restart_of, owner, owner_lives, scheduler_job
from components.tracking.redact import redact, redact_mapping
from components.tracking.store import Store, keeps_here, open_store

if TYPE_CHECKING:
    from mlflow.entities import Run

DATASET_DIGEST_LENGTH = 36  # MLflow's limit; an md5 of a folder in DVC has exactly these
TAG_STAGE, TAG_FINGERPRINT, TAG_PIPELINE = "gmai.stage", "gmai.fingerprint", "gmai.pipeline"
TAG_OUTPUT, TAG_OWNER, TAG_ATTEMPTS = "gmai.output_digest", "gmai.owner", "gmai.attempts"
TAG_PARENT, TAG_NOTE, TAG_JOB = "mlflow.parentRunId", "mlflow.note.content", "gmai.job"

LAYOUT: Any = {"cluster": True, "training": {"workers", "checkpoint", "guard", "log_every"}}


@dataclass
class StageRun:
    """The MLflow run of one stage execution; every method is silent when there is no writer (ranks above 0)."""

    run_id: str
    stage: str
    writer: RunWriter | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)
    points: set[tuple[str, int]] = field(default_factory=set, repr=False)
    keeps_here: bool = True  # its artefacts stay on this machine

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers at an optimiser step, each once whatever is trained again, or without a step."""
        values = {metric_name(name): float(value) for name, value in metrics.items()}
        if step is not None:
            values = {name: value for name, value in values.items() if (name, step) not in self.points}
            self.points.update((name, step) for name in values)
        if values:
            self._send("metrics", values=values, step=step or 0, timestamp=_now())

    def log_params(self, params: Mapping[str, object]) -> None:
        """Log settings as text, secrets hidden; a value that the run has already stays."""
        hidden = redact_mapping(params, self.secrets)
        self._send("params", values={metric_name(name): value[:6000] for name, value in hidden.items()})

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Set tags, secrets hidden."""
        hidden = redact_mapping(tags, self.secrets)
        self._send("tags", values={metric_name(name): value[:8000] for name, value in hidden.items()})

    def log_artifact(self, path: Path, folder: str = "") -> None:
        """Copy a file or folder into the run's artefacts, below `folder`."""
        self._send("artifact", path=str(path), folder=checked_artifact_name(folder))

    def log_text(self, text: str, name: str) -> None:
        """Write an artefact file from text, secrets hidden."""
        self._send("text", text=redact(text, self.secrets), name=checked_artifact_name(name))

    def log_dataset(
        self, name: str, digest: str, source: str, context: str = "input", tags: Mapping[str, str] | None = None
    ) -> None:
        """Log a dataset as input: its name, digest (cut to 36 characters) and address."""
        hidden = redact_mapping(tags or {}, self.secrets)
        self._send(
            "dataset", name=name, digest=digest[:DATASET_DIGEST_LENGTH], source=redact(source, self.secrets),
            context=context, tags=hidden,
        )  # fmt: skip

    def finish_stage(self, *, manifest: Mapping[str, Any], sidecar: Mapping[str, Any]) -> None:
        """Log what a committed stage amounts to: counts, rejections by reason, seconds, digests, the manifest."""
        counts = dict(manifest.get("counts", {}))
        rejected = dict(counts.pop("rejected", {}))
        numbers = {f"rows_{name}": value for name, value in counts.items()} | {"rejected": sum(rejected.values())}
        numbers |= {f"rejected.{reason}": value for reason, value in rejected.items()}
        self.log_metrics({**numbers, "seconds": sidecar.get("seconds", 0.0)})
        self.set_tags(
            {
                TAG_OUTPUT: sidecar.get("output_digest", ""),
                TAG_FINGERPRINT: manifest.get("fingerprint", ""),
                "gmai.settings_hash": manifest.get("settings_hash", ""),
                "gmai.code_hash": manifest.get("code_hash", ""),
                "gmai.git_commit": sidecar.get("git_commit", ""),
                "mlflow.source.git.commit": str(sidecar.get("git_commit", "")).partition("+")[0],
            }
        )
        self.log_text(json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False), "manifest.json")

    def _send(self, operation: str, **content: Any) -> None:
        if self.writer is not None:
            self.writer.send(operation, **content)


@contextmanager
def open_run(
    stage: str, settings: Settings, *, fingerprint: str, inputs: Mapping[str, str]
) -> Generator[StageRun]:
    """Open the run of one stage execution below its pipeline's run; end it as FINISHED, FAILED or KILLED.

    `inputs` maps a path to its sha256; a path with a `.dvc` file beside it is logged under the md5 in there.

    Raises:
        TrackingError: the store's address is wrong, or it does not answer at the start.
    """
    if process_rank() > 0:
        yield StageRun("", stage)
        return
    store = open_store(settings)
    import_journals(store.client)
    secrets = known_secrets()
    parent = find_or_make_parent(store, settings, secrets)
    left = _reattach(store, stage, fingerprint, parent)
    run_id = left or _create(store, stage, fingerprint, parent)
    points = _points_of(store, run_id) if left else set()
    stays = keeps_here(store.uri, store.client.get_run(run_id).info.artifact_uri or "")
    run = StageRun(run_id, stage, RunWriter(store.client, run_id), secrets, points, stays)
    parent_writer = RunWriter(store.client, parent)
    with _status_kept(run, parent_writer):
        _describe(run, settings, store, inputs)
        yield run


@contextmanager
def _status_kept(run: StageRun, parent: RunWriter) -> Generator[None]:
    assert run.writer is not None
    status = "FAILED"
    try:
        with _sigterm_raises():
            yield
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        status = "KILLED"
        raise
    except BaseException as error:
        run.set_tags({"gmai.error": f"{type(error).__name__}: {error}"[:2000]})
        raise
    finally:
        for writer in (run.writer, parent):
            writer.send("status", status=status, end_time=_now())
            writer.close()


@contextmanager
def _sigterm_raises() -> Generator[None]:
    """Turn SIGTERM into SystemExit(143), so that the run's status and the scratch folder are put right.

    A command that has its own way of leaving keeps it: the handler that it set stays.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or callable(signal.getsignal(signal.SIGTERM)):
        yield
        return

    def stop(*_: object) -> None:
        raise SystemExit(143)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def find_or_make_parent(store: Store, settings: Settings, secrets: Sequence[str] = ()) -> str:
    """Return the id of the pipeline's run, found by (settings, data) or made; set it RUNNING."""
    key = pipeline_key(settings)
    found = runs_with(store, {TAG_PIPELINE: key})
    if not found:
        run_id = _make_run(store, f"pipeline-{key[:8]}", {TAG_PIPELINE: key, TAG_STAGE: "pipeline"})
        found = runs_with(store, {TAG_PIPELINE: key})  # two processes may have made one each: the eldest stays
        if run_id != found[0].info.run_id:
            store.client.delete_run(run_id)
        else:
            parent = StageRun(run_id, "pipeline", RunWriter(store.client, run_id), tuple(secrets))
            parent.log_params(flat_settings(settings))
            _log_inputs(parent, dict.fromkeys(pinned_data(), ""))
    store.client.update_run(found[0].info.run_id, status="RUNNING")
    return found[0].info.run_id


def pipeline_key(settings: Settings) -> str:
    """Return the hash of the settings and of the committed data digests: one pipeline, one key.

    Where and how safely it runs is no part of it: a stage that goes on under another cluster stays one run.
    """
    decides = settings.model_dump(mode="json", exclude=LAYOUT)
    return digest_json({"settings": decides, "data": pinned_data()})


def pinned_data() -> dict[str, str]:
    """Return what the .dvc files here pin: path -> md5."""
    pointers = (path for path in sorted(Path().glob("*.dvc")) if path.is_file())  # `.dvc/` matches the pattern too
    return {pointer.with_suffix("").as_posix(): dvc_digest(pointer) for pointer in pointers}


def dvc_digest(pointer: Path) -> str:
    """Return the md5 that a .dvc file pins, or "" when there is no such file."""
    if not pointer.is_file():
        return ""
    outs = (yaml.safe_load(pointer.read_text()) or {}).get("outs") or [{}]
    return str(outs[0].get("md5", ""))


def _reattach(store: Store, stage: str, fingerprint: str, parent: str) -> str:
    """Return the run that an unfinished forerunner of this very execution left, or ""."""
    for run in runs_with(store, {TAG_STAGE: stage, TAG_FINGERPRINT: fingerprint, TAG_PARENT: parent}):
        lives = owner_lives(run.data.tags.get(TAG_OWNER, "")) and not is_restart_of(run.data.tags.get(TAG_JOB, ""))
        if run.info.status == "FINISHED" or (run.info.status == "RUNNING" and lives):
            continue
        attempts = int(run.data.tags.get(TAG_ATTEMPTS, "1")) + 1
        store.client.update_run(run.info.run_id, status="RUNNING")
        store.client.set_tag(run.info.run_id, TAG_OWNER, owner())
        store.client.set_tag(run.info.run_id, TAG_JOB, scheduler_job())
        store.client.set_tag(run.info.run_id, TAG_ATTEMPTS, str(attempts))
        return run.info.run_id
    return ""


def _points_of(store: Store, run_id: str) -> set[tuple[str, int]]:
    """Return (metric, step) of every point that a run holds."""
    names = store.client.get_run(run_id).data.metrics
    return {(name, point.step) for name in names for point in store.client.get_metric_history(run_id, name)}


def _create(store: Store, stage: str, fingerprint: str, parent: str) -> str:
    tags = {
        TAG_STAGE: stage,
        TAG_FINGERPRINT: fingerprint,
        TAG_PARENT: parent,
        TAG_OWNER: owner(),
        TAG_JOB: scheduler_job(),
        TAG_ATTEMPTS: "1",
    }
    return _make_run(store, stage, tags)


def _make_run(store: Store, name: str, tags: dict[str, str]) -> str:
    source = {"mlflow.source.name": f"gmai {name}", "mlflow.source.type": "LOCAL"}
    return store.client.create_run(store.experiment_id, tags={**tags, **source}, run_name=name).info.run_id


def runs_with(store: Store, tags: Mapping[str, str]) -> list[Run]:
    """Find the experiment's runs that carry all these tags, eldest first (ties by id)."""
    query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
    found = store.client.search_runs([store.experiment_id], query, max_results=100)
    return sorted(found, key=lambda run: (run.info.start_time, run.info.run_id))


def _describe(run: StageRun, settings: Settings, store: Store, inputs: Mapping[str, str]) -> None:
    run.log_params(stage_params(settings, run.stage))
    makers = _log_inputs(run, inputs)
    if makers:
        address = f"#/experiments/{store.experiment_id}/runs"
        rows = [f"- `{path}` came from [run {maker[:8]}]({address}/{maker})" for path, maker in makers.items()]
        run.set_tags({TAG_NOTE: "Inputs:\n" + "\n".join(rows)})


def _log_inputs(run: StageRun, inputs: Mapping[str, str]) -> dict[str, str]:
    """Log inputs as datasets; return path -> id of the run that made it, where its sidecar is on this disk."""
    makers: dict[str, str] = {}
    for path, digest in inputs.items():
        pinned = dvc_digest(Path(path + ".dvc"))
        tags = {"sha256": digest} if digest else {}
        tags |= {"pinned_by": path + ".dvc"} if pinned else {}
        if maker := maker_of(Path(path)):
            makers[path] = tags["made_by_run"] = maker
        run.log_dataset(path, pinned or digest, Path(path).resolve().as_uri(), "input", tags)
    return makers


def maker_of(path: Path) -> str:
    """Return the id of the run that made this output (or the output this path lies in), or ""."""
    for folder in (path, *path.parents):
        sidecar = folder.with_name(folder.name + ".run.json") if folder.name else None
        if sidecar and sidecar.is_file():
            return str(json.loads(sidecar.read_text()).get("run_id", ""))
    return ""


def stage_params(settings: Settings, stage: str) -> dict[str, object]:
    """Flatten the settings for a stage's run; a recipe row's own values stand under "stage." to be compared."""
    values = flat_settings(settings)
    _, _, row = stage.partition("@")
    prefix = f"recipe.stages.{row}."
    own = {
        f"stage.{name.removeprefix(prefix)}": value for name, value in values.items() if name.startswith(prefix)
    }
    return {name: value for name, value in values.items() if not name.startswith("recipe.stages.")} | own


def flat_settings(settings: Settings) -> dict[str, object]:
    """Flatten the settings to dotted names."""
    return dict(_flatten("", settings.model_dump(mode="json")))


def _flatten(prefix: str, value: Any) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flatten(f"{prefix}.{name}" if prefix else str(name), inner)
    else:
        yield prefix, json.dumps(value) if isinstance(value, list | dict) else value


def known_secrets() -> tuple[str, ...]:
    """Collect this process's secrets, to hide them wherever they turn up."""
    secrets = load_secrets()
    login = re.search(r"://[^/@]*?:([^/@]+)@", secrets.tracking_uri)
    return (*secret_environment(), secrets.patient_key.get_secret_value(), *((login[1],) if login else ()))


def metric_name(name: str) -> str:
    """Replace what MLflow does not take in a key by "_"."""
    return re.sub(r"[^\w\-. /:]", "_", name)[:250]


def checked_artifact_name(name: str) -> str:
    """Return an artefact path that stays inside its run; ValueError for an absolute one or one with ".."."""
    if name.startswith("/") or "\\" in name or ".." in PurePosixPath(name).parts or "\0" in name:
        raise ValueError(f"artefact name {name!r} leaves the run's folder")
    return name


def _now() -> int:
    return int(time.time() * 1000)
