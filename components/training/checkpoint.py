"""Checkpoints of a running stage: complete or invisible, known by what they belong to.

A checkpoint is a folder, written aside, flushed, and renamed into place; its manifest holds the sha256 of every
file, the *identity* (stage, settings and data), and the sha256 of itself. `latest` is moved only after the new
folder has been read back against its manifest, and retention removes older folders only after that. A stage goes
on from the newest folder that verifies, read back again: that is `latest`, or one that a kill kept from being
named there. Nothing is pickled: weights and optimiser are safetensors, the rest JSON.

    <root>/<stage>/<identity>/step-00000012/{state.safetensors, state.json, manifest.json}
    <root>/<stage>/<identity>/latest          the name of the newest verified folder
    <root>/<stage>/<identity>/samples/        which pack was seen at which step, one file a checkpoint

They lie under `var/`, which DVC never empties: a stage's output is removed before the stage runs.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import CheckpointError
from components.tracking.commit import folder_aside, write_bytes, write_json
from components.tracking.digest import digest_file, digest_json
from components.training.state_file import Snapshot, read_state, take_snapshot

MANIFEST, LATEST, SAMPLES, SKIPPED = "manifest.json", "latest", "samples", "skipped.json"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a checkpoint belongs to; a stage goes on only from a checkpoint of the very same."""

    stage: str
    settings: str  # sha256 over the settings that decide the weights
    data: str  # sha256 over the packs and what the stage starts from

    @property
    def short(self) -> str:
        """A name for the folder of this identity."""
        return digest_json([self.stage, self.settings, self.data])[:16]


def check_identity(found: Mapping[str, str], wanted: Identity, *, where: Path) -> None:
    """Raise CheckpointError naming each of stage, settings and data that is not the wanted one."""
    expected = {"stage": wanted.stage, "settings": wanted.settings, "data": wanted.data}
    differing = [name for name, value in expected.items() if found.get(name) != value]
    if differing:
        raise CheckpointError(
            f"this checkpoint belongs to other {', '.join(differing)}",
            where=str(where),
            fix="remove the folder to start anew, or restore the settings and data it was made with",
        )


def check_complete(folder: Path) -> dict[str, Any]:
    """Return a checkpoint's manifest; CheckpointError when a file is missing, extra or altered."""
    manifest = read_manifest(folder)
    try:
        found = {path.name: digest_file(path) for path in folder.iterdir() if path.name != MANIFEST}
    except OSError as error:
        raise CheckpointError(f"not a complete checkpoint: {error}", where=str(folder)) from error
    wrong = sorted(name for name in {*found, *manifest["files"]} if found.get(name) != manifest["files"].get(name))
    if wrong:
        raise CheckpointError(f"missing or altered: {', '.join(wrong)}", where=str(folder))
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return a checkpoint's manifest; CheckpointError when it is not one, or not as it was written."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError) as error:  # ValueError: neither JSON nor UTF-8
        raise CheckpointError(f"not a complete checkpoint: {error}", where=str(folder)) from error
    parts = ("files", "identity", "facts")
    is_whole = isinstance(manifest, dict) and all(isinstance(manifest.get(part), dict) for part in parts)
    if not is_whole or manifest.get("digest") != _own_digest(manifest):
        raise CheckpointError(
            "the manifest is not that of a checkpoint, or was altered", where=str(folder / MANIFEST),
            fix="remove the folder: the stage goes on from the checkpoint before it",
        )  # fmt: skip
    return manifest


def _own_digest(manifest: Mapping[str, Any]) -> str:
    return digest_json({key: value for key, value in manifest.items() if key != "digest"})


