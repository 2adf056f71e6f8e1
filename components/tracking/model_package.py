"""The model registry: packages (code beside safetensors), versions, aliases moved by compare-and-swap."""

from __future__ import annotations

import fcntl
import json
import shutil
import sys
import tempfile
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import ProjectError, TrackingError
from components.settings import Settings
from components.tracking.redact import redact_mapping
from components.tracking.runs import known_secrets, metric_name
from components.tracking.store import Store, open_store, unreachable

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

REGISTRY_LOCK = Path("var/registry.lock")
DIGEST_TAG = "gmai.model_digest"
REQUIREMENTS = ("mlflow", "torch", "transformers", "tokenizers", "safetensors", "pillow", "pydicom", "pydantic")


@dataclass(frozen=True)
class Version:
    """One registered version: its number, the run its weights came from, its tags."""

    number: str
    run_id: str
    source: str
    tags: Mapping[str, str]
    created: int  # milliseconds since 1970


@dataclass(frozen=True)
class Registry:
    """One registered model in one store."""

    store: Store
    name: str

    def versions(self) -> tuple[Version, ...]:
        """List every version, eldest first."""
        found, token = [], None
        while True:
            page = self.store.client.search_model_versions(
                f"name='{self.name}'", max_results=1000, page_token=token
            )
            found += [_version(row) for row in page]
            token = page.token
            if not token:
                return tuple(sorted(found, key=lambda version: int(version.number)))

    def version(self, number: str) -> Version:
        """Return one version; raise TrackingError naming those that exist."""
        try:
            return _version(self.store.client.get_model_version(self.name, number))
        except unreachable() as error:
            known = ", ".join(version.number for version in self.versions()) or "none"
            raise TrackingError(
                f"{self.name} has no version {number!r} (known: {known})",
                where=self.name,
                fix="dvc repro register",
            ) from error

    def with_digest(self, digest: str) -> Version | None:
        """Return the version that holds exactly these weights, if any."""
        return next((version for version in self.versions() if version.tags.get(DIGEST_TAG) == digest), None)

    def alias(self, alias: str) -> Version | None:
        """Return the version an alias points at, or None; TrackingError when the store does not answer.

        A mute store is never taken for "no champion yet": that would open the gate.
        """
        try:
            return _version(self.store.client.get_model_version_by_alias(self.name, alias))
        except unreachable() as error:
            if getattr(error, "error_code", "") in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise TrackingError(f"the registry does not answer: {str(error)[:300]}", where=self.name) from error

    def move_alias(self, alias: str, number: str, *, expected: str) -> None:
        """Point the alias at a version, if it still points where the caller saw it ("" for nowhere).

        The caller holds `registry_lock`, so that the ledger tells the same story.

        Raises:
            TrackingError: another process moved it meanwhile.
        """
        current = self.alias(alias)
        found = current.number if current else ""
        if found != expected:
            raise TrackingError(
                f"{alias} moved meanwhile: expected version {expected or 'none'}, found {found or 'none'}",
                where=self.name,
                fix="look at `gmai history`, then decide again",
            )
        self.store.client.set_registered_model_alias(self.name, alias, number)

    def set_tags(self, number: str, tags: Mapping[str, object]) -> None:
        """Set a version's tags, secrets hidden."""
        for name, value in _clean(tags).items():
            self.store.client.set_model_version_tag(self.name, number, name, value)

    def register(self, folder: Path, *, code: Path, run_id: str, tags: Mapping[str, object], note: str) -> Version:
        """Package a model folder with its serving code under the run that trained it; return the new version."""
        hidden = _clean(tags)
        model_id = log_package(self.store, folder, code=code, run_id=run_id, name=self.name, tags=hidden)
        if not self.store.client.search_registered_models(f"name='{self.name}'"):
            self.store.client.create_registered_model(self.name)
        made = self.store.client.create_model_version(
            self.name,
            source=f"models:/{model_id}",
            run_id=run_id,
            tags=hidden,
            description=note,
            model_id=model_id,
        )
        link = json.dumps([{"name": self.name, "version": int(made.version)}])
        self.store.client.set_logged_model_tags(model_id, {"mlflow.modelVersions": link})
        return self.version(str(made.version))

    def describe(self, number: str, note: str) -> None:
        """Set a version's description (Markdown; shown in the UI)."""
        self.store.client.update_model_version(self.name, number, description=note)

    def package_folder(self, version: Version) -> Path:
        """Return the folder of a version's package on this disk (downloaded when the store is remote)."""
        import mlflow

        mlflow.set_tracking_uri(self.store.uri)
        try:
            return Path(mlflow.artifacts.download_artifacts(f"models:/{self.name}/{version.number}"))
        except unreachable() as error:
            raise TrackingError(
                f"the package of version {version.number} is not to be had: {str(error)[:300]}",
                where=version.source,
                fix="restore the artefact folder, or register the model again: dvc repro -f register",
            ) from error

    def load(self, address: str) -> Any:
        """Load the pyfunc model under an alias or version number; TrackingError when there is none."""
        import mlflow.pyfunc

        version = self.alias(address) or (self.version(address) if address.isdigit() else None)
        if version is None:
            raise TrackingError(
                f"no version of {self.name} is called {address!r}", where=self.name, fix="make run"
            )
        mlflow.set_tracking_uri(self.store.uri)
        # The package's code is imported from the store, now or at the first question: no .pyc may be left there.
        sys.dont_write_bytecode = True
        try:
            return mlflow.pyfunc.load_model(f"models:/{self.name}/{version.number}")
        except ProjectError:
            raise
        except unreachable() as error:
            raise TrackingError(f"the package does not load: {str(error)[:300]}", where=version.source) from error


