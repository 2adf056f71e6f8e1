"""Writes to one run; when the store stops answering they go to a journal on disk and are imported later.

A journal is `var/journal/<run id>.jsonl`, one write a line, files beside it. Importing replays the lines in
order and renames the journal; every write is one that the store takes twice without harm (same tags, same
metric at the same time and step, same file), so a half-done import may simply be repeated.
"""

from __future__ import annotations

import fcntl
import json
import logging
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from components.errors import TrackingError
from components.tracking.store import unreachable

if TYPE_CHECKING:
    from mlflow import MlflowClient

JOURNAL_FOLDER = Path("var/journal")
BATCH = 100
logger = logging.getLogger(__name__)


class RunWriter:
    """The only way a run is written to: metrics, params, tags, artifact, text, dataset, status."""

    def __init__(self, client: MlflowClient, run_id: str, *, folder: Path | None = None) -> None:
        self.client, self.run_id, self.folder = client, run_id, folder or JOURNAL_FOLDER
        self.journal: TextIO | None = None

    def send(self, operation: str, **content: Any) -> None:
        """Write to the store; from the first refusal on, to the journal (order is kept).

        Raises:
            TrackingError: the store answers that this write is wrong.
        """
        if self.journal is None:
            try:
                OPERATIONS[operation](self.client, self.run_id, **content)
                return
            except unreachable() as error:
                if is_our_mistake(error):
                    raise TrackingError(
                        f"the store refuses this {operation}: {error}", where=self.run_id
                    ) from error
                logger.warning("tracking store lost, writing to %s: %s", self._open_journal(), str(error)[:200])
        self._note(operation, content)

    def close(self) -> None:
        """Import the journal if the store is back; otherwise leave it for the next run or `import_journals`."""
        if self.journal is None:
            return
        path = Path(self.journal.name)
        self.journal.close()
        self.journal = None
        import_journal(self.client, path)

    def _open_journal(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{self.run_id}.jsonl"
        self.journal = path.open("a", encoding="utf-8")
        fcntl.flock(self.journal, fcntl.LOCK_EX)
        return path

    def _note(self, operation: str, content: dict[str, Any]) -> None:
        assert self.journal is not None
        if operation == "artifact":
            content = content | {"path": str(self._kept_copy(Path(content["path"])))}
        self.journal.write(json.dumps({"run_id": self.run_id, "operation": operation, "content": content}) + "\n")
        self.journal.flush()

    def _kept_copy(self, path: Path) -> Path:
        """Copy an artefact beside the journal: the scratch folder it lies in will be gone."""
        kept = self.folder / "files" / self.run_id / path.name
        kept.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, kept, dirs_exist_ok=True)
        else:
            shutil.copyfile(path, kept)
        return kept


def import_journals(client: MlflowClient, folder: Path | None = None) -> int:
    """Import every journal that no living process writes; return how many went in."""
    return sum(import_journal(client, path) for path in sorted((folder or JOURNAL_FOLDER).glob("*.jsonl")))


def import_journal(client: MlflowClient, path: Path) -> bool:
    """Replay one journal and rename it to `<name>.imported`; False when the store or the lock says no."""
    with path.open(encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for line in _whole_lines(handle):
                OPERATIONS[line["operation"]](client, line["run_id"], **line["content"])
        except unreachable() as error:
            logger.warning("journal %s stays: %s", path, str(error)[:200])
            return False
        path.replace(path.with_suffix(".imported"))
    shutil.rmtree(path.parent / "files" / path.stem, ignore_errors=True)
    return True


def is_our_mistake(error: BaseException) -> bool:
    """Say whether the store answered and found the request itself wrong."""
    return getattr(error, "error_code", "") == "INVALID_PARAMETER_VALUE"


def _whole_lines(handle: TextIO) -> Iterable[dict[str, Any]]:
    """Yield the lines that were written to their end (a killed writer leaves a part of one)."""
    return [json.loads(line) for line in handle if line.endswith("\n")]


def _metrics(client: MlflowClient, run_id: str, *, values: dict[str, float], step: int, timestamp: int) -> None:
    from mlflow.entities import Metric

    client.log_batch(run_id, metrics=[Metric(name, value, timestamp, step) for name, value in values.items()])


def _params(client: MlflowClient, run_id: str, *, values: dict[str, str]) -> None:
    from mlflow.entities import Param

    known = client.get_run(run_id).data.params  # MLflow refuses to change one; a retry keeps the first
    new = [Param(name, value) for name, value in values.items() if name not in known]
    for start in range(0, len(new), BATCH):
        client.log_batch(run_id, params=new[start : start + BATCH])


def _tags(client: MlflowClient, run_id: str, *, values: dict[str, str]) -> None:
    from mlflow.entities import RunTag

    tags = [RunTag(name, value) for name, value in values.items()]
    for start in range(0, len(tags), BATCH):
        client.log_batch(run_id, tags=tags[start : start + BATCH])


def _artifact(client: MlflowClient, run_id: str, *, path: str, folder: str) -> None:
    if Path(path).is_dir():
        client.log_artifacts(run_id, path, "/".join(part for part in (folder, Path(path).name) if part))
    else:
        client.log_artifact(run_id, path, folder or None)


def _text(client: MlflowClient, run_id: str, *, text: str, name: str) -> None:
    client.log_text(run_id, text, name)


def _dataset(
    client: MlflowClient, run_id: str, *, name: str, digest: str, source: str, context: str, tags: dict[str, str]
) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(name=name, digest=digest, source_type="local", source=json.dumps({"uri": source}))
    labels = [InputTag("mlflow.data.context", context), *(InputTag(key, value) for key, value in tags.items())]
    client.log_inputs(run_id, [DatasetInput(dataset, labels)])


def _status(client: MlflowClient, run_id: str, *, status: str, end_time: int) -> None:
    client.set_terminated(run_id, status, end_time)


OPERATIONS: dict[str, Callable[..., None]] = {
    "metrics": _metrics, "params": _params, "tags": _tags, "artifact": _artifact,
    "text": _text, "dataset": _dataset, "status": _status,
}  # fmt: skip