class Shelf:
    """The checkpoints of one stage and identity, newest last."""

    def __init__(self, root: Path, identity: Identity, *, keep: int, asynchronous: bool = False) -> None:
        self.stage_folder = root / identity.stage
        self.folder = self.stage_folder / identity.short
        self.identity, self.keep = identity, keep
        self._writer = ThreadPoolExecutor(1, "checkpoint") if asynchronous else None
        self._pending: Future[None] | None = None

    def path_of(self, step: int) -> Path:
        """Where the checkpoint of an optimiser step lies."""
        return self.folder / f"step-{step:08d}"

    def write(self, state: Mapping[str, Any], path: Path, *, facts: Mapping[str, Any]) -> None:
        """Write a state to `path`, verify it, move `latest` there, and let the oldest go.

        `facts` are plain values that are wanted before the whole state is read (`facts_of`). An asynchronous shelf
        copies the state here and does the rest beside the training; an error of that comes with the next call.
        """
        self.finish()
        snapshot = take_snapshot(state)
        if self._writer is None:
            self._put(snapshot, path, dict(facts))
        else:
            self._pending = self._writer.submit(self._put, snapshot, path, dict(facts))

    def finish(self) -> None:
        """Wait until the last checkpoint is written; raise what its writing raised."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Finish, and write nothing more beside the training."""
        self.finish()
        if self._writer is not None:
            self._writer.shutdown()

    def _put(self, snapshot: Snapshot, path: Path, facts: dict[str, Any]) -> None:
        with folder_aside(path) as aside:
            snapshot.write(aside)
            files = {file.name: digest_file(file) for file in sorted(aside.iterdir())}
            manifest = {"files": files, "identity": _plain_identity(self.identity), "facts": facts}
            write_json(aside / MANIFEST, {**manifest, "digest": _own_digest(manifest)})
        check_complete(path)
        write_bytes(self.folder / LATEST, path.name.encode())
        self._retain(path)

    def read(self, path: Path) -> dict[str, Any]:
        """Read a state; CheckpointError when it is not whole or belongs to something else."""
        check_identity(check_complete(path)["identity"], self.identity, where=path)
        return read_state(path)

    def facts_of(self, path: Path) -> dict[str, Any]:
        """Return what was noted beside a checkpoint's state."""
        return read_manifest(path)["facts"]

    def newest(self) -> Path | None:
        """Return the newest checkpoint that verifies; None when none does."""
        self.finish()
        return next((path for path in reversed(self._all()) if self._is_ours(path)), None)

    def _is_ours(self, path: Path) -> bool:
        try:
            check_identity(check_complete(path)["identity"], self.identity, where=path)
        except CheckpointError:
            return False
        return True

    def others(self) -> list[str]:
        """Say for each checkpoint of this stage that is not gone on from what differs, or that it is damaged."""
        folders = (file.parent for file in self.stage_folder.glob(f"*/*/{MANIFEST}"))
        return sorted({self._refusal(folder) for folder in folders} - {""})

    def _refusal(self, folder: Path) -> str:
        """Return why a checkpoint is not gone on from, "" for one of this very identity."""
        try:
            found = read_manifest(folder)["identity"]
        except CheckpointError as error:
            return f"{folder}: {error.what}"
        wanted = _plain_identity(self.identity)
        differing = [name for name in wanted if found.get(name) != wanted[name]]
        return f"{folder.parent}: other {', '.join(differing)}" if differing else ""

    def clear(self) -> None:
        """Remove every checkpoint of this stage: its output is committed."""
        self.finish()
        shutil.rmtree(self.stage_folder, ignore_errors=True)

    def skipped(self) -> dict[str, dict[str, Any]]:
        """Return the packs to leave out: why, which pairs they hold, and at which going back."""
        file = self.folder / SKIPPED
        return json.loads(file.read_text()) if file.is_file() else {}

    def skip(self, packs: Mapping[str, dict[str, Any]]) -> None:
        """Leave these packs out from now on, in this run and after any restart."""
        write_json(self.folder / SKIPPED, {**self.skipped(), **packs})

    def write_samples(self, rows: list[tuple[int, str]], *, step: int) -> None:
        """Keep which packs were seen since the last checkpoint; whole before the checkpoint that counts on it."""
        write_json(self.folder / SAMPLES / f"until-{step:08d}.json", rows)

    def samples(self, *, until: int) -> list[tuple[int, str]]:
        """Return (step, pack id) of every pack seen before optimiser step `until`, in order."""
        rows: list[tuple[int, str]] = []
        for file in sorted((self.folder / SAMPLES).glob("until-*.json")):
            if int(file.stem.removeprefix("until-")) <= until:
                rows.extend((int(step), str(pack)) for step, pack in json.loads(file.read_text()))
        return rows

    def forget_after(self, step: int) -> None:
        """Remove what is left of steps that are to be trained again: their checkpoint was never finished."""
        for file in (self.folder / SAMPLES).glob("until-*.json"):
            if int(file.stem.removeprefix("until-")) > step:
                file.unlink()
        if step < 0:
            return  # without one to go on from, what is damaged stays to be seen
        for path in self._all():
            if path.name > self.path_of(step).name:
                shutil.rmtree(path, ignore_errors=True)

    def _all(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("step-*") if path.is_dir())

    def _retain(self, verified: Path) -> None:
        older = [path for path in self._all() if path.name < verified.name]
        for path in older[: max(len(older) - (self.keep - 1), 0)]:
            shutil.rmtree(path)


def _plain_identity(identity: Identity) -> dict[str, str]:
    return {"stage": identity.stage, "settings": identity.settings, "data": identity.data}
