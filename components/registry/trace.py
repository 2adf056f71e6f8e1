"""Follow one record: source file -> pairs -> packs -> training steps and runs -> the model versions that saw it.

Everything is read from the stages' own outputs (ids only, never images); the runs come from the sidecars or
the tracking store, the versions from the registry by the digest of their weights.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import DataError
from components.settings import Settings
from components.tracking.digest import digest_tree
from components.tracking.lineage import run_of
from components.tracking.model_package import DIGEST_TAG, Registry, open_registry
from components.tracking.tables import shards_below

SHOWN = 12
RECORD_COLUMNS = ("record_id", "source", "source_path", "sha256", "patient_key", "split", "licence")


@dataclass(frozen=True)
class TracedStage:
    """One training stage that saw the record: in which packs, at which optimiser steps, in which run."""

    name: str
    run_id: str
    digest: str
    packs: tuple[str, ...]
    steps: tuple[int, ...]
    versions: tuple[str, ...]


@dataclass(frozen=True)
class Trace:
    """The way of one record. `packs` maps a pack to (mixture/split, the record's pairs in it)."""

    record: Mapping[str, str]
    raw_digest: str
    pairs: Mapping[str, str]  # pair -> kind
    kept_pairs: frozenset[str]
    packs: Mapping[str, tuple[str, tuple[str, ...]]]
    stages: tuple[TracedStage, ...]

    @property
    def versions(self) -> tuple[str, ...]:
        """The model versions whose weights descend from a stage that saw the record."""
        return tuple(sorted({version for stage in self.stages for version in stage.versions}, key=int))


def print_trace(settings: Settings, record_id: str) -> None:
    """Print the way of one record as a tree.

    Raises:
        DataError: no record has this id (near ones are named), or an output is not on this disk.
    """
    from rich.console import Console

    Console().print(tree_of(trace_on_disk(settings, record_id)))


def trace_on_disk(settings: Settings, record_id: str) -> Trace:
    """Read the outputs and the registry, and trace the record through them."""
    root, registry = settings.work_root, open_registry(settings)
    record = find_record(root / "records", record_id)
    raw = Path(settings.corpus.data_root) / record["source_path"]
    return trace_record(
        record,
        raw_digest=digest_tree(raw) if raw.exists() else "",
        pairs=_rows(root / "pairs", ("pair_id", "record_ids", "kind"), record_id),
        kept=_column(root / "curated", "pair_id"),
        packs=_pack_rows(root / "packs"),
        samples={name: _samples(root / "models" / name) for name in settings.recipe.stages},
        models=_models(settings, registry),
    )


def trace_record(
    record: Mapping[str, str],
    *,
    raw_digest: str,
    pairs: Iterable[Mapping[str, Any]],
    kept: Iterable[str],
    packs: Iterable[tuple[str, Mapping[str, Any]]],
    samples: Mapping[str, Sequence[tuple[int, str]]],
    models: Mapping[str, tuple[str, str, tuple[str, ...]]],
) -> Trace:
    """Join ids, nothing else.

    `pairs` are rows (pair_id, record_ids, kind); `packs` are (mixture/split, row with pack_id and pair_ids);
    `samples` maps a stage to its (step, pack_id); `models` maps a stage, in training order, to (run id,
    digest, versions with these weights). A stage hands its weights on, so it counts for later versions too.
    """
    ours = {row["pair_id"]: row["kind"] for row in pairs if record["record_id"] in row["record_ids"]}
    packed: dict[str, tuple[str, tuple[str, ...]]] = {}
    for place, row in packs:
        if inside := tuple(pair for pair in row["pair_ids"] if pair in ours):
            packed[row["pack_id"]] = (place, inside)
    stages = [_traced(name, models, packed.keys(), seen) for name, seen in samples.items() if name in models]
    return Trace(
        dict(record), raw_digest, ours, frozenset(kept) & ours.keys(), packed,
        tuple(stage for stage in stages if stage.packs),
    )  # fmt: skip


def stages_that_saw(settings: Settings, record_ids: Collection[str]) -> tuple[TracedStage, ...]:
    """Return the training stages on this disk that saw any of some records, with their model versions."""
    from components.tracking.tables import iterate_rows

    root = settings.work_root
    wanted = set(record_ids)
    pairs = {
        row["pair_id"] for row in iterate_rows(root / "pairs", ("pair_id", "record_ids"))
        if not wanted.isdisjoint(row["record_ids"])
    }  # fmt: skip
    packs = {row["pack_id"] for _, row in _pack_rows(root / "packs") if not pairs.isdisjoint(row["pair_ids"])}
    models = _models(settings, open_registry(settings))
    found = [_traced(name, models, packs, _samples(root / "models" / name)) for name in models]
    return tuple(stage for stage in found if stage.packs)


def _traced(
    name: str,
    models: Mapping[str, tuple[str, str, tuple[str, ...]]],
    packs: Iterable[str],
    seen: Sequence[tuple[int, str]],
) -> TracedStage:
    wanted = set(packs)
    hits = sorted((step, pack) for step, pack in seen if pack in wanted)
    order = list(models)
    heirs = order[order.index(name) :]
    versions = tuple(version for heir in heirs for version in models[heir][2])
    run_id, digest, _ = models[name]
    return TracedStage(
        name,
        run_id,
        digest,
        tuple(dict.fromkeys(pack for _, pack in hits)),
        tuple(step for step, _ in hits),
        versions,
    )


def find_record(folder: Path, record_id: str) -> dict[str, str]:
    """Return a record's text columns; DataError naming near ids when there is none, or no record at all."""
    import pyarrow.dataset as datasets

    if not any(folder.rglob("part-*.parquet")):
        raise DataError(
            "nothing is ingested here, so no record can be traced", where=str(folder), fix="gmai ingest"
        )
    table = datasets.dataset([str(path) for path in shards_below(folder)])
    columns = [name for name in RECORD_COLUMNS if name in table.schema.names]
    found = table.to_table(columns=columns, filter=datasets.field("record_id") == record_id).to_pylist()
    if found:
        return found[0]
    known = table.to_table(columns=["record_id"]).column("record_id").to_pylist()
    near = difflib.get_close_matches(record_id, known, n=3, cutoff=0.4) or sorted(known)[:3]
    raise DataError(
        f"no record {record_id!r}; near: {', '.join(near)}", where=str(folder), fix="gmai trace RECORD_ID"
    )


def _rows(folder: Path, columns: Sequence[str], record_id: str) -> list[dict[str, Any]]:
    from components.tracking.tables import iterate_rows

    return [row for row in iterate_rows(folder, columns) if record_id in row["record_ids"]]


def _column(folder: Path, name: str) -> list[str]:
    from components.tracking.tables import read_table

    return read_table(folder, [name]).column(name).to_pylist() if any(folder.glob("part-*.parquet")) else []


def _pack_rows(folder: Path) -> Iterable[tuple[str, dict[str, Any]]]:
    from components.tracking.tables import iterate_rows

    for shard_folder in sorted({path.parent for path in folder.rglob("part-*.parquet")}):
        place = shard_folder.relative_to(folder).as_posix()
        yield from ((place, row) for row in iterate_rows(shard_folder, ("pack_id", "pair_ids")))


def _samples(model: Path) -> list[tuple[int, str]]:
    from components.tracking.tables import iterate_rows

    if not any((model / "samples").glob("part-*.parquet")):
        return []
    return [(int(row["step"]), row["pack_id"]) for row in iterate_rows(model / "samples", ("step", "pack_id"))]


def _models(settings: Settings, registry: Registry) -> dict[str, tuple[str, str, tuple[str, ...]]]:
    """Map each trained stage on this disk to its run, its digest, and the versions that hold its weights."""
    versions = registry.versions()
    found: dict[str, tuple[str, str, tuple[str, ...]]] = {}
    for name in settings.recipe.stages:
        folder = settings.work_root / "models" / name
        if folder.is_dir():
            digest = digest_tree(folder)
            holders = tuple(version.number for version in versions if version.tags.get(DIGEST_TAG) == digest)
            found[name] = (run_of(folder, store=registry.store, digest=digest), digest, holders)
    return found


def tree_of(trace: Trace) -> Any:
    """Draw the trace as a rich tree."""
    from rich.tree import Tree

    record = trace.record
    tree = Tree(f"[bold]record {record['record_id']}[/] · {record['source']} · split {record.get('split', '?')}")
    raw = f" sha256 {trace.raw_digest[:16]}…" if trace.raw_digest else " (not on this disk)"
    tree.add(f"file {record['source_path']}{raw}")
    pairs = tree.add(f"{len(trace.pairs)} pairs, {len(trace.kept_pairs)} kept by curation")
    _add(pairs, [f"{pair} · {kind}" + _dropped(pair, trace) for pair, kind in trace.pairs.items()])
    packs = tree.add(f"{len(trace.packs)} packs")
    _add(packs, [f"{pack} · {place} · {', '.join(inside)}" for pack, (place, inside) in trace.packs.items()])
    for stage in trace.stages:
        steps = ", ".join(map(str, stage.steps[:SHOWN])) + (" …" if len(stage.steps) > SHOWN else "")
        run = f"run {stage.run_id}" if stage.run_id else "no run known"
        tree.add(f"{stage.name} · {run} · {len(stage.packs)} packs at steps {steps}")
    tree.add(f"model versions: {', '.join(trace.versions) or 'none'}")
    return tree


def _dropped(pair: str, trace: Trace) -> str:
    return "" if pair in trace.kept_pairs else " · dropped by curation"


def _add(branch: Any, lines: Sequence[str]) -> None:
    for line in lines[:SHOWN]:
        branch.add(line)
    if len(lines) > SHOWN:
        branch.add(f"… and {len(lines) - SHOWN} more")
