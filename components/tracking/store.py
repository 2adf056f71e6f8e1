"""The tracking store: which one, is it there, its experiment. Refuses MLflow's file store and a mute one.

SQLite is the default: write-ahead log on, so that readers never wait for a writer; MLflow itself sets a busy
timeout of 20 s and creates its tables once under a lock.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from components.errors import TrackingError
from components.settings import Settings, is_tracking_chosen, load_secrets
from components.tracking.redact import redact

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
SERVERS = ("http", "https")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
SQLITE_PREFIX = "sqlite:///"
LOUD_LOGGERS = ("alembic", "mlflow.store.db.utils", "mlflow.models", "mlflow.pyfunc", "mlflow.tracking")
FIX = "unset MLFLOW_TRACKING_URI, or export MLFLOW_TRACKING_URI=sqlite:////absolute/path/mlflow.db"


@dataclass(frozen=True)
class Store:
    """An open tracking store and the experiment that runs go to."""

    client: MlflowClient
    uri: str
    experiment_id: str


def is_store_configured() -> bool:
    """Tell whether there is a store that nobody has to make first: one was named, or the file is there."""
    uri = load_secrets().tracking_uri
    path = Path(unquote(uri.removeprefix(SQLITE_PREFIX).partition("?")[0]))
    return is_tracking_chosen() or (uri.startswith(SQLITE_PREFIX) and path.is_file())


def open_store(settings: Settings) -> Store:
    """Connect, create the experiment if it is new, and return both.

    Raises:
        TrackingError: the address is no tracking store, or it does not answer.
    """
    uri = load_secrets().tracking_uri
    check_address(uri)
    quieten()
    if uri.startswith(SQLITE_PREFIX):
        prepare_sqlite(Path(unquote(uri.removeprefix(SQLITE_PREFIX).partition("?")[0])))
    from mlflow import MlflowClient

    try:
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        experiment_id = _experiment_id(client, settings, is_local=uri.startswith(SQLITE_PREFIX))
    except unreachable() as error:
        raise TrackingError(
            f"the tracking store does not answer: {redact(str(error))[:400]}", where=redact(uri), fix=FIX
        ) from error
    return Store(client, uri, experiment_id)


def check_address(uri: str) -> None:
    """Raise TrackingError unless the address is a database or a server (MLflow's file store is gone, T5)."""
    scheme = uri.partition(":")[0].partition("+")[0]
    if "://" not in uri or scheme not in (*DATABASES, *SERVERS):
        raise TrackingError(
            f"not a tracking store: {redact(uri)!r} (need sqlite, postgresql, mysql, mssql, http or https)",
            where="MLFLOW_TRACKING_URI", fix=FIX,
        )  # fmt: skip


def keeps_here(uri: str, artifact_uri: str) -> bool:
    """Tell whether a run's artefacts stay on this machine.

    `uri` is the store's address, `artifact_uri` the run's: a folder, a bucket, or the server's own
    (`mlflow-artifacts:`), which is here when the server listens on the loopback interface.
    """
    place = urlsplit(artifact_uri)
    if place.scheme == "mlflow-artifacts":
        return (place.hostname or urlsplit(uri).hostname) in LOOPBACK
    return place.scheme in ("", "file") and place.hostname in (None, *LOOPBACK)


def prepare_sqlite(path: Path) -> None:
    """Make the folder and set the write-ahead log; raise TrackingError when the file is not to be used."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=60)
        try:
            connection.execute("PRAGMA journal_mode=WAL").fetchone()
        finally:
            connection.close()
    except (sqlite3.Error, OSError) as error:
        raise TrackingError(
            f"the tracking database cannot be opened: {error}", where=str(path), fix=FIX
        ) from error


def quieten() -> None:
    """Switch telemetry off, bound HTTP retries (7 by default, minutes), and drop MLflow's INFO lines."""
    for name, value in {
        "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "20", "MLFLOW_UV_AUTO_DETECT": "false",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }.items():  # fmt: skip
        os.environ.setdefault(name, value)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    for name in LOUD_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)


def unreachable() -> tuple[type[BaseException], ...]:
    """Name the errors by which a store says that it cannot answer."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return (MlflowException, SQLAlchemyError, OSError)


def _experiment_id(client: MlflowClient, settings: Settings, *, is_local: bool) -> str:
    from mlflow.exceptions import MlflowException

    name = settings.tracking.experiment
    found = client.get_experiment_by_name(name)
    if found is None:
        folder = settings.tracking.artifact_folder.resolve()
        try:
            return client.create_experiment(name, artifact_location=folder.as_uri() if is_local else None)
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another process was first
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"experiment {name!r} was deleted",
            where="mlflow",
            fix=f"mlflow experiments restore -x {found.experiment_id}",
        )
    return found.experiment_id