def open_registry(settings: Settings) -> Registry:
    """Open the registry of the promoted model; TrackingError when the store does not answer."""
    return Registry(open_store(settings), settings.promotion.registered_model)


@contextmanager
def registry_lock() -> Generator[None]:
    """Hold the one lock under which aliases move and the ledger grows, across processes of this machine."""
    REGISTRY_LOCK.parent.mkdir(parents=True, exist_ok=True)
    with REGISTRY_LOCK.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def log_package(store: Store, folder: Path, *, code: Path, run_id: str, name: str, tags: Mapping[str, str]) -> str:
    """Log a models-from-code pyfunc package; return its id. Nothing in it is pickled."""
    import mlflow
    import mlflow.pyfunc
    from mlflow.models import Model

    mlflow.set_tracking_uri(store.uri)
    mlflow.set_experiment(experiment_id=store.experiment_id)
    with _own_code(code) as packages, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # MLflow asks for type hints and an input example
        info = Model.log(
            None, flavor=mlflow.pyfunc, name=name, run_id=run_id, python_model=str(code), code_paths=packages,
            artifacts={"model": str(folder)}, pip_requirements=requirements(), tags=dict(tags),
            flavor_name="pyfunc.ModelFromCode", signature=signature(),
        )  # fmt: skip
    return str(info.model_id)


def read_artifact(store: Store, run_id: str, name: str) -> bytes | None:
    """Return a run's artefact, or None when the run or the file is not there."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return Path(store.client.download_artifacts(run_id, name, folder)).read_bytes()
        except unreachable():
            return None


def signature() -> Any:
    """Return what the package takes (image bytes, a question; how long an answer may be) and gives."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    return ModelSignature(
        inputs=Schema([ColSpec(DataType.binary, "image"), ColSpec(DataType.string, "question")]),
        outputs=Schema([ColSpec(DataType.string)]),
        params=ParamSchema([ParamSpec("max_new_tokens", DataType.integer, 48)]),
    )


def requirements() -> list[str]:
    """Pin what serving needs to what is installed here (torch without its local "+cpu" suffix, T13)."""
    from importlib.metadata import version

    return [f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS]


@contextmanager
def _own_code(code: Path) -> Generator[list[str]]:
    """Copy the project's package without caches, so that the model answers with the code it was judged with."""
    root = code.resolve().parents[1]
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder) / root.name
        shutil.copytree(root, copied, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        yield [str(copied)]


def _clean(tags: Mapping[str, object]) -> dict[str, str]:
    """Hide secrets, and write names as MLflow takes them ("train@x" becomes "train_x")."""
    return {metric_name(name): value for name, value in redact_mapping(tags, known_secrets()).items()}


def _version(row: ModelVersion) -> Version:
    return Version(
        str(row.version), row.run_id or "", row.source or "", dict(row.tags), row.creation_timestamp or 0
    )
