"""Two gloo processes with a core each beside one process with both: `python benchmarks/two_processes.py`.

The last stage of the default preset (every part learns, so every gradient travels) over packs of artifacts/packs,
by Lightning's DDP as the stage runs it; --size tiny takes a tiny model and coloured squares, to see that it runs.
A process takes whole micro-batches, so two take two at once. The peer is the one process; `ratio` is supervised
tokens a second, two over one. Nobody set a target: 0.8 is ours, since on one machine the two share the memory and
send 540 MB of gradients a step to each other. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
TARGET = 0.8


def make_count() -> Any:
    """Return a callback that counts supervised tokens from the end of the first micro-batch on."""
    import lightning.pytorch as lightning

    from components.training.datamodule import IGNORE

    class Count(lightning.Callback):
        def __init__(self) -> None:
            self.tokens, self.started = 0, 0.0

        def on_train_batch_end(self, _: Any, __: Any, ___: Any, batch: Any, index: int) -> None:
            if index == 0:
                self.started = time.perf_counter()
            else:
                self.tokens += int((batch.labels != IGNORE).sum())

        def rate(self) -> float:
            return self.tokens / (time.perf_counter() - self.started)

    return Count()


def make_module(setting: Any, steps: int) -> Any:
    """Return the last stage as a module: every part learns."""
    from benchmarks.training.setting import RATE, STAGES
    from components.settings import Speed, Stage
    from components.training.module import StageModule

    stage = Stage(
        trains=STAGES["III"], starts_from="-", mixture="-", learning_rate=RATE, schedule="constant",
        warmup_ratio=0.0, weight_decay=0.0, clip=1.0, packs_per_step=setting.micro_batch, epochs=1.0, max_steps=0,
    )  # fmt: skip
    return StageModule(setting.vlm, stage, name="-", steps=steps, log=lambda *_: None, speed=Speed())


def fit(setting: Any, processes: int, steps: int) -> float | None:
    """Train here and in the processes that Lightning starts; return tokens a second on the first, else None."""
    import lightning.pytorch as lightning
    import torch
    from torch.utils.data import DataLoader

    loader = DataLoader(setting.packs["III"], batch_size=setting.micro_batch, collate_fn=setting.collator)
    count = make_count()
    trainer = lightning.Trainer(
        accelerator="cpu", devices=processes, strategy="ddp" if processes > 1 else "auto", max_epochs=1,
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        gradient_clip_val=1.0, callbacks=[count], precision="bf16-mixed",
    )  # fmt: skip
    trainer.fit(make_module(setting, steps), loader)
    rate = trainer.strategy.reduce(torch.tensor(count.rate()), reduce_op="sum")
    return float(rate) if trainer.is_global_zero else None


def train(size: str, processes: int, steps: int) -> None:
    """Train so many steps a process; the first process prints tokens a second."""
    from benchmarks.training.setting import load_setting
    from components.model.machine import prepare_machine
    from components.training.launch import quieten

    quieten()
    prepare_machine(max(1, (os.cpu_count() or 1) // processes))
    with tempfile.TemporaryDirectory() as folder:
        rate = fit(load_setting(size, Path(folder), steps * processes), processes, steps)
        os.chdir(ROOT)
    if rate is not None:
        print(json.dumps({"tokens_per_second": rate}))


def rate_of(size: str, processes: int, steps: int) -> float:
    """Return the supervised tokens a second of a run with so many processes."""
    command = [sys.executable, str(Path(__file__).resolve()), "--size", size]
    command += ["--processes", str(processes), "--steps", str(steps)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    rate = json.loads(done.stdout.strip().splitlines()[-1])["tokens_per_second"]
    print(f"{processes} process{'es' if processes > 1 else ''}: {rate:.1f} supervised tokens/s", flush=True)
    return rate


def main() -> None:
    """Measure both, print, and print the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=("tiny", "default"), default="default")
    parser.add_argument("--processes", type=int, default=0, help="train with so many, instead of comparing")
    parser.add_argument("--steps", type=int, default=6, help="steps a process; the first is not counted")
    chosen = parser.parse_args()
    if chosen.processes:
        train(chosen.size, chosen.processes, chosen.steps)
        return
    one, two = (rate_of(chosen.size, processes, chosen.steps) for processes in (1, 2))
    print(json.dumps({
        "name": "two_processes", "peer": "one process with both cores", "ratio": round(two / one, 3),
        "target": TARGET, "one": round(one, 1), "two": round(two, 1), "unit": "supervised tokens/s",
    }))  # fmt: skip


if __name__ == "__main__":
    main()
