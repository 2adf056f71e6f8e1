"""Kill training without warning, again and again: is anything lost? `python drills/kill_training.py`.

A tiny stage (random weights, 24 coloured squares, CPU, fp32) is trained once undisturbed, 200 steps. Then it is
trained anew and gets SIGKILL 20 times, each some random steps after its last start and at a random moment, so that
some fall into the writing of a checkpoint; after each it is started again. A try is a kill. It is lost when it
takes the newest verified checkpoint with it; all of a run's are lost when its final weights or the log of packs
seen differ in one byte from the undisturbed run's. Once without loading processes, once with two. The peer is the
undisturbed run: `ratio` is the killed runs' optimiser steps over its own, work done twice included. The last line
is JSON: {"name", "tries", "lost", ...}.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
STAGE = "drill"
LEARNS = ("projector", "vision", "language")
NUM_IMAGES = 24
QUESTIONS = (("Which colour is it?", "red"), ("Is it a scan?", "no"), ("How large is it?", "sixteen squared"))


def tiny_settings(
    *, steps: int, every: int, workers: int, micro_batch: int = 1, asynchronous: bool = False, **changes: Any
) -> Any:
    """Settings of one tiny stage, in the current folder."""
    from components.settings import compose, settings_from

    raw = compose(["preset=tiny"], folder=ROOT / "conf")
    row = next(iter(raw["recipe"]["stages"].values()))
    row = {**row, "trains": list(LEARNS), "packs_per_step": 2, "max_steps": steps, "epochs": 1000.0}
    row |= {"initialise_vision": None, "learning_rate": 3e-3, "mixture": "alignment"}
    raw["recipe"]["stages"] = {STAGE: {**row, **changes.pop("row", {})}}
    raw["training"] |= {"workers": workers, "micro_batch": micro_batch, "precision": "32-true"}
    keeping = {"root": "var/checkpoints", "every_steps": every, "keep": 2, "asynchronous": asynchronous}
    raw["training"]["checkpoint"] = keeping
    raw["cluster"] |= {"threads": 1} | changes.pop("cluster", {})
    raw["model"]["max_length"] = 120
    raw["training"] |= changes
    return settings_from(raw, where="drill")


def make_packs(settings: Any) -> None:
    """Write the packs, images and start folder that the pack stage would, from coloured squares."""
    import numpy as np
    from PIL import Image

    from components.model.chat import encode_conversation
    from components.model.packing import make_segments, pack_segments
    from components.model.vision import num_image_tokens, stored_pixels
    from components.records import Turn
    from components.tracking.tables import write_table
    from components.training.pack import _write_start, pack_row, pack_schema

    folder = settings.work_root / "packs"
    processor = _write_start(settings, folder / "start")
    tokens = num_image_tokens(settings.model.vision)
    segments = []
    for image in range(NUM_IMAGES):
        turns = [[Turn("human", f"<image>\n{question}"), Turn("gpt", answer)] for question, answer in QUESTIONS]
        rows = [encode_conversation(processor.tokenizer, pair, image_tokens=tokens) for pair in turns]
        named = [(f"pair-{image}-{number}", row) for number, row in enumerate(rows)]
        segments.extend(make_segments(named, [image], max_length=settings.model.max_length))
    packs = list(pack_segments(segments, max_length=settings.model.max_length))
    for split in ("train", "validation"):
        rows = (pack_row(pack, dict.fromkeys(pack.pair_ids, "percept")) for pack in packs)
        write_table(folder / "alignment" / split, rows, pack_schema())
    colours = np.random.default_rng(0).integers(0, 255, (NUM_IMAGES, 3), dtype=np.uint8)
    images = [Image.new("RGB", (16, 16), tuple(int(value) for value in colour)) for colour in colours]
    (folder / "images").mkdir()
    np.save(folder / "images" / "pixels.npy", stored_pixels(processor.image_processor, images))


def outcome(settings: Any) -> dict[str, Any]:
    """Return what must not depend on any kill: the digest of the weights, and the packs seen at each step."""
    from components.tracking.digest import digest_file
    from components.tracking.tables import iterate_rows

    model = settings.work_root / "models" / STAGE
    seen = [(row["step"], row["pack_id"]) for row in iterate_rows(model / "samples")]
    return {"weights": digest_file(model / "model.safetensors"), "seen": seen}


def in_child(work: Callable[[Callable[[int], None]], None], *, folder: Path) -> tuple[int, int]:
    """Fork; run `work(report)` in `folder`; return (process id, descriptor its steps are read from)."""
    reader, writer = os.pipe()
    process = os.fork()
    if process:
        os.close(writer)
        return process, reader
    os.close(reader)
    code = 1
    try:
        os.chdir(folder)
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        work(lambda _: os.write(writer, b"."))  # ty: ignore[invalid-argument-type]
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:  # noqa: BLE001  (a child that dies must say why; there is nobody above it)
        traceback.print_exc()
    finally:
        os._exit(code)


def train_in_child(settings: Any, *, folder: Path) -> tuple[int, int]:
    """Start the stage in a child that reports each logged optimiser step."""

    def work(report: Callable[[int], None]) -> None:
        from components.tracking.runs import StageRun
        from components.training.launch import run_train

        logged = StageRun.log_metrics

        def log_and_report(run: Any, metrics: Any, step: int | None = None) -> None:
            logged(run, metrics, step)
            if "loss" in metrics:
                report(step or 0)

        StageRun.log_metrics = log_and_report  # ty: ignore[invalid-assignment]
        run_train(settings, STAGE)

    return in_child(work, folder=folder)


def finish(
    process: int, reader: int, *, kill_after: int = 0, number: int = signal.SIGKILL, wait: float = 0
) -> tuple[int, int]:
    """Let a child end, or signal it `wait` seconds after its `kill_after`-th step; return exit status, steps."""
    steps = 0
    while chunk := os.read(reader, 1):
        steps += len(chunk)
        if kill_after and steps == kill_after:
            time.sleep(wait)
            os.kill(process, number)
    os.close(reader)
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status), steps


def newest_step(root: Path) -> int:
    """Return the step of the newest checkpoint that its manifest vouches for, 0 when there is none."""
    from components.errors import CheckpointError
    from components.training.checkpoint import check_complete

    def whole(folder: Path) -> bool:
        try:
            check_complete(folder)
        except CheckpointError:
            return False
        return True

    return max((int(path.name[5:]) for path in root.glob("*/*/step-*") if whole(path)), default=0)


@dataclass
class Killed:
    """What became of a run that was killed: the kills, those that took a checkpoint with them, all steps made."""

    kills: int = 0
    taken: int = 0
    steps: int = 0


def train_under_fire(settings: Any, folder: Path, generator: random.Random, *, kills: int, steps: int) -> Killed:
    """Train to the end, killed `kills` times on the way; RuntimeError when a start fails by itself."""
    found, shelf, newest = Killed(), folder / settings.training.checkpoint.root, 0
    while True:
        is_last = found.kills == kills
        after = 0 if is_last else generator.randint(1, max(1, 3 * steps // (2 * kills)))
        wait = generator.choice((0.0, generator.random() * 0.1))
        code, made = finish(*train_in_child(settings, folder=folder), kill_after=after, wait=wait)
        found.steps += made
        if code == 0:
            return found
        if code != -signal.SIGKILL:
            raise RuntimeError(f"a start failed with code {code} after {found.kills} kills")
        found.kills += 1
        before, newest = newest, newest_step(shelf)
        found.taken += newest < before
        print(f"kill {found.kills}: {made} steps, newest checkpoint {newest}", file=sys.stderr)


def run_drill(
    *, kills: int, steps: int, workers: int, seed: int, root: Path, asynchronous: bool = False
) -> dict[str, Any]:
    """Run the drill below `root` with so many loading processes; return tries, lost and the steps of both runs."""
    import components.training.launch  # noqa: F401  (loaded once, before the forks)

    outcomes = []
    found = Killed()
    for name, number in (("undisturbed", 0), ("killed", kills)):
        folder = root / f"{name}-{workers}"
        folder.mkdir()
        os.chdir(folder)
        beside = asynchronous and name == "killed"
        settings = tiny_settings(steps=steps, every=5, workers=workers, asynchronous=beside)
        make_packs(settings)
        found = train_under_fire(settings, folder, random.Random(seed), kills=number, steps=steps)
        outcomes.append(outcome(settings))
    lost = found.taken if outcomes[0] == outcomes[1] else found.kills
    return {
        "workers": workers,
        "tries": found.kills,
        "lost": lost,
        "steps": found.steps,
        "undisturbed_steps": steps,
    }


def main() -> None:
    """Parse the command line, run, and print the verdict as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="kills a run")
    parser.add_argument("--steps", type=int, default=200, help="optimiser steps a run")
    parser.add_argument(
        "--workers", type=int, nargs="+", default=[0, 2], help="data loading processes, a run each"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--asynchronous", action="store_true", help="checkpoints of the killed runs beside them")
    chosen = parser.parse_args()
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as root:
        runs = [
            run_drill(
                kills=chosen.kills,
                steps=chosen.steps,
                workers=workers,
                seed=chosen.seed,
                root=Path(root),
                asynchronous=chosen.asynchronous,
            )
            for workers in chosen.workers
        ]
        os.chdir(home)
    lost = sum(run["lost"] for run in runs)
    steps, own = (sum(run[name] for run in runs) for name in ("steps", "undisturbed_steps"))
    print(json.dumps({
        "name": "kill_training", "tries": sum(run["tries"] for run in runs), "lost": lost, "target": 0,
        "peer": "the undisturbed run", "ratio": round(steps / own, 3), "runs": runs,
    }))  # fmt: skip
    raise SystemExit(1 if lost else 0)


if __name__ == "__main__":
    main()
