"""Train the drill's tiny stage in the current folder: `torchrun ... train_tiny.py STRATEGY DEVICES STEPS`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from components.tracking.runs import StageRun
from components.training.launch import run_train
from components.training.module import StageModule
from drills.kill_training import STAGE, make_packs, tiny_settings


def poison(step: int) -> None:
    """Make every loss of one step not a number on this rank."""
    losses_of = StageModule.losses_of

    def poisoned(module, batch):
        losses, nothing = losses_of(module, batch)
        return (losses * float("nan") if module.global_step == step else losses), nothing

    StageModule.losses_of = poisoned


def without_images(step: int) -> None:
    """Hand this rank micro-batches of text alone in one step."""
    train_on = StageModule.training_step

    def text_alone(module, batch, number):
        if module.global_step == step:
            batch = batch._replace(pixels=None, images=batch.images[:0])
        return train_on(module, batch, number)

    StageModule.training_step = text_alone


def main(strategy: str, devices: str, steps: str) -> None:
    changes = json.loads(os.environ.get("CHANGES", "{}"))
    changes |= {"cluster": {"strategy": strategy, "devices": int(devices)}}
    changes |= {"guard": {"rollbacks": int(os.environ.get("ROLLBACKS", "0"))}}
    settings = tiny_settings(steps=int(steps), every=4, workers=int(os.environ.get("WORKERS", "0")), **changes)
    if os.environ.get("POISON_RANK") == os.environ.get("RANK", "0"):
        poison(int(os.environ["POISON_STEP"]))
    if os.environ.get("TEXT_RANK") == os.environ.get("RANK", "0"):
        without_images(int(os.environ["TEXT_STEP"]))
    if not Path("artifacts").is_dir() and int(os.environ.get("RANK", "0")) == 0:
        make_packs(settings)
    logged = StageRun.log_metrics

    def log(run, metrics, step=None):
        logged(run, metrics, step)
        if run.writer is not None:
            with Path("points.jsonl").open("a") as handle:
                handle.write(json.dumps([step, dict(metrics)]) + "\n")
        if "loss" in metrics and run.writer is not None:
            with Path("losses.jsonl").open("a") as handle:
                handle.write(json.dumps([step, metrics["loss"], metrics["supervised_tokens"]]) + "\n")
        chosen = os.environ.get("STOP_RANK") in (None, os.environ.get("RANK", "0"))
        if chosen and os.environ.get("STOP_AT") == str(step) and "loss" in metrics:
            number = int(os.environ.get("STOP_SIGNAL", "15"))
            (os.killpg if os.environ.get("STOP_GROUP") else os.kill)(os.getpid(), number)

    StageRun.log_metrics = log
    run_train(settings, STAGE)


if __name__ == "__main__":
    main(*sys.argv[1:])
