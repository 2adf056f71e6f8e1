"""How a stage that is started again goes on by itself: from its newest good checkpoint, leaving out bad packs.

What decides the weights is the stage's row, the model, the seed, the precision, and the data: together the
identity that a checkpoint must share. How many processes and workers there are decides nothing of it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from components.errors import TRY_AGAIN, Diverged
from components.settings import Settings, process_rank
from components.tracking.digest import digest_file, digest_json, digest_tree
from components.tracking.stage import settings_section
from components.tracking.tables import iterate_rows
from components.training.checkpoint import Identity, Shelf
from components.training.stages import find_stage

Result = TypeVar("Result")
DECIDES = ("micro_batch", "precision")  # of the section `training`


def open_shelf(settings: Settings, name: str) -> Shelf:
    """Return the checkpoints of one stage under these settings and this data."""
    checkpoint = settings.training.checkpoint
    return Shelf(
        checkpoint.root, identity_of(settings, name), keep=checkpoint.keep, asynchronous=checkpoint.asynchronous
    )


def deciding_sections(name: str) -> list[str]:
    """Return the settings that decide a stage's weights: what a checkpoint and the stage's one run belong to."""
    return [f"recipe.stages.{name}", "model", "seed", *(f"training.{key}" for key in DECIDES)]


def identity_of(settings: Settings, name: str) -> Identity:
    """Return what a checkpoint of this stage must have been made from."""
    stage = find_stage(settings.recipe, name)
    sections = {key: settings_section(settings, key) for key in deciding_sections(name)}
    inputs = (settings.work_root / "packs", Path(stage.starts_from))
    return Identity(name, digest_json(sections), digest_json([_data_digest(path) for path in inputs]))


def _data_digest(folder: Path) -> str:
    """Return the hash of a committed output's manifest, which its content follows from, or of all it holds.

    Every process of a large run asks; only the first reads the whole, once, when the stage opens.
    """
    manifest = folder / "manifest.json"
    return digest_file(manifest) if manifest.is_file() else digest_tree(folder)


def announce_start(shelf: Shelf, resume: Path | None) -> None:
    """Say on standard error where a stage goes on from, and what it does not go on from, and why."""
    if process_rank():
        return
    if resume is not None:
        print(f"{shelf.identity.stage}: going on from {resume}", file=sys.stderr)
        return
    for reason in shelf.others():
        print(f"{shelf.identity.stage}: not going on from {reason}", file=sys.stderr)


def position_of(shelf: Shelf, resume: Path | None) -> int:
    """Return the packs of the stage's stream that were done when a checkpoint was taken."""
    return shelf.facts_of(resume)["position"]["packs"] if resume is not None else 0


def continued_samples(shelf: Shelf, resume: Path | None) -> list[tuple[int, str]]:
    """Return which packs were seen up to a checkpoint, and forget those to be trained on again."""
    step = shelf.facts_of(resume)["position"]["step"] if resume is not None else -1
    if process_rank() == 0:
        shelf.forget_after(step)
    return shelf.samples(until=step)


def with_rollbacks(
    attempt: Callable[[], Result],
    *,
    shelf: Shelf,
    limit: int,
    packs: Path,
    note: Callable[[Mapping[str, Any]], None],
) -> Result:
    """Attempt a stage; when it diverges and may go back, leave the packs out and attempt it again.

    Several processes diverge together: the first notes what is left out, and all leave with the requeue code.
    """
    while True:
        done = max((row["rollback"] for row in shelf.skipped().values()), default=0)
        try:
            return attempt()
        except Diverged as error:
            if done >= limit:
                raise
            if process_rank() == 0:
                shelf.skip(described(error, packs, rollback=done + 1))
                note(shelf.skipped())
                print(f"{error}\n  going back; left out from now on: {', '.join(error.packs)}", file=sys.stderr)
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                torch.distributed.barrier()  # none leaves before it is noted
                raise SystemExit(TRY_AGAIN) from error


def described(error: Diverged, packs: Path, *, rollback: int) -> dict[str, dict[str, Any]]:
    """Return for each pack of a diverged micro-batch why it is left out, and its pair ids."""
    rows = iterate_rows(packs, ["pack_id", "pair_ids"])
    pairs = {row["pack_id"]: row["pair_ids"] for row in rows if row["pack_id"] in error.packs}
    return {
        pack: {"reason": error.what, "pairs": pairs.get(pack, []), "rollback": rollback} for pack in error.packs
    }
